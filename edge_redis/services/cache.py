"""EdgeCache, blocking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from edge_redis.cache.buffer import AccessBuffer
from edge_redis.cache.limits import Settings, tag_names
from edge_redis.cache.naming import KeyOf, check_key, result_key
from edge_redis.cache.operations import LEASE_SECONDS, Cache
from edge_redis.core import codec
from edge_redis.runtime.lifetime import new_mutex
from edge_redis.runtime.shared import Shared
from edge_redis.services.base import Service
from edge_redis.services.bind import blocking, blocking_property

if TYPE_CHECKING:
    from edge_redis.runtime.runner import BlockingClient

buffers: Final[Shared[AccessBuffer]] = Shared(lambda: AccessBuffer(new_mutex))
"""One buffer of accesses for all caches of this process, server and namespace, blocking and awaited."""

P = ParamSpec("P")
T = TypeVar("T")


class EdgeCache(Service[Cache]):
    """A cache that many processes share: values with a TTL, at most ``max_size`` of them.

    Reads cost the server a GET; the accesses are counted in the process and delivered every
    ``flush_every`` reads, every ``flush_interval`` seconds, before every ``put`` and whatever
    speaks of the counts, and on ``close``. ``flush_every=1`` counts in the step that reads.

    Args:
        client: a Redis client; it stays open when the cache is closed.
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
        client: BlockingClient,
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

    get = blocking(Cache.get)
    get_many = blocking(Cache.get_many)
    put = blocking(Cache.put)
    put_many = blocking(Cache.put_many)
    delete = blocking(Cache.delete)
    delete_many = blocking(Cache.delete_many)
    contains = blocking(Cache.contains)
    __contains__ = contains
    touch = blocking(Cache.touch)
    get_or_compute = blocking(Cache.get_or_compute)
    invalidate_tag = blocking(Cache.invalidate_tag)
    entry = blocking(Cache.entry)
    clear = blocking(Cache.clear)
    purge_expired = blocking(Cache.purge_expired)
    flush = blocking(Cache.flush)
    stats = blocking(Cache.stats)
    size = blocking_property(Cache.size)
    hit_rate = blocking_property(Cache.hit_rate)
    _page = blocking(Cache.page)

    def keys(self) -> Iterator[str]:
        """Yield the keys of live entries, some hundred a round trip.

        A key that is there all the time comes at least once; one that comes or goes meanwhile may come.
        """
        page = self._page(0)
        while True:
            yield from page.keys
            if page.cursor == 0:
                return
            page = self._page(page.cursor)

    def cached(
        self,
        ttl: float | None = None,
        key: KeyOf = None,
        *,
        tags: Iterable[str] = (),
        stale_ttl: float | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Return a decorator that caches a function's results, each as in ``get_or_compute``.

        For example::

            @cache.cached(ttl=60)
            def report(day: str) -> dict: ...

        The entry's key is ``key(*args, **kwargs)`` where ``key`` is a function. Else it begins with
        ``key``, or the function's full name, and a digest of the arguments follows where there are
        any; they must be of types that the cache carries.
        """
        check_key(key)
        names = tag_names(tags)

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            @wraps(function)
            def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
                result: T = self.get_or_compute(
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
