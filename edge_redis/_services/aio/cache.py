"""EdgeCache for an asyncio client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar, cast

from edge_redis._cache.api import LEASE_SECONDS, Cache, Place
from edge_redis._cache.config import NearCache, Settings, near_settings, tag_names
from edge_redis._cache.function_keys import KeyOf, check_key, result_key
from edge_redis._cache.near_entry import NOTHING
from edge_redis._core import codec
from edge_redis._io.asyncio_runner import yield_to_loop  # asyncio only
from edge_redis._io.clients import AsyncClient
from edge_redis._io.listener import TaskListener
from edge_redis._io.service import AsyncService
from edge_redis._services.components import default_shards, make_cache
from edge_redis.models import CacheEntry
from edge_redis.types import CacheStats, Eviction, OnError

P = ParamSpec("P")
T = TypeVar("T")


class EdgeCache(AsyncService[Cache]):
    """A cache that many processes share: values with a TTL, at most ``max_size`` of them.

    Reads cost the server a GET; the accesses are counted in the process and delivered every
    ``flush_every`` reads, every ``flush_interval`` seconds, before every ``put`` and whatever
    speaks of the counts, and on ``close``. ``flush_every=1`` counts in the step that reads. With
    ``near_cache`` what was read is at hand, and costs the server nothing, until somebody writes it.

    Args:
        client: an asyncio client of Redis or Valkey; it stays open when the cache is closed.
        max_size: live entries, at most.
        default_ttl: seconds, for a put that names none.
        namespace: caches of one namespace on one server are one cache.
        eviction: who goes when the cache is full: "least_accessed", "lru" (not read for longest), or
            "adaptive" (the best hit ratio on most traffic, see docs/cache.md). All caches of a
            namespace name the same; an empty one can be given another.
        flush_every: reads until their counts are delivered; a process that dies loses no more.
        flush_interval: seconds until they are delivered. Hits of the near cache wait for this alone.
        max_value_bytes: the largest encoded value.
        max_bytes: bytes of keys and values, at most; None for no such bound.
        ttl_jitter: the part (0 to below 1) of each TTL that is taken off at random, so that what is
            put together does not expire together.
        near_cache: what this process keeps at hand: a NearCache, a mapping of its fields, or True.
        shards: parts of the cache, each in a slot of its own; the bounds are divided among them. None:
            1, or on a cluster 16 (or max_size, if less). All caches of a namespace name the same.
        on_error: where the server is gone, "raise", or "miss": reads miss, functions compute, writes
            are dropped and what they would have replaced is removed before anything else is read;
            after some failures the server is left alone for a while. ``clear``, ``invalidate_tag`` and
            whatever speaks of counts raise all the same.

    """

    def __init__(
        self,
        client: AsyncClient,
        max_size: int = 1000,
        default_ttl: float = 300.0,
        *,
        namespace: str = "default",
        eviction: Eviction = "least_accessed",
        flush_every: int = 4096,
        flush_interval: float = 0.2,
        max_value_bytes: int = codec.MAX_VALUE_BYTES,
        max_bytes: int | None = None,
        ttl_jitter: float = 0.0,
        near_cache: NearCache | Mapping[str, Any] | bool = False,
        shards: int | None = None,
        on_error: OnError = "raise",
    ) -> None:
        settings = Settings(
            max_size=max_size,
            default_ttl=default_ttl,
            eviction=eviction,
            flush_every=flush_every,
            flush_interval=flush_interval,
            max_value_bytes=max_value_bytes,
            max_bytes=max_bytes,
            ttl_jitter=ttl_jitter,
            near=near_settings(near_cache),
            shards=default_shards(client, max_size) if shards is None else shards,
            on_error=on_error,
        )
        component = make_cache(client, namespace, settings)
        self._near = component.near
        listener = None if component.near is None else TaskListener(client, component.conversation, component.near)
        super().__init__(client, component, listener)

    async def get(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, or ``default`` where there is none or its time has passed.

        A hit raises the entry's access count by one. Bytes that do not decode are a miss; they
        are removed and counted in ``stats()["undecodable"]``.

        Raises:
            InvalidKeyError: the key is empty, over 1,024 bytes in UTF-8, or not encodable.
            InvalidTypeError: it is no str.
            StoreUnavailableError: the server is gone (not with ``on_error="miss"``).

        """
        near = self._near
        if near is not None:
            value = near.held(key)
            if value is not NOTHING:
                if self._runner.should_yield():  # asyncio only
                    await yield_to_loop()  # asyncio only
                return value
        return await self._run(self._component.get(key, default))

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those ``keys`` that are found, in one round trip; each counts as in ``get``."""
        return await self._run(self._component.get_many(keys))

    async def put(
        self,
        key: str,
        value: Any,
        ttl: float | None = None,
        *,
        tags: Iterable[str] = (),
    ) -> None:
        """Store ``value`` under ``key`` for ``ttl`` seconds (``default_ttl`` where None).

        A new key in a full cache evicts: expired entries first, then those that the cache's
        ``eviction`` names. Overwriting restarts the entry's count, age and TTL, replaces its tags,
        and evicts nothing (unless it outgrows ``max_bytes``). What ``get_or_compute`` is computing
        for the key meanwhile is not stored over it.

        Raises:
            InvalidKeyError: the key or a tag is empty, over 1,024 bytes in UTF-8, or not encodable.
            InvalidArgumentError: the TTL is not finite, under a millisecond or over a hundred years;
                or the cache has entries that were put under another ``eviction``, number of shards or
                kind of bound.
            UnsupportedTypeError: the value, or one inside it, is of a type that is not carried.
            ValueTooLargeError: the encoded value is over ``max_value_bytes``, or the entry over ``max_bytes``.
            StoreUnavailableError: the server is gone (not with ``on_error="miss"``), or out of memory.

        """
        await self._run(self._component.put(key, value, ttl, tags=tags))

    async def put_many(self, mapping: Mapping[str, Any], ttl: float | None = None, *, tags: Iterable[str] = ()) -> None:
        """Store every value of ``mapping`` under its key, in one round trip, each as in ``put``.

        All are checked before any is sent. They are stored in chunks of 100, each chunk atomic.
        """
        await self._run(self._component.put_many(mapping, ttl, tags=tags))

    async def delete(self, key: str) -> bool:
        """Remove ``key``; whether there was one."""
        return await self._run(self._component.delete(key))

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Remove these keys in one round trip; how many of them there were."""
        return await self._run(self._component.delete_many(keys))

    async def contains(self, key: str) -> bool:
        """Whether there is an entry ``key``. No access is counted."""
        return await self._run(self._component.contains(key))

    # blocking only: __contains__ = contains

    async def touch(self, key: str, ttl: float | None = None) -> bool:
        """Let ``key`` expire ``ttl`` seconds from now (``default_ttl`` where None); whether there is one.

        No access is counted, and ``created_at`` stays.
        """
        return await self._run(self._component.touch(key, ttl))

    async def get_or_compute(
        self,
        key: str,
        compute: Callable[[], Any],
        ttl: float | None = None,
        *,
        tags: Iterable[str] = (),
        stale_ttl: float | None = None,
        lease_seconds: float = LEASE_SECONDS,
        early: float = 0.0,
        negative_ttl: float | None = None,
        error_ttl: float | None = None,
    ) -> Any:
        """Return the value of ``key``; where there is none, that of ``compute()``, stored for ``ttl`` seconds.

        Of all processes that miss at once, one computes and the others wait for its value. One
        that dies frees the others when its lease has run out, after ``lease_seconds``; it should
        be longer than ``compute`` takes. An error of ``compute`` is raised, nothing is stored, and
        the next one that waits computes in its turn. None is a value like any other.

        A value is not stored if the key was put or deleted, the cache cleared or (where it has
        tags) any tag invalidated while it was computed; the caller gets it all the same.

        Args:
            key: of the entry.
            compute: a function without arguments; where the API is awaited it may be a coroutine function.
            ttl: seconds; None for ``default_ttl``.
            tags: of the entry, as in ``put``.
            stale_ttl: seconds that the entry lives longer than ``ttl`` (for plain reads, too). In this
                time one caller computes it anew, the others get the old value at once; the one gets it
                as well if its ``compute`` raises an Exception.
            lease_seconds: how long one may compute before another does.
            early: above 0, the value is computed anew before it expires: with a probability that rises
                as its time runs out, the sooner the longer it took to compute (XFetch, Vattani et al.,
                "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015; 1.0 is its optimum).
            negative_ttl: seconds for which a None is stored instead of ``ttl``.
            error_ttl: seconds for which an Exception of ``compute`` is told all that ask, who get a
                ComputeFailedError; the one whose ``compute`` raised gets its own error. None: it is not kept.

        """
        return await self._run(
            self._component.get_or_compute(
                key,
                compute,
                ttl,
                tags=tags,
                stale_ttl=stale_ttl,
                lease_seconds=lease_seconds,
                early=early,
                negative_ttl=negative_ttl,
                error_ttl=error_ttl,
            )
        )

    async def invalidate_tag(self, tag: str) -> int:
        """Remove every entry that was put with ``tag``; how many live ones there were.

        What ``get_or_compute`` is computing meanwhile, with any tags, is not stored.
        """
        return await self._run(self._component.invalidate_tag(tag))

    async def entry(self, key: str) -> CacheEntry | None:
        """Return what the cache knows of ``key``, or None. No access is counted."""
        return await self._run(self._component.entry(key))

    async def clear(self) -> int:
        """Remove every entry of the namespace; how many live ones there were. The statistics stay.

        Raises:
            InvalidArgumentError: the cache has another number of shards: it is to be cleared by one that knows them.

        """
        return await self._run(self._component.clear())

    async def purge_expired(self) -> int:
        """Remove the entries whose time has passed; how many, those counted that Redis expired by itself.

        Rows of entries that Redis evicted by itself are removed as well, and counted in
        ``stats()["healed"]``; this walks the whole index, a few hundred entries a call.
        """
        return await self._run(self._component.purge_expired())

    async def flush(self) -> None:
        """Deliver the accesses noted so far, those of all caches of this process and namespace."""
        await self._run(self._component.flush())

    async def stats(self) -> CacheStats:
        """Return the statistics of all processes of the namespace; this process's are always included.

        ``size`` (live entries), ``max_size``, ``hits``, ``misses``, ``hit_rate`` (0 to 100),
        ``default_ttl`` (seconds), ``evictions`` (to make component), ``expirations``, ``undecodable``
        (entries whose bytes did not decode), ``healed`` (entries whose value Redis evicted by
        itself) and ``bytes`` (of keys and values; 0 without ``max_bytes``). Other processes' hits
        and misses follow within their ``flush_interval``.

        Of this process: ``near_size`` and ``near_listening`` with a near cache; ``answered_without_store``,
        ``owed`` and ``circuit`` ("closed" or "open") with ``on_error="miss"``.
        """
        return cast("CacheStats", await self._run(self._component.stats()))

    @property
    async def size(self) -> int:
        """Live entries."""
        return await self._run(self._component.size())

    @property
    async def hit_rate(self) -> float:
        """Hits of all requests of all processes, 0 to 100; 0.0 before any request."""
        return await self._run(self._component.hit_rate())

    async def keys(self) -> AsyncIterator[str]:
        """Yield the keys of live entries, some hundred a round trip.

        A key that is there all the time comes at least once; one that comes or goes meanwhile may come.
        """
        place: Place | None = Place()
        while place is not None:
            page = await self._run(self._component.page(place))
            for key in page.keys:
                yield key
            place = page.next

    def cached(
        self,
        ttl: float | None = None,
        key: KeyOf = None,
        *,
        tags: Iterable[str] = (),
        stale_ttl: float | None = None,
        lease_seconds: float = LEASE_SECONDS,
        early: float = 0.0,
        negative_ttl: float | None = None,
        error_ttl: float | None = None,
    ) -> Callable[[Callable[P, T | Awaitable[T]]], Callable[P, Awaitable[T]]]:
        """Return a decorator that caches a function's results, each as in ``get_or_compute``.

        For example::

            @cache.cached(ttl=60)
            async def report(day: str) -> dict: ...

        The entry's key is ``key(*args, **kwargs)`` where ``key`` is a function. Else it begins with
        ``key``, or the function's full name, and a digest of the arguments follows where there are
        any; they must be of types that the cache carries.
        """
        check_key(key)
        names = tag_names(tags)

        def decorate(function: Callable[P, T | Awaitable[T]]) -> Callable[P, Awaitable[T]]:
            @wraps(function)
            async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
                result: T = await self.get_or_compute(
                    result_key(function, key, args, kwargs),
                    partial(function, *args, **kwargs),
                    ttl,
                    tags=names,
                    stale_ttl=stale_ttl,
                    lease_seconds=lease_seconds,
                    early=early,
                    negative_ttl=negative_ttl,
                    error_ttl=error_ttl,
                )
                return result

            return wrapper

        return decorate
