"""Writes to one shard of a cache."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from edge_redis._cache.accesses import Accesses
from edge_redis._cache.arguments import NEVER_MS, Ttl, ttl_ms
from edge_redis._cache.config import Bounds, CacheConfig
from edge_redis._cache.entry import HEADER_BYTES
from edge_redis._cache.flights import Flights
from edge_redis._cache.near_cache_group import NearCacheGroup
from edge_redis._cache.scripts import (
    PURGE_CHUNK,
    CallId,
    EncodedEntry,
    PutOptions,
    PutResult,
    Removal,
    Scripts,
    chunks,
    run_chunks,
)
from edge_redis._core import codec
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Operation
from edge_redis._core.replication import Acknowledged, ReplicatedOperation, Replication
from edge_redis.errors import ValueTooLargeError

_INDEXES = (1, 2)


class EntryWriter:
    """Stores and removes entries of one shard.

    Afterwards, however the write ended, the near caches of this process drop the written keys, because
    what they read meanwhile may be older, and computations under way get no more callers.

    Args:
        config: of the cache.
        bounds: of the shard.
        scripts: of the shard.
        config_scripts: of the shard that stores the shared options (see ``Shards``).
        accesses: of the shard.
        idempotency: hands out the keys of calls.
        near_caches: of this process and namespace.
        flights: computations under way of the shard in this process.

    """

    def __init__(
        self,
        config: CacheConfig,
        bounds: Bounds,
        scripts: Scripts,
        config_scripts: Scripts,
        accesses: Accesses,
        idempotency: IdempotencyKeys,
        near_caches: NearCacheGroup,
        flights: Flights,
    ) -> None:
        self._config = config
        self._codec = config.codec
        self._max_bytes = bounds.max_bytes
        self._scripts = scripts
        self._config_scripts = config_scripts
        self._accesses = accesses
        self._idempotency = idempotency
        self.near_caches = near_caches
        self.flights = flights
        self._fingerprint = config.fingerprint
        bounds_text = f"{bounds.max_size} {bounds.max_bytes or 0}"
        self._bounds = f"{bounds_text} 0 {self._fingerprint}"
        self._verified_bounds = f"{bounds_text} 1 {self._fingerprint}"
        self.default_options = PutOptions(self._bounds)
        """The options of a put without tags and condition."""

    def _invalidate_process(self, keys: Sequence[str] | None) -> None:
        """Drop what this process knows of keys that were written; of all keys where None."""
        self.near_caches.invalidate(keys)
        self.flights.detach(keys)

    def options(self, tags: str = "", condition: str | bytes = "") -> PutOptions:
        """Return the options of a put, with tags that are packed."""
        return PutOptions(self._bounds, tags, condition)

    def entry(self, key: str, value: object, ttl: Ttl) -> EncodedEntry:
        """Return the entry to store under a valid key."""
        return self.entry_for_ms(key, value, self.ttl_ms(ttl))

    def entry_for_ms(self, key: str, value: object, lifetime_ms: int) -> EncodedEntry:
        """Return the entry to store under a valid key for so many milliseconds."""
        body = self._codec.encode(value, limit=self._config.max_value_bytes)
        budget = self._max_bytes
        if budget is not None and (size := len(key.encode()) + HEADER_BYTES + len(body)) > budget:
            raise ValueTooLargeError(f"the entry has {size} bytes with its key; max_bytes leaves {budget} for all")
        return EncodedEntry(key, lifetime_ms, body)

    def canonical(self, value: object) -> bytes:
        """Return the canonical encoding of a value, for comparison."""
        return self._codec.canonical(value, limit=self._config.max_value_bytes)

    def ttl_ms(self, ttl: Ttl) -> int:
        """Return a TTL in seconds as milliseconds: the default for None, shortened at random where configured."""
        whole = self._config.default_ttl_ms if ttl is None else ttl_ms("ttl", ttl, allow_never=True)
        jitter = self._config.ttl_jitter if whole != NEVER_MS else 0.0
        return max(1, round(whole * random.uniform(1 - jitter, 1))) if jitter else whole  # noqa: S311 -- no secret

    async def put(self, entry: EncodedEntry, options: PutOptions) -> None:
        """Store an entry, nearly always in one call."""
        try:
            with self._idempotency.acquire() as call:
                operation = self._scripts.put((entry,), options, call)
                if self._accesses.buffer.is_empty:
                    result = await operation
                else:
                    [result] = await self._accesses.run_after_flush([operation])
            if not result.done:
                await self.put_many([entry], options)
            elif result.has_more_due:
                await self._purge()
        finally:
            self.near_caches.invalidate((entry.key,))
            if self.flights.by_key:
                self.flights.detach((entry.key,))

    async def put_many(
        self, entries: Sequence[EncodedEntry], options: PutOptions, replication: Replication | None = None
    ) -> None:
        """Store entries. Accesses are delivered first, because they decide which entries are evicted.

        Raises:
            NotReplicatedError: all were stored, and fewer replicas than ``replication`` asks for acknowledged some.

        """
        try:
            waiting, has_more_due, unreplicated = chunks(entries), False, None
            while waiting:
                outcomes = await self._put_chunks(waiting, options, replication)
                unreplicated = next((each for each in outcomes if each.shortfall and each.result.done), unreplicated)
                results = [each.result for each in outcomes]
                if any(result.must_verify_config for result in results):
                    await self._config_scripts.verify_config(self._fingerprint)
                    options = options._replace(bounds=self._verified_bounds)
                has_more_due = any(result.has_more_due for result in results)
                rests = (chunk[result.done :] for chunk, result in zip(waiting, results, strict=True))
                waiting = [rest for rest in rests if rest]
        finally:
            self._invalidate_process([entry.key for entry in entries])
        if has_more_due:
            await self._purge()
        if unreplicated is not None:
            unreplicated.check()

    async def _put_chunks(
        self, waiting: Sequence[Sequence[EncodedEntry]], options: PutOptions, replication: Replication | None
    ) -> list[Acknowledged[PutResult]]:
        with ExitStack() as calls:
            puts = [
                self._scripts.put(chunk, options, calls.enter_context(self._idempotency.acquire())) for chunk in waiting
            ]
            if replication is None:
                return [Acknowledged(result, "") for result in await self._accesses.run_after_flush(puts)]
            return await self._accesses.run_after_flush([ReplicatedOperation(put, replication) for put in puts])

    async def put_if(self, entry: EncodedEntry, options: PutOptions) -> bool:
        """Store an entry if the condition of ``options`` is met; return whether it was stored."""
        result = await self._repeat_put(
            entry, lambda bounds, call: self._scripts.put((entry,), options._replace(bounds=bounds), call)
        )
        return not result.is_refused

    async def incr(self, entry: EncodedEntry, delta: int) -> int:
        """Add ``delta`` to the integer of an entry, or store ``entry``, which holds it; the new integer."""
        result = await self._repeat_put(entry, lambda bounds, call: self._scripts.incr(entry, bounds, delta, call))
        return delta if result.body is None else int(codec.decode(result.body))

    async def _repeat_put(self, entry: EncodedEntry, build: Callable[[str, CallId], Operation[PutResult]]) -> PutResult:
        """Send a put of one entry until it is handled: the bound of one call or the config may require several."""
        bounds = self._bounds
        try:
            while True:
                with self._idempotency.acquire() as call:
                    [result] = await self._accesses.run_after_flush([build(bounds, call)])
                if result.must_verify_config:
                    await self._config_scripts.verify_config(self._fingerprint)
                    bounds = self._verified_bounds
                elif result.done:
                    break
        finally:
            self._invalidate_process((entry.key,))
        if result.has_more_due:
            await self._purge()
        return result

    async def compare_and_delete(self, key: str, expected: bytes) -> bool:
        """Remove ``key`` if it has this value, in canonical encoding; return whether it was removed."""
        try:
            with self._idempotency.acquire() as call:
                return await self._scripts.compare_and_delete(key, expected, call)
        finally:
            self._invalidate_process((key,))

    async def pop(self, key: str) -> bytes | None:
        """Remove ``key`` and return its bytes."""
        try:
            with self._idempotency.acquire() as call:
                return await self._scripts.pop(key, call)
        finally:
            self._invalidate_process((key,))

    async def touch(self, key: str, lifetime_ms: int) -> bool:
        """Let ``key`` expire in so many milliseconds; return whether it exists."""
        try:
            return await self._scripts.touch(key, lifetime_ms)
        finally:
            self._invalidate_process((key,))

    async def delete(self, keys: Sequence[str]) -> int:
        """Remove these keys; the number of live entries among them."""
        try:
            return sum(await run_chunks(keys, self._scripts.delete, self._idempotency))
        finally:
            self._invalidate_process(keys)

    async def clear(self) -> int:
        """Remove every entry; the number of live ones."""
        await self._accesses.flush()
        return await self._remove_all(partial(self._scripts.clear, self._fingerprint))

    async def invalidate_tag(self, tag: str) -> int:
        """Remove every entry that carries ``tag``; the number of live ones."""
        return await self._remove_all(partial(self._scripts.invalidate_tag, tag))

    async def invalidate_prefix(self, prefix: str) -> int:
        """Remove every entry whose key begins with ``prefix``; the number of live ones."""
        removed, cursor = 0, 0
        try:
            while True:
                with self._idempotency.acquire() as call:
                    count, cursor = await self._scripts.invalidate_prefix(prefix, cursor, call)
                removed += count
                if not cursor:
                    return removed
        finally:
            self._invalidate_process(None)

    async def _remove_all(self, build: Callable[[CallId], Operation[Removal]]) -> int:
        removed, has_more = 0, True
        try:
            while has_more:
                with self._idempotency.acquire() as call:
                    step = await build(call)
                removed, has_more = removed + step.removed, step.has_more
        finally:
            self._invalidate_process(None)
        return removed

    async def purge_expired(self) -> int:
        """Remove expired entries, and rows whose value Redis has evicted; the number of the former."""
        await self._accesses.flush()
        removed = await self._purge()
        for index in _INDEXES:
            cursor = await self._scripts.repair_index(index, 0)
            while cursor:
                cursor = await self._scripts.repair_index(index, cursor)
        return removed

    async def _purge(self) -> int:
        removed, last = 0, PURGE_CHUNK
        while last == PURGE_CHUNK:
            with self._idempotency.acquire() as call:
                last = await self._scripts.purge(call)
            removed += last
        return removed
