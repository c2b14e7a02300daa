"""Splits long lists, so that no call to the server handles too many items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def split_chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return ``items`` in runs of ``size``, the last of which may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]
