"""Errors as text that can be stored: those of functions and stores of users may have any text, or none."""

from __future__ import annotations

from typing import Final

MAX_ERROR_CHARS: Final = 500


def describe_error(error: BaseException, max_chars: int = MAX_ERROR_CHARS) -> str:
    """Return the type and text of an error, in characters that UTF-8 can encode."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 -- an error that has no text
        text = ""
    kind = type(error).__name__
    return encodable(f"{kind}: {text}" if text else kind, max_chars)


def encodable(text: str, max_chars: int = MAX_ERROR_CHARS) -> str:
    """Return the beginning of a text in characters that UTF-8 can encode: file names may have others."""
    return text[:max_chars].encode(errors="backslashreplace").decode()
