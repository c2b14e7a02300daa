"""EdgeCache, blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_redis.cache.buffer import AccessBuffer
from edge_redis.cache.limits import Settings
from edge_redis.cache.operations import Cache
from edge_redis.core import codec
from edge_redis.runtime.lifetime import new_mutex
from edge_redis.runtime.shared import Shared
from edge_redis.services.base import Service
from edge_redis.services.bind import blocking, blocking_property

if TYPE_CHECKING:
    from edge_redis.runtime.runner import BlockingClient

buffers: Final[Shared[AccessBuffer]] = Shared(lambda: AccessBuffer(new_mutex))
"""One buffer of accesses for all caches of this process, server and namespace, blocking and awaited."""


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
        eviction: who goes when the cache is full: "least_accessed".
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
    entry = blocking(Cache.entry)
    clear = blocking(Cache.clear)
    purge_expired = blocking(Cache.purge_expired)
    flush = blocking(Cache.flush)
    stats = blocking(Cache.stats)
    size = blocking_property(Cache.size)
    hit_rate = blocking_property(Cache.hit_rate)
