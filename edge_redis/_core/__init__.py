"""Operations, flows, scripts, codec, keys: what every subject is built of. No client, no thread."""
