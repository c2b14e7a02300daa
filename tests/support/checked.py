"""Values that a test knows to be there."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """Return a value that must not be None."""
    assert value is not None
    return value


def bytes_of(value: str | bytes | None) -> bytes:
    """Return a reply of a client that does not decode: bytes."""
    assert isinstance(value, bytes)
    return value
