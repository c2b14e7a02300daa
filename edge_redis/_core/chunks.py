"""Splits long lists, so that no call to the server handles too many items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def split_chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return ``items`` in runs of ``size``, the last of which may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def split_by_bytes(items: Sequence[T], sizes: Sequence[int], max_bytes: int) -> list[list[T]]:
    """Return ``items`` in runs of at most ``max_bytes`` together, or of a single item that is larger."""
    runs: list[list[T]] = []
    total = 0
    for item, size in zip(items, sizes, strict=True):
        if not runs or total + size > max_bytes:
            runs.append([])
            total = 0
        runs[-1].append(item)
        total += size
    return runs
