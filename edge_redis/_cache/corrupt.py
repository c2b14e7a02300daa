"""Removal of entries whose bytes do not decode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_redis._cache.entry import DecodedEntry, decode_entry
from edge_redis._cache.scripts import Scripts
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis.errors import CorruptDataError


class CorruptEntries:
    """Decodes entries of one shard; those that do not decode are removed and counted in the statistics."""

    def __init__(self, scripts: Scripts, idempotency: IdempotencyKeys, decode: Callable[[bytes], Any]) -> None:
        self._scripts = scripts
        self._idempotency = idempotency
        self._decode = decode

    async def decode(self, key: str, raw: bytes | None, *, was_removed: bool = False) -> DecodedEntry | None:
        """Return the entry of ``raw``, or None where there is none or it does not decode.

        With ``was_removed`` the read has removed the entry already, and it is only counted.
        """
        if raw is not None:
            try:
                return decode_entry(raw, self._decode)
            except CorruptDataError:
                await self.discard(key, raw, was_removed=was_removed)
        return None

    async def discard(self, key: str, raw: bytes, *, was_counted: bool = False, was_removed: bool = False) -> None:
        """Remove an entry if it still has these bytes; ``was_counted`` if the read was counted as a hit."""
        with self._idempotency.acquire() as call:
            await self._scripts.discard_corrupt(key, raw, call, was_counted=was_counted, was_removed=was_removed)
