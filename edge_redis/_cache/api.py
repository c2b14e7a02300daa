"""The methods of EdgeCache, as coroutines. The service in ``_services`` documents them in full.

Arguments are checked when a method is called, before its coroutine runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from edge_redis._cache.announcements import Announcements
from edge_redis._cache.arguments import Ttl, check_keys, pack_tags
from edge_redis._cache.compute_options import ComputeOptions, ResultTtl
from edge_redis._cache.compute_request import ComputeRequest
from edge_redis._cache.config import CacheConfig
from edge_redis._cache.key_pages import KeyPage, PagePosition
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_subscribers import Subscriber
from edge_redis._cache.script_requests import ABSENT, equal_condition
from edge_redis._cache.shards import ProcessState, Shard, Shards
from edge_redis._cache.statistics import Statistics
from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.replication import Replication
from edge_redis.models import CacheEntry

MIN_INT: Final = -(1 << 63)
MAX_INT: Final = (1 << 63) - 1
"""The range of integers that ``incr`` keeps."""


class Cache(Component):
    """The cache of one namespace."""

    def __init__(
        self,
        namespace: str,
        config: CacheConfig,
        clock: Callable[[], float],
        near: NearEntries | None = None,
        state: ProcessState | None = None,
    ) -> None:
        state = ProcessState() if state is None else state
        self.namespace = namespace
        self.config = config
        self.near = near
        self.shards = Shards(namespace, config, state, near, clock)
        self._statistics = Statistics(config, self.shards, near)
        self._announcements: Announcements | None = None
        if near is not None:
            state.near_caches.add(near)
            self._announcements = Announcements(near, self.shards, clock)
            self.tick_seconds = min(config.flush_interval, 1.0)
        elif not config.is_exact:
            self.tick_seconds = config.flush_interval

    def subscriber(self) -> Subscriber | None:
        """Return the near cache as one that gets messages about writes; None where there is none."""
        return None if self.near is None else Subscriber(self.near, [shard.scripts.keys for shard in self.shards.all])

    def get(self, key: str, default: Any = None) -> Awaitable[Any]:
        """Return the value of ``key``, or ``default``; counts an access."""
        validation.check_identifier("key", key)  # not by _shard_of: most calls are this one
        return self.shards.of(key).reader.get(key, default)

    def _shard_of(self, key: str) -> Shard:
        """Return the shard of ``key``, after checking the key."""
        return self.shards.of(validation.check_identifier("key", key))

    def get_many(self, keys: Iterable[str]) -> Awaitable[dict[str, Any]]:
        """Return the values of those ``keys`` that are found, in one round trip; counts an access each."""
        return self.shards.get_many(check_keys(keys))

    def contains(self, key: str) -> Awaitable[bool]:
        """Return whether there is an entry ``key``; counts no access."""
        return self._shard_of(key).inspector.contains(key)

    def entry(self, key: str) -> Awaitable[CacheEntry | None]:
        """Return the entry ``key`` with its times and count, or None; counts no access."""
        return self._shard_of(key).inspector.entry(key)

    def page(self, position: PagePosition) -> Awaitable[KeyPage]:
        """Return some keys of live entries."""
        return self.shards.page(position)

    def put(
        self,
        key: str,
        value: Any,
        ttl: Ttl = None,
        *,
        tags: Iterable[str] = (),
        replication: Replication | None = None,
    ) -> Awaitable[None]:
        """Store ``value`` under ``key``, evicting where the cache is full."""
        writer = self._shard_of(key).writer
        options = writer.make_options(pack_tags(tags)) if tags != () else writer.default_options
        entry = writer.encode_entry(key, value, ttl)
        return writer.put(entry, options) if replication is None else writer.put_many([entry], options, replication)

    def put_many(
        self,
        mapping: Mapping[str, Any],
        ttl: Ttl = None,
        *,
        tags: Iterable[str] = (),
        replication: Replication | None = None,
    ) -> Awaitable[None]:
        """Store every value of ``mapping`` under its key, in one round trip."""
        if not isinstance(mapping, Mapping):
            raise validation.type_error("mapping", mapping, "a mapping of str to values")
        values = {validation.check_identifier("key", key): value for key, value in mapping.items()}
        packed = pack_tags(tags)
        parts = []
        for shard, part in self.shards.split(values):
            entries = [shard.writer.encode_entry(key, values[key], ttl) for key in part]
            parts.append((shard, entries, shard.writer.make_options(packed)))
        return self.shards.put_many(parts, replication)

    def touch(self, key: str, ttl: Ttl = None) -> Awaitable[bool]:
        """Let ``key`` expire ``ttl`` seconds from now; return whether it exists."""
        writer = self._shard_of(key).writer
        return writer.touch(key, writer.choose_ttl_ms(ttl))

    def add(self, key: str, value: Any, ttl: Ttl = None) -> Awaitable[bool]:
        """Store ``value`` under ``key`` if there is no such entry; return whether it was stored."""
        writer = self._shard_of(key).writer
        return writer.put_if(writer.encode_entry(key, value, ttl), writer.make_options(condition=ABSENT))

    def incr(self, key: str, delta: int = 1, ttl: Ttl = None) -> Awaitable[int]:
        """Add ``delta`` to the int under ``key``, or store it; return the new int."""
        writer = self._shard_of(key).writer
        validation.check_integer("delta", delta, least=MIN_INT, most=MAX_INT)
        return writer.incr(writer.encode_entry(key, delta, ttl), delta)

    def compare_and_set(self, key: str, expected: Any, value: Any, ttl: Ttl = None) -> Awaitable[bool]:
        """Store ``value`` under ``key`` if the entry has the value ``expected``; return whether it was stored."""
        writer = self._shard_of(key).writer
        options = writer.make_options(condition=equal_condition(writer.encode_canonical(expected)))
        return writer.put_if(writer.encode_entry(key, value, ttl), options)

    def compare_and_delete(self, key: str, expected: Any) -> Awaitable[bool]:
        """Remove ``key`` if the entry has the value ``expected``; return whether it was removed."""
        writer = self._shard_of(key).writer
        return writer.compare_and_delete(key, writer.encode_canonical(expected))

    def pop(self, key: str, default: Any = None) -> Awaitable[Any]:
        """Remove ``key`` and return its value, or ``default``; counts no access."""
        return self._shard_of(key).pop(key, default)

    def ttl(self, key: str) -> Awaitable[float | None]:
        """Return the seconds that ``key`` has to live: infinity if it never expires, None if there is none."""
        return self._shard_of(key).scripts.ttl(key)

    def invalidate_prefix(self, prefix: str) -> Awaitable[int]:
        """Remove every entry whose key begins with ``prefix``; return how many were live."""
        return self.shards.invalidate_prefix(validation.check_identifier("prefix", prefix))

    def delete(self, key: str) -> Awaitable[bool]:
        """Remove ``key``; return whether it existed."""
        validation.check_identifier("key", key)
        return self._delete(key)

    async def _delete(self, key: str) -> bool:
        return await self.shards.delete([key]) == 1

    def delete_many(self, keys: Iterable[str]) -> Awaitable[int]:
        """Remove these keys in one round trip; return how many existed."""
        return self.shards.delete(check_keys(keys))

    def clear(self) -> Awaitable[int]:
        """Remove every entry of the namespace; return how many were live. The statistics stay."""
        return self.shards.clear()

    def invalidate_tag(self, tag: str) -> Awaitable[int]:
        """Remove every entry that carries ``tag``; return how many were live."""
        return self.shards.invalidate_tag(validation.check_identifier("tag", tag))

    def purge_expired(self) -> Awaitable[int]:
        """Remove expired entries, and repair the indexes; return how many had expired."""
        return self.shards.purge_expired()

    def get_or_compute(
        self, key: str, compute: Callable[[], Any], ttl: ResultTtl = None, *, options: ComputeOptions
    ) -> Awaitable[Any]:
        """Return the value of ``key``, or compute and store it, one caller of all processes at a time."""
        request = self.make_request(key, compute, ttl, options)
        return self.shards.of(key).computation.get_or_compute(request)

    def refresh(
        self, key: str, compute: Callable[[], Any], ttl: ResultTtl = None, *, options: ComputeOptions
    ) -> Awaitable[Any]:
        """Compute the value of ``key`` and store it, whether or not there is one."""
        request = self.make_request(key, compute, ttl, options)
        return self.shards.of(key).computation.refresh(request)

    def make_request(
        self, key: str, compute: Callable[[], Any], ttl: ResultTtl, options: ComputeOptions
    ) -> ComputeRequest:
        """Return a checked call of ``get_or_compute``."""
        validation.check_identifier("key", key)
        validation.check_callable("compute", compute)
        if not callable(ttl):
            self.shards.of(key).writer.choose_ttl_ms(ttl)
        return ComputeRequest(key, compute, ttl, options, is_fail_open=self.config.on_error == "miss")

    async def stats(self) -> dict[str, Any]:
        """Return the statistics of all processes of the namespace, then those of this process."""
        return await self._statistics.read_all()

    def local_stats(self) -> dict[str, Any]:
        """Return the statistics of this process alone."""
        return self._statistics.read_local()

    async def size(self) -> int:
        """Return the number of live entries."""
        return await self._statistics.count_live()

    async def hit_rate(self) -> float:
        """Return the hits of all requests of all processes, 0 to 100; 0.0 before any request."""
        return await self._statistics.compute_hit_rate()

    async def flush(self) -> None:
        """Deliver the accesses made so far by all caches of this process and namespace."""
        await self.shards.flush()

    def is_tick_due(self) -> bool:
        """Return whether there are accesses to deliver, or announcements to request."""
        if self.near is not None and self.near.needs_announcements:
            return True
        return not all(shard.accesses.buffer.is_empty for shard in self.shards.all)

    async def tick(self) -> None:
        """Deliver accesses, and keep writers publishing where the near cache needs it."""
        await self.renew_announcements()
        await self.flush()

    async def renew_announcements(self) -> None:
        """Keep writers publishing where the near cache needs it."""
        if self._announcements is not None:
            await self._announcements.renew()

    async def closing(self) -> None:
        """Deliver the last accesses."""
        await self.flush()

    def describe_unflushed(self) -> str:
        """Return how many accesses are not known to be counted in Redis."""
        pending = sum(shard.accesses.buffer.pending for shard in self.shards.all)
        return f"{pending} accesses of the cache of namespace {self.namespace!r}" if pending else ""

    def after_fork(self) -> None:
        """Drop the accesses and computations, which are the parent's, and the near cache."""
        for shard in self.shards.all:
            shard.after_fork()
        self.shards.state.near_caches.after_fork()
        if self.near is not None:
            self.near.after_fork()
