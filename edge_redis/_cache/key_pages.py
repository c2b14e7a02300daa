"""Pages of the keys of a cache, shard after shard."""

from __future__ import annotations

from typing import NamedTuple


class PagePosition(NamedTuple):
    """Where the next page of keys begins."""

    shard: int = 0
    cursor: int = 0


class KeyPage(NamedTuple):
    """Some keys, and the position of the next page; None at the end."""

    keys: list[str]
    next: PagePosition | None
