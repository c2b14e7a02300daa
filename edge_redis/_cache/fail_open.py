"""The cache of ``on_error="miss"``: a wrapper that answers while the server is unavailable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from edge_redis._cache.api import Cache
from edge_redis._cache.arguments import Ttl, check_keys
from edge_redis._cache.compute_options import ComputeOptions, ResultTtl
from edge_redis._cache.compute_request import ComputeRaisedError
from edge_redis._cache.config import CacheConfig
from edge_redis._cache.guarded_calls import UNANSWERED, GuardedCalls
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_entry import MISSING
from edge_redis._cache.shards import ProcessState
from edge_redis._core.component import Component
from edge_redis._core.replication import Replication
from edge_redis.models import CacheEntry


class FailOpenCache(Component):
    """A cache whose reads miss, whose functions compute and whose writes are dropped without the server.

    ``clear``, ``invalidate_tag``, ``invalidate_prefix``, ``purge_expired`` and statistics raise all the same.
    """

    def __init__(self, cache: Cache, clock: Callable[[], float]) -> None:
        self._cache = cache
        self._calls = GuardedCalls(cache.shards, cache.near, clock)
        self.namespace = cache.namespace
        self.config = cache.config
        self.near = cache.near
        self.shards = cache.shards
        self.subscriber = cache.subscriber
        self.tick_seconds = cache.config.flush_interval if cache.tick_seconds is None else cache.tick_seconds
        self.page = cache.page
        self.invalidate_prefix = cache.invalidate_prefix
        self.invalidate_tag = cache.invalidate_tag
        self.clear = cache.clear
        self.purge_expired = cache.purge_expired
        self.size = cache.size
        self.hit_rate = cache.hit_rate
        self.flush = cache.flush
        self.after_fork = cache.after_fork  # type: ignore[method-assign] # a method of the base class, unlike those above

    async def get(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, or what the near cache kept of it, or ``default``."""
        value = await self._calls.attempt([key], self._cache.get(key, default), reads=[key])
        return self._calls.fall_back(self._calls.stale_get(key, default)) if value is UNANSWERED else value

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those ``keys`` that are found, or that the near cache kept."""
        wanted = check_keys(keys)
        found = await self._calls.attempt(wanted, self._cache.get_many(wanted))
        if found is not UNANSWERED:
            return found
        stale = {key: self._calls.stale_get(key, MISSING) for key in wanted}
        return self._calls.fall_back({key: value for key, value in stale.items() if value is not MISSING})

    async def contains(self, key: str) -> bool:
        """Return whether there is an entry ``key``, as far as is known."""
        found = await self._calls.attempt([key], self._cache.contains(key))
        return (
            self._calls.fall_back(self._calls.stale_get(key, MISSING) is not MISSING) if found is UNANSWERED else found
        )

    async def entry(self, key: str) -> CacheEntry | None:
        """Return the entry ``key``, or None."""
        entry = await self._calls.attempt([key], self._cache.entry(key))
        return self._calls.fall_back(None) if entry is UNANSWERED else entry

    async def put(
        self,
        key: str,
        value: Any,
        ttl: Ttl = None,
        *,
        tags: Iterable[str] = (),
        replication: Replication | None = None,
    ) -> None:
        """Store ``value`` under ``key``, or drop it; raises without the server where it is to be replicated."""
        if replication is not None:
            await self._calls.require([key], self._cache.put(key, value, ttl, tags=tags, replication=replication))
        elif await self._calls.attempt([key], self._cache.put(key, value, ttl, tags=tags)) is UNANSWERED:
            self._calls.drop_write([key])

    async def put_many(
        self,
        mapping: Mapping[str, Any],
        ttl: Ttl = None,
        *,
        tags: Iterable[str] = (),
        replication: Replication | None = None,
    ) -> None:
        """Store every value of ``mapping`` under its key, or drop them; see ``put``."""
        call = self._cache.put_many(mapping, ttl, tags=tags, replication=replication)  # checks the arguments
        keys = list(mapping)
        if replication is not None:
            await self._calls.require(keys, call)
        elif await self._calls.attempt(keys, call) is UNANSWERED:
            self._calls.drop_write(keys)

    async def touch(self, key: str, ttl: Ttl = None) -> bool:
        """Let ``key`` expire ``ttl`` seconds from now; return whether that was done."""
        touched = await self._calls.attempt([key], self._cache.touch(key, ttl))
        return self._calls.fall_back(answer=False) if touched is UNANSWERED else touched

    async def delete(self, key: str) -> bool:
        """Remove ``key``, now or as soon as the server is available; return whether it is known to have existed."""
        deleted = await self._calls.attempt([key], self._cache.delete(key))
        return deleted if deleted is not UNANSWERED else bool(self._calls.drop_write([key]))

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Remove these keys, now or as soon as the server is available; return how many are known to have existed."""
        unwanted = check_keys(keys)
        deleted = await self._calls.attempt(unwanted, self._cache.delete_many(unwanted))
        return deleted if deleted is not UNANSWERED else self._calls.drop_write(unwanted)

    async def get_or_compute(
        self, key: str, compute: Callable[[], Any], ttl: ResultTtl = None, *, options: ComputeOptions
    ) -> Any:
        """Return the value of ``key``, or what the near cache kept of it, or compute it."""
        request = self._cache.make_request(key, compute, ttl, options)
        computation = self.shards.of(key).computation
        try:
            value = await self._calls.attempt([key], computation.get_or_compute(request), reads=[key])
            if value is UNANSWERED:
                value = self._calls.fall_back(self._calls.stale_get(key, MISSING))
            return (await computation.compute_without_server(request)) if value is MISSING else value
        except ComputeRaisedError as raised:
            raise raised.error from raised.error.__cause__

    async def refresh(
        self, key: str, compute: Callable[[], Any], ttl: ResultTtl = None, *, options: ComputeOptions
    ) -> Any:
        """Compute the value of ``key`` and store it, or drop it."""
        request = self._cache.make_request(key, compute, ttl, options)
        shard = self.shards.of(key)
        value, entry, put_options = await shard.computation.compute(request)
        if entry is not None and await self._calls.attempt([key], shard.writer.put(entry, put_options)) is UNANSWERED:
            self._calls.drop_write([key])
        return value

    async def add(self, key: str, value: Any, ttl: Ttl = None) -> bool:
        """Store ``value`` under ``key`` if there is no such entry; raises without the server."""
        return await self._calls.require([key], self._cache.add(key, value, ttl))

    async def incr(self, key: str, delta: int = 1, ttl: Ttl = None) -> int:
        """Add ``delta`` to the int under ``key``; raises without the server."""
        return await self._calls.require([key], self._cache.incr(key, delta, ttl))

    async def compare_and_set(self, key: str, expected: Any, value: Any, ttl: Ttl = None) -> bool:
        """Store ``value`` if the entry has the value ``expected``; raises without the server."""
        return await self._calls.require([key], self._cache.compare_and_set(key, expected, value, ttl))

    async def compare_and_delete(self, key: str, expected: Any) -> bool:
        """Remove ``key`` if the entry has the value ``expected``; raises without the server."""
        return await self._calls.require([key], self._cache.compare_and_delete(key, expected))

    async def pop(self, key: str, default: Any = None) -> Any:
        """Remove ``key`` and return its value; raises without the server."""
        return await self._calls.require([key], self._cache.pop(key, default))

    async def ttl(self, key: str) -> float | None:
        """Return the seconds that ``key`` has to live; raises without the server."""
        return await self._calls.require([key], self._cache.ttl(key))

    async def stats(self) -> dict[str, Any]:
        """Return the statistics of all processes of the namespace, then those of this process."""
        return await self._cache.stats() | self.local_stats()

    def local_stats(self) -> dict[str, Any]:
        """Return the statistics of this process alone."""
        return self._cache.local_stats() | {
            "fallbacks": self._calls.fallbacks,
            "pending_invalidations": len(self._calls.pending),
            "circuit": "open" if self._calls.circuit.is_open else "closed",
        }

    def describe_unflushed(self) -> str:
        """Return how many accesses are not known to be counted, and how many invalidations are pending."""
        count = len(self._calls.pending)
        pending = f"{count} pending invalidations of namespace {self.namespace!r}" if count else ""
        return " and ".join(text for text in (self._cache.describe_unflushed(), pending) if text)

    def is_tick_due(self) -> bool:
        """Return whether there are accesses to deliver, announcements to request, or pending keys to remove."""
        return bool(len(self._calls.pending)) or self._cache.is_tick_due()

    async def tick(self) -> None:
        """Deliver accesses and remove pending keys, where the server is available."""
        await self._cache.renew_announcements()
        await self._calls.attempt((), self.flush())

    async def closing(self) -> None:
        """Deliver the last accesses and remove pending keys, where the server is available."""
        flushed = await self._calls.attempt((), self.flush(), is_last=True)
        self.has_flushed = (flushed is not UNANSWERED and not len(self._calls.pending)) or not self.describe_unflushed()


AnyCache: TypeAlias = Cache | FailOpenCache


def make_cache(
    namespace: str,
    config: CacheConfig,
    clock: Callable[[], float],
    near: NearEntries | None = None,
    state: ProcessState | None = None,
) -> AnyCache:
    """Return the cache that ``config.on_error`` asks for."""
    cache = Cache(namespace, config, clock, near, state)
    return FailOpenCache(cache, clock) if config.on_error == "miss" else cache
