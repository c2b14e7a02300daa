"""Reads that count no access."""

from __future__ import annotations

import math
from typing import Final

from edge_redis._cache.accesses import Accesses
from edge_redis._cache.corrupt import CorruptEntries
from edge_redis._cache.entry import NEVER, DecodedEntry, created_ms
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.script_replies import ShardPage
from edge_redis._cache.scripts import Scripts
from edge_redis._core.operation import Operation, command
from edge_redis.models import CacheEntry, from_timestamp

_PAGE_SIZE: Final = 500


class Inspector:
    """Reads entries and statistics of one shard without counting an access."""

    def __init__(self, scripts: Scripts, accesses: Accesses, corrupt: CorruptEntries, near: NearEntries | None) -> None:
        self._scripts = scripts
        self._accesses = accesses
        self._corrupt = corrupt
        self._near = near

    async def contains(self, key: str) -> bool:
        """Return whether there is an entry ``key``."""
        exists = await command(bool, "STRLEN", self._scripts.keys.value(key))
        if self._near is not None and not exists:
            self._near.observe(key, None)
        return exists

    async def entry(self, key: str) -> CacheEntry | None:
        """Return the entry ``key`` with its times and count, or None."""
        [reply] = await self._accesses.run_after_flush([self._scripts.entry(key)])
        if not reply:
            self._observe(key, None)
            return None
        raw, expiry, count = reply
        decoded = await self.decode(key, raw)
        if decoded is None:
            return None
        created, expires = created_ms(raw), int(float(expiry))
        return CacheEntry(
            key=key,
            value=decoded[1],
            created_at=from_timestamp(created / 1000),
            ttl_seconds=math.inf if expires >= NEVER else (expires - created) / 1000,
            access_count=int(count),
        )

    def page(self, cursor: int) -> Operation[ShardPage]:
        """Return some keys of live entries, from ``cursor``."""
        return self._scripts.page(cursor, _PAGE_SIZE)

    async def stats(self, fields: list[str]) -> list[int]:
        """Return the numbers of live and expired entries, then these statistics."""
        [counts] = await self._accesses.run_after_flush([self._scripts.stats(fields)])
        return counts

    async def decode(self, key: str, raw: bytes | None, *, was_removed: bool = False) -> DecodedEntry | None:
        """Decode an entry that was read (and removed: ``was_removed``), and drop an older one from the near cache."""
        decoded = await self._corrupt.decode(key, raw, was_removed=was_removed)
        self._observe(key, decoded)
        return decoded

    def _observe(self, key: str, decoded: DecodedEntry | None) -> None:
        if self._near is not None:
            self._near.observe(key, None if decoded is None else decoded[0])
