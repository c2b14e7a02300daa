"""Reads through the near cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from edge_redis._cache.accesses import Accesses
from edge_redis._cache.corrupt import CorruptEntries
from edge_redis._cache.entry import DecodedEntry
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_entry import MISSING, FoundEntry, PendingFill
from edge_redis._cache.round_trips import CHUNK, run_together
from edge_redis._cache.script_replies import RawEntry
from edge_redis._cache.scripts import Scripts
from edge_redis._core.chunks import split_chunks


class NearReader:
    """Reads from the near cache, and what it does not have from Redis, into the near cache.

    Args:
        scripts: of the shard.
        accesses: of the shard.
        corrupt: removes entries that do not decode.
        near: of this process.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        scripts: Scripts,
        accesses: Accesses,
        corrupt: CorruptEntries,
        near: NearEntries,
        clock: Callable[[], float],
    ) -> None:
        self._scripts = scripts
        self._accesses = accesses
        self._corrupt = corrupt
        self._near = near
        self._clock = clock

    async def get(self, key: str, default: Any) -> Any:
        """Return the value of ``key`` in Redis, or ``default``: the service has looked in the near cache already."""
        found = (await self._fetch([key])).get(key)
        return default if found is None else found.value

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those ``keys`` that are found."""
        near = {key: value for key in keys if (value := self._near.get(key)) is not MISSING}
        fetched = await self._fetch([key for key in keys if key not in near])
        return near | {key: found.value for key, found in fetched.items()}

    async def get_with_ttl(self, key: str) -> FoundEntry | None:
        """Return the entry ``key`` with its TTL, or None."""
        found = self._near.get_with_ttl(key)
        return (await self._fetch([key])).get(key) if found is None else found

    async def _fetch(self, keys: Sequence[str]) -> dict[str, FoundEntry]:
        """Read entries from Redis and keep them in the near cache."""
        found = {}
        with self._pending_fills(keys) as fills:
            sent_at = self._clock()
            replies = await run_together([self._scripts.get_with_ttl(chunk) for chunk in split_chunks(keys, CHUNK)])
            for key, stored in zip(keys, chain.from_iterable(replies), strict=True):
                decoded = await self._corrupt.decode(key, stored.raw)
                self._accesses.buffer.add(key, None if decoded is None else decoded[0])
                if decoded is None:
                    self._near.observe(key, None)
                else:
                    self._fill(key, fills[key], stored, decoded, sent_at)
                    found[key] = FoundEntry(decoded[1], stored.ttl, *decoded[2:])
        await self._accesses.flush_if_due()
        return found

    def _fill(self, key: str, fill: PendingFill, stored: RawEntry, decoded: DecodedEntry, sent_at: float) -> None:
        assert stored.raw is not None
        # The TTL counts from before the request, so the entry ends here no later than in Redis.
        expires = sent_at + stored.ttl
        entry = self._near.make_entry(key, decoded, stored.raw, self._accesses.buffer.near_hits.append, expires)
        self._near.put(key, fill, entry)

    @contextmanager
    def _pending_fills(self, keys: Sequence[str]) -> Iterator[dict[str, PendingFill]]:
        fills = {key: self._near.begin_fill(key) for key in keys}
        try:
            yield fills
        finally:
            for key, fill in fills.items():
                self._near.end_fill(key, fill)
