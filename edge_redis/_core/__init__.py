"""Operations, scripts, codec and keys, which every component uses. No client, no thread."""
