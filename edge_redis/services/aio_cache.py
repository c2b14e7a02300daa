"""EdgeCache, awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_redis.cache.limits import Settings
from edge_redis.cache.operations import Cache
from edge_redis.core import codec
from edge_redis.services.base import AsyncService
from edge_redis.services.bind import awaited, awaited_property
from edge_redis.services.cache import buffers

if TYPE_CHECKING:
    from edge_redis.runtime.runner import AsyncClient


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
        eviction: who goes when the cache is full: "least_accessed".
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
    entry = awaited(Cache.entry)
    clear = awaited(Cache.clear)
    purge_expired = awaited(Cache.purge_expired)
    flush = awaited(Cache.flush)
    stats = awaited(Cache.stats)
    size = awaited_property(Cache.size)
    hit_rate = awaited_property(Cache.hit_rate)
