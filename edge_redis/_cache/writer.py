"""What writes a shard of a cache."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import cached_property, partial

from edge_redis._cache.config import ttl_ms
from edge_redis._cache.envelope import HEADER
from edge_redis._cache.near import Copies
from edge_redis._cache.reader import Reading
from edge_redis._cache.scripts import PURGED, CallId, Cleared, Pair, Scripts, Stored, Terms, chunks
from edge_redis._core import codec
from edge_redis._core.operation import Operation
from edge_redis.errors import ValueTooLargeError


class Forgotten:
    """Has the near caches of this process forget what it writes, all where ``keys`` is None.

    Afterwards, however the write ended: what they read meanwhile may have been there before it.
    """

    __slots__ = ("_copies", "_keys")

    def __init__(self, copies: Copies, keys: Sequence[str] | None) -> None:
        self._copies = copies
        self._keys = keys

    def __enter__(self) -> None:
        """Nothing: what is held may be read until the write has ended."""

    def __exit__(self, *_: object) -> None:
        self._copies.forget(self._keys)


class Writing(Reading):
    """The part of a shard that writes. Arguments are checked when a method is called, before its flow begins."""

    layout: str
    """What all caches of the namespace agree on."""
    home: Scripts
    """Of the shard at which they do."""

    def pair(self, key: str, value: object, ttl: float | None) -> Pair:
        """Return an entry to store under a key that was checked; its time is shortened at random where that is set."""
        return self._pair(key, value, self.lifetime_ms(ttl))

    def _pair(self, key: str, value: object, lifetime_ms: int) -> Pair:
        body = codec.encode(value, limit=self._settings.max_value_bytes)
        budget = self._settings.max_bytes
        if budget is not None and (size := len(key.encode()) + HEADER + len(body)) > budget:
            raise ValueTooLargeError(f"the entry has {size} bytes with its key; max_bytes leaves {budget} for all")
        return Pair(key, lifetime_ms, body)

    def lifetime_ms(self, ttl: float | None) -> int:
        """Return the milliseconds an entry is to live: ``ttl`` seconds, or the default."""
        whole = ttl_ms("default_ttl", self._settings.default_ttl) if ttl is None else ttl_ms("ttl", ttl)
        jitter = self._settings.ttl_jitter
        return max(1, round(whole * random.uniform(1 - jitter, 1))) if jitter else whole  # noqa: S311 -- no secret

    def terms(self, tags: str) -> Terms:
        """Return the terms of a put, with tags that are packed."""
        return Terms(self._own_bounds, tags)

    @cached_property
    def _own_bounds(self) -> str:
        return self._bounds()

    def _bounds(self, *, has_agreed: bool = False) -> str:
        return f"{self._settings.max_size} {self._settings.max_bytes or 0} {has_agreed:d} {self.layout}"

    async def store_one(self, pair: Pair, terms: Terms) -> None:
        """Store a pair, in the one call that it nearly always takes."""
        with Forgotten(self.copies, (pair.key,)):
            with self._slots.acquire() as call:
                stored = await self._after_flush(self._scripts.put([pair], terms, call))
            if not stored.done:
                await self.store([pair], terms)
            elif stored.more_due:
                await self._sweep()

    async def store(self, pairs: Sequence[Pair], terms: Terms) -> None:
        """Store pairs; the counts noted so far go before them, since they decide who is evicted."""
        with Forgotten(self.copies, [pair.key for pair in pairs]):
            waiting, more_due = chunks(pairs), False
            while waiting:
                results = await self._put(waiting, terms)
                if any(result.must_agree for result in results):
                    await self.home.agree(self.layout)
                    terms = terms._replace(bounds=self._bounds(has_agreed=True))
                more_due = any(result.more_due for result in results)
                rests = (chunk[result.done :] for chunk, result in zip(waiting, results, strict=True))
                waiting = [rest for rest in rests if rest]
        if more_due:
            await self._sweep()

    async def _put(self, waiting: Sequence[Sequence[Pair]], terms: Terms) -> list[Stored]:
        with ExitStack() as held:
            puts = [self._scripts.put(chunk, terms, held.enter_context(self._slots.acquire())) for chunk in waiting]
            return await self._all_after_flush(puts)

    def touch(self, key: str, ttl: float | None) -> Awaitable[bool]:
        """Let ``key`` expire ``ttl`` seconds from now; whether there is one."""
        return self._touched(key, self.lifetime_ms(ttl))

    async def _touched(self, key: str, lifetime_ms: int) -> bool:
        with Forgotten(self.copies, [key]):
            return await self._scripts.touch(key, lifetime_ms)

    async def delete(self, keys: Sequence[str]) -> int:
        """Remove these keys; how many of them there were."""
        with Forgotten(self.copies, keys):
            removed = await self._remembered(keys, self._scripts.delete)
        return sum(removed)

    async def clear(self) -> int:
        """Remove every entry; how many live ones there were."""
        await self.flush()
        return await self._until_empty(partial(self._scripts.clear, self.layout))

    async def invalidate_tag(self, tag: str) -> int:
        """Remove every entry that was put with ``tag``; how many live ones there were."""
        return await self._until_empty(lambda call: self._scripts.invalidate(tag, call))

    async def _until_empty(self, build: Callable[[CallId], Operation[Cleared]]) -> int:
        removed, more = 0, True
        with Forgotten(self.copies, None):
            while more:
                with self._slots.acquire() as call:
                    step = await build(call)
                removed, more = removed + step.removed, step.more
        return removed

    async def purge_expired(self) -> int:
        """Remove the entries whose time has passed, and rows without a value; how many of the former."""
        await self.flush()
        removed = await self._sweep()
        for index in (1, 2):
            cursor = await self._scripts.heal(index, 0)
            while cursor:
                cursor = await self._scripts.heal(index, cursor)
        return removed

    async def _sweep(self) -> int:
        removed, last = 0, PURGED
        while last == PURGED:
            with self._slots.acquire() as call:
                last = await self._scripts.purge(call)
            removed += last
        return removed
