"""EdgeCache, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from edge_redis.cache.limits import Settings, tag_names
from edge_redis.cache.naming import KeyOf, check_key, result_key
from edge_redis.cache.operations import LEASE_SECONDS, Cache
from edge_redis.core import codec
from edge_redis.services.base import AsyncService
from edge_redis.services.bind import awaited, awaited_property
from edge_redis.services.cache import buffers

if TYPE_CHECKING:
    from edge_redis.runtime.runner import AsyncClient

P = ParamSpec("P")
T = TypeVar("T")


class EdgeCache(AsyncService[Cache]):
    """A cache that many processes share: values with a TTL, at most ``max_size`` of them.

    Reads cost the server a GET; the accesses are counted in the process and delivered every
    ``flush_every`` reads, every ``flush_interval`` seconds, before every ``put`` and whatever
    speaks of the counts, and on ``close``. ``flush_every=1`` counts in the step that reads.

    Args:
        client: an asyncio Redis client; it stays open when the cache is closed.
        max_size: live entries, at most.
        default_ttl: seconds, for a put that names none.
        namespace: caches of one namespace on one server are one cache.
        eviction: who goes when the cache is full: "least_accessed", or "lru" (not read for longest).
            All caches of a namespace name the same; an empty one can be given another.
        flush_every: reads until their counts are delivered; a process that dies loses no more.
        flush_interval: seconds until they are delivered.
        max_value_bytes: the largest encoded value.

    """

    def __init__(
        self,
        client: AsyncClient,
        max_size: int = 1000,
        default_ttl: float = 300.0,
        *,
        namespace: str = "default",
        eviction: str = "least_accessed",
        flush_every: int = 1024,
        flush_interval: float = 0.2,
        max_value_bytes: int = codec.MAX_VALUE_BYTES,
    ) -> None:
        settings = Settings(
            max_size=max_size,
            default_ttl=default_ttl,
            eviction=eviction,
            flush_every=flush_every,
            flush_interval=flush_interval,
            max_value_bytes=max_value_bytes,
        )
        super().__init__(client, Cache(namespace, settings))
        self._room.buffer = buffers.get(client, namespace)

    get = awaited(Cache.get)
    get_many = awaited(Cache.get_many)
    put = awaited(Cache.put)
    put_many = awaited(Cache.put_many)
    delete = awaited(Cache.delete)
    delete_many = awaited(Cache.delete_many)
    contains = awaited(Cache.contains)
    touch = awaited(Cache.touch)
    get_or_compute = awaited(Cache.get_or_compute)
    invalidate_tag = awaited(Cache.invalidate_tag)
    entry = awaited(Cache.entry)
    clear = awaited(Cache.clear)
    purge_expired = awaited(Cache.purge_expired)
    flush = awaited(Cache.flush)
    stats = awaited(Cache.stats)
    size = awaited_property(Cache.size)
    hit_rate = awaited_property(Cache.hit_rate)
    _page = awaited(Cache.page)

    async def keys(self) -> AsyncIterator[str]:
        """Yield the keys of live entries, some hundred a round trip.

        A key that is there all the time comes at least once; one that comes or goes meanwhile may come.
        """
        page = await self._page(0)
        while True:
            for key in page.keys:
                yield key
            if page.cursor == 0:
                return
            page = await self._page(page.cursor)

    def cached(
        self,
        ttl: float | None = None,
        key: KeyOf = None,
        *,
        tags: Iterable[str] = (),
        stale_ttl: float | None = None,
        lease_seconds: float = LEASE_SECONDS,
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
                )
                return result

            return wrapper

        return decorate
