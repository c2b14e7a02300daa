"""What reads a shard of a cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar

from edge_redis._cache.accounting import Accounting, together
from edge_redis._cache.envelope import Opened, created_ms, opened
from edge_redis._cache.near_entry import NOTHING, Fill
from edge_redis._cache.scripts import CHUNK, Page, Timed, chunks
from edge_redis._core.operation import Operation, command, identity
from edge_redis.errors import CorruptDataError
from edge_redis.models import CacheEntry, from_timestamp

T = TypeVar("T")

_MGET: Final = 500
_PAGE: Final = 500


class Found(NamedTuple):
    """An entry that was read: its value, the seconds it has to live, and what it cost to compute (ms)."""

    value: Any
    left: float
    cost_ms: int | None


class Reading(Accounting):
    """The part of a shard that reads."""

    async def get(self, key: str) -> Any:
        """Return the value of ``key`` in Redis, or NOTHING; the access is noted."""
        if self._exact:
            return (await self._read_exactly([key])).get(key, NOTHING)
        if self._near is not None:
            return (await self._read_to_keep([key])).get(key, _NOT_FOUND).value
        return await self.get_plainly(key, NOTHING)

    async def get_plainly(self, key: str, default: Any) -> Any:
        """Return the value of ``key`` in Redis, or ``default``, where neither a script nor a near cache is asked."""
        raw: bytes | None = await Operation(("GET", self.keys.values + key), identity)
        entry = self._noted(key, raw)
        if entry is None and raw is not None:
            await self._discard(key, raw, counted=False)
        if self._is_full():
            await self._flush_or_keep()
        return default if entry is None else entry[1]

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those ``keys`` that are at hand or in Redis; the accesses are noted."""
        if self._exact:
            return await self._read_exactly(keys)
        if self._near is not None:
            held = {key: value for key in keys if (value := self._near.held(key)) is not NOTHING}
            found = await self._read_to_keep([key for key in keys if key not in held])
            return held | {key: entry.value for key, entry in found.items()}
        names = [self.keys.values + key for key in keys]
        replies = await together([command(list, "MGET", *chunk) for chunk in chunks(names, _MGET)])
        values, note = {}, self.buffer.note
        for key, raw in zip(keys, chain.from_iterable(replies), strict=True):
            if raw is None:
                note((key, None))
                continue
            try:
                generation, values[key], _ = opened(raw)
            except CorruptDataError:
                note((key, None))
                await self._discard(key, raw, counted=False)
            else:
                note((key, generation))
        if self._is_full():
            await self._flush_or_keep()
        return values

    async def get_with_time(self, key: str) -> Found | None:
        """Return the entry ``key`` with the time it has to live, or None; the access is noted."""
        if not self._exact:
            return (await self._read_to_keep([key])).get(key)
        value = await self.get(key)
        if value is NOTHING:
            return None
        [timed] = await self._scripts.read([key])
        entry = await self._opened(key, timed.raw)
        return None if entry is None else Found(entry[1], timed.left_ms / 1000, entry[2])

    async def contains(self, key: str) -> bool:
        """Whether there is an entry ``key``; no access is noted."""
        there = await command(bool, "STRLEN", self.keys.value(key))
        if self._near is not None and not there:
            self._near.saw(key, None)
        return there

    async def entry(self, key: str) -> CacheEntry | None:
        """Return what the cache knows of ``key``, or None; no access is noted."""
        found = await self._after_flush(self._scripts.entry(key))
        if not found:
            self._seen(key, None)
            return None
        raw, expiry, count = found
        entry = await self._opened(key, raw)
        if entry is None:
            return None
        created = created_ms(raw)
        return CacheEntry(
            key=key,
            value=entry[1],
            created_at=from_timestamp(created / 1000),
            ttl_seconds=(int(expiry) - created) / 1000,
            access_count=int(count),
        )

    def page(self, cursor: int) -> Operation[Page]:
        """Return some keys of live entries and where to go on: 0 to begin, and 0 at the end."""
        return self._scripts.keys(cursor, _PAGE)

    async def _opened(self, key: str, raw: bytes | None) -> Opened | None:
        """Open an entry that was read without a note; one that does not open is removed."""
        entry = None
        if raw is not None:
            try:
                entry = opened(raw)
            except CorruptDataError:
                await self._discard(key, raw, counted=False)
        self._seen(key, entry)
        return entry

    def _seen(self, key: str, entry: Opened | None) -> None:
        if self._near is not None:
            self._near.saw(key, None if entry is None else entry[0])

    def _noted(self, key: str, raw: bytes | None) -> Opened | None:
        """Note a read in the buffer; return the entry, or None for a miss."""
        if raw is not None:
            try:
                entry = opened(raw)
            except CorruptDataError:
                """A miss; the caller has it removed."""
            else:
                self.buffer.hit(key, entry[0])
                return entry
        self.buffer.miss(key)
        return None

    async def _read_to_keep(self, keys: Sequence[str]) -> dict[str, Found]:
        """Read entries with the time they have to live, noting the accesses, and keep them at hand where that is on."""
        found = {}
        with self._fills(keys) as fills:
            asked_at = self._clock()
            replies = await together([self._scripts.read(chunk) for chunk in chunks(keys, CHUNK)])
            for key, timed in zip(keys, chain.from_iterable(replies), strict=True):
                entry = self._noted(key, timed.raw)
                if entry is not None:
                    found[key] = Found(entry[1], timed.left_ms / 1000, entry[2])
                    self._keep(key, fills, timed, entry, asked_at)
                    continue
                self._seen(key, None)
                if timed.raw is not None:
                    await self._discard(key, timed.raw, counted=False)
        if self._is_full():
            await self._flush_or_keep()
        return found

    def _keep(self, key: str, fills: dict[str, Fill], timed: Timed, entry: Opened, asked_at: float) -> None:
        # Its time is counted from before the question: it ends here no later than there.
        if self._near is not None and timed.raw is not None:
            held = self._near.made(key, entry, timed.raw, self.buffer.near_hit, asked_at + timed.left_ms / 1000)
            self._near.keep(key, fills[key], held)

    @contextmanager
    def _fills(self, keys: Sequence[str]) -> Iterator[dict[str, Fill]]:
        near = self._near
        if near is None:
            yield {}
            return
        fills = {key: near.begin(key) for key in keys}
        try:
            yield fills
        finally:
            for key, fill in fills.items():
                near.end(key, fill)

    async def _read_exactly(self, keys: Sequence[str]) -> dict[str, Any]:
        replies = await self._remembered(keys, self._scripts.get)
        found = {}
        for key, raw in zip(keys, chain.from_iterable(replies), strict=True):
            if raw is None:
                continue
            try:
                found[key] = opened(raw)[1]
            except CorruptDataError:
                await self._discard(key, raw, counted=True)
        return found

    async def _discard(self, key: str, raw: bytes, *, counted: bool) -> None:
        with self._slots.acquire() as call:
            await self._scripts.discard(key, raw, call, counted=counted)


_NOT_FOUND: Final = Found(NOTHING, 0.0, None)
