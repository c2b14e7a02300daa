"""Decodes replies that may be missing, for ``command``."""

from __future__ import annotations


def or_empty(reply: bytes | None) -> bytes:
    """Return a value, "" where there is none."""
    return reply or b""


def decode_text(reply: bytes | None) -> str:
    """Return a value as text, "" where there is none."""
    return (reply or b"").decode(errors="replace")
