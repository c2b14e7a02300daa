"""EdgeCache, blocking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from edge_redis._cache.api import LEASE_SECONDS, Cache, Place
from edge_redis._cache.config import NearCache, Settings, near_settings, tag_names
from edge_redis._cache.function_keys import KeyOf, check_key, result_key
from edge_redis._cache.near_entry import NOTHING
from edge_redis._core import codec
from edge_redis._io.listener import ThreadListener
from edge_redis._services.base import Service
from edge_redis._services.bind import blocking, blocking_property, described_by
from edge_redis._services.cache_room import cache_room, default_shards

if TYPE_CHECKING:
    from edge_redis._io.runner import BlockingClient

P = ParamSpec("P")
T = TypeVar("T")


class EdgeCache(Service[Cache]):
    """A cache that many processes share: values with a TTL, at most ``max_size`` of them.

    Reads cost the server a GET; the accesses are counted in the process and delivered every
    ``flush_every`` reads, every ``flush_interval`` seconds, before every ``put`` and whatever
    speaks of the counts, and on ``close``. ``flush_every=1`` counts in the step that reads. With
    ``near_cache`` what was read is at hand, and costs the server nothing, until somebody writes it.

    Args:
        client: a Redis client; it stays open when the cache is closed.
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
        client: BlockingClient,
        max_size: int = 1000,
        default_ttl: float = 300.0,
        *,
        namespace: str = "default",
        eviction: str = "least_accessed",
        flush_every: int = 4096,
        flush_interval: float = 0.2,
        max_value_bytes: int = codec.MAX_VALUE_BYTES,
        max_bytes: int | None = None,
        ttl_jitter: float = 0.0,
        near_cache: NearCache | Mapping[str, Any] | bool = False,
        shards: int | None = None,
        on_error: str = "raise",
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
        room = cache_room(client, namespace, settings)
        self._near = room.near
        super().__init__(
            client, room, None if room.near is None else ThreadListener(client, room.conversation, room.near)
        )

    @described_by(Cache.get)
    def get(self, key: str, default: Any = None) -> Any:
        near = self._near
        if near is not None:
            value = near.held(key)
            if value is not NOTHING:
                return value
        return self._get(key, default)

    _get = blocking(Cache.get)
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
        place: Place | None = Place()
        while place is not None:
            page = self._page(place)
            yield from page.keys
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
                    early=early,
                    negative_ttl=negative_ttl,
                    error_ttl=error_ttl,
                )
                return result

            return wrapper

        return decorate
