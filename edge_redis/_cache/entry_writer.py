"""Writes to one shard of a cache."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from edge_redis._cache.accesses import Accesses
from edge_redis._cache.arguments import NEVER_MS, Ttl, check_ttl
from edge_redis._cache.bulk_remover import BulkRemover
from edge_redis._cache.config import Bounds, CacheConfig
from edge_redis._cache.entry import HEADER_BYTES
from edge_redis._cache.process_copies import ProcessCopies
from edge_redis._cache.round_trips import CHUNK, run_in_chunks
from edge_redis._cache.script_replies import PutResult
from edge_redis._cache.script_requests import CallId, EncodedEntry, PutOptions
from edge_redis._cache.scripts import Scripts
from edge_redis._core import codec
from edge_redis._core.chunks import split_chunks
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Operation
from edge_redis._core.replication import Acknowledged, ReplicatedOperation, Replication
from edge_redis.errors import ValueTooLargeError


class EntryWriter:
    """Stores and removes entries of one shard, each by its key.

    Args:
        config: of the cache.
        bounds: of the shard.
        scripts: of the shard.
        config_scripts: of the shard that stores the shared options (see ``Shards``).
        accesses: of the shard.
        idempotency: hands out the keys of calls.
        copies: of the shard's entries in this process, invalidated after each write.
        remover: purges expired entries, where a put has left some.

    """

    def __init__(
        self,
        config: CacheConfig,
        bounds: Bounds,
        scripts: Scripts,
        config_scripts: Scripts,
        accesses: Accesses,
        idempotency: IdempotencyKeys,
        copies: ProcessCopies,
        remover: BulkRemover,
    ) -> None:
        self._config = config
        self._codec = config.codec
        self._max_bytes = bounds.max_bytes
        self._scripts = scripts
        self._config_scripts = config_scripts
        self._accesses = accesses
        self._idempotency = idempotency
        self._copies = copies
        self._remover = remover
        self._fingerprint = config.fingerprint
        limits = f"{bounds.max_size} {bounds.max_bytes or 0}"
        # The argument ``bounds`` of put.lua, before and after the config shard has verified the options.
        self._bounds = f"{limits} 0 {self._fingerprint}"
        self._verified_bounds = f"{limits} 1 {self._fingerprint}"
        self.default_options = PutOptions(self._bounds)
        """The options of a put without tags and condition."""

    def make_options(self, tags: str = "", condition: str | bytes = "") -> PutOptions:
        """Return the options of a put, with tags that are packed."""
        return PutOptions(self._bounds, tags, condition)

    def encode_entry(self, key: str, value: object, ttl: Ttl) -> EncodedEntry:
        """Return the entry to store under a valid key."""
        return self.encode_entry_for(key, value, self.choose_ttl_ms(ttl))

    def encode_entry_for(self, key: str, value: object, lifetime_ms: int) -> EncodedEntry:
        """Return the entry to store under a valid key for ``lifetime_ms``."""
        body = self._codec.encode(value, limit=self._config.max_value_bytes)
        limit = self._max_bytes
        if limit is not None and (size := len(key.encode()) + HEADER_BYTES + len(body)) > limit:
            raise ValueTooLargeError(f"the entry has {size} bytes with its key; max_bytes leaves {limit} for all")
        return EncodedEntry(key, lifetime_ms, body)

    def encode_canonical(self, value: object) -> bytes:
        """Return the canonical encoding of a value, for comparison."""
        return self._codec.canonical(value, limit=self._config.max_value_bytes)

    def choose_ttl_ms(self, ttl: Ttl) -> int:
        """Return a TTL in seconds as milliseconds: the default for None, shortened at random where configured."""
        whole = self._config.default_ttl_ms if ttl is None else check_ttl("ttl", ttl, allow_never=True)
        jitter = self._config.ttl_jitter if whole != NEVER_MS else 0.0
        return max(1, round(whole * random.uniform(1 - jitter, 1))) if jitter else whole  # noqa: S311 -- no secret

    async def put(self, entry: EncodedEntry, options: PutOptions) -> None:
        """Store an entry, nearly always in one call."""
        try:
            with self._idempotency.acquire() as call:
                operation = self._scripts.put((entry,), options, call)
                if not self._accesses.buffer.affects_order:
                    result = await operation
                else:
                    [result] = await self._accesses.run_in_order([operation])
            if not result.done:
                await self.put_many([entry], options)
            elif result.has_more_due:
                await self._remover.purge()
        finally:
            self._copies.invalidate((entry.key,))

    async def put_many(
        self, entries: Sequence[EncodedEntry], options: PutOptions, replication: Replication | None = None
    ) -> None:
        """Store entries. Hits are delivered first, because they decide which entries are evicted.

        Raises:
            NotReplicatedError: all were stored, but some were acknowledged by fewer replicas than ``replication`` asks.

        """
        try:
            waiting, has_more_due, unreplicated = split_chunks(entries, CHUNK), False, None
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
            self._copies.invalidate([entry.key for entry in entries])
        if has_more_due:
            await self._remover.purge()
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
                return [Acknowledged(result, "") for result in await self._accesses.run_in_order(puts)]
            return await self._accesses.run_in_order([ReplicatedOperation(put, replication) for put in puts])

    async def put_if(self, entry: EncodedEntry, options: PutOptions) -> bool:
        """Store an entry if the condition of ``options`` is met; return whether it was stored."""
        result = await self._repeat_put(
            entry, lambda bounds, call: self._scripts.put((entry,), options._replace(bounds=bounds), call)
        )
        return not result.is_refused

    async def incr(self, entry: EncodedEntry, delta: int) -> int:
        """Add ``delta`` to the integer of an entry, or store ``entry``, which holds it; return the new integer."""
        result = await self._repeat_put(entry, lambda bounds, call: self._scripts.incr(entry, bounds, delta, call))
        return delta if result.body is None else int(codec.decode(result.body))

    async def _repeat_put(self, entry: EncodedEntry, build: Callable[[str, CallId], Operation[PutResult]]) -> PutResult:
        """Send a put of one entry until it is handled: after a call to verify the config, or one that made space."""
        bounds = self._bounds
        try:
            while True:
                with self._idempotency.acquire() as call:
                    [result] = await self._accesses.run_in_order([build(bounds, call)])
                if result.must_verify_config:
                    await self._config_scripts.verify_config(self._fingerprint)
                    bounds = self._verified_bounds
                elif result.done:
                    break
        finally:
            self._copies.invalidate((entry.key,))
        if result.has_more_due:
            await self._remover.purge()
        return result

    async def compare_and_delete(self, key: str, expected: bytes) -> bool:
        """Remove ``key`` if it has this value, in canonical encoding; return whether it was removed."""
        try:
            with self._idempotency.acquire() as call:
                return await self._scripts.compare_and_delete(key, expected, call)
        finally:
            self._copies.invalidate((key,))

    async def pop(self, key: str) -> bytes | None:
        """Remove ``key`` and return its bytes."""
        try:
            with self._idempotency.acquire() as call:
                return await self._scripts.pop(key, call)
        finally:
            self._copies.invalidate((key,))

    async def touch(self, key: str, lifetime_ms: int) -> bool:
        """Let ``key`` expire in ``lifetime_ms``; return whether it exists."""
        try:
            return await self._scripts.touch(key, lifetime_ms)
        finally:
            self._copies.invalidate((key,))

    async def delete(self, keys: Sequence[str]) -> int:
        """Remove these keys; return how many existed."""
        try:
            return sum(await run_in_chunks(keys, self._scripts.delete, self._idempotency))
        finally:
            self._copies.invalidate(keys)
