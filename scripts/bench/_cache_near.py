"""A hit of the near cache, against caches in the process and caches of clients that hear of writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import cashews
import redis
import redis.asyncio
import theine
from cachetools import TTLCache
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

from _alternation import KEYS, VALUE, Measurement, awaited, blocking, in_turns, times_faster, zipf
from edge_redis import EdgeCache, NearCache, aio
from edge_redis.embedded import EmbeddedServer

_CALLS: Final = 10_000
_SECONDS: Final = 5.0
NEAR: Final = NearCache(size=2 * KEYS, ttl=3600)
NAMES: Final = [str(number) for number in range(KEYS)]


def near_hits_awaited(server: EmbeddedServer) -> Iterator[Measurement]:
    """Measure an awaited hit of the near cache beside the least that an awaited cache in a process does."""
    loop, values = asyncio.new_event_loop(), dict.fromkeys(NAMES, (time.monotonic() + 3600, VALUE))

    async def plain(name: str) -> object:
        expires, value = values[name]
        return value if time.monotonic() < expires else None

    own = redis.asyncio.Redis.from_url(server.url)
    cache = loop.run_until_complete(_opened(own))
    try:
        loop.run_until_complete(_fill_awaited(cache))
        ours, theirs = in_turns([awaited(loop, cache.get), awaited(loop, plain)], zipf, calls=_CALLS)
        yield Measurement("near hit awaited : a coroutine function that reads a dict and the clock", ours, theirs, 1.8)
    finally:
        loop.run_until_complete(_closed(cache.close, own.aclose))
        loop.close()


def near_hits(server: EmbeddedServer) -> Iterator[Measurement]:
    """Measure a hit of the near cache, blocking and awaited."""
    with server.client() as client:
        client.flushall()
        for what, value in (("dict", VALUE), ("str", "x" * 60)):
            yield from _in_the_process(client, what, value)
        yield from _redis_py(server, client)
    yield from asyncio_hits(server)


def _in_the_process(client: redis.Redis, what: str, value: object) -> Iterator[Measurement]:
    lock, tiny = Lock(), theine.Cache(2 * KEYS)
    ttl: TTLCache[str, object] = TTLCache(2 * KEYS, 3600)
    for name in NAMES:
        ttl[name] = value
        tiny.set(name, value)

    def locked(name: str) -> object:
        with lock:
            return ttl[name]

    with EdgeCache(client, KEYS, namespace=f"near-{what}", near_cache=NEAR) as cache:
        fill(cache, value)
        ours, theirs, others = in_turns([blocking(cache.get), blocking(locked), blocking(tiny.get)], zipf, calls=_CALLS)
    yield Measurement(f"near hit, {what} : cachetools.TTLCache under a lock", ours, theirs, 1.0)
    yield Measurement(f"near hit, {what} : theine.Cache", ours, others, None)


def fill(cache: EdgeCache, value: object) -> None:
    """Put values and have all of them at hand."""
    cache.put_many(dict.fromkeys(NAMES, value), 3600)
    gather(cache)


def gather(cache: EdgeCache) -> None:
    """Have all that is in the cache at hand."""
    until = time.monotonic() + _SECONDS
    while cache.stats()["near_size"] < KEYS:
        if time.monotonic() > until:
            raise RuntimeError("the near cache does not fill")
        cache.get_many(NAMES)


def _redis_py(server: EmbeddedServer, client: redis.Redis) -> Iterator[Measurement]:
    with _accepted(client) as words, server.client(protocol=3, cache_config=CacheConfig()) as tracking:
        client.mset(dict.fromkeys(NAMES, b"x" * 60))
        for name in NAMES:
            tracking.get(name)
        with EdgeCache(client, KEYS, namespace="near-csc", near_cache=NEAR) as cache:
            fill(cache, VALUE)
            before = _gets(client)
            ours, theirs = in_turns([blocking(cache.get), blocking(tracking.get)], zipf, calls=2000, turns=11)
            if _gets(client) != before:
                raise RuntimeError("what should have come from the client's own cache was asked of the server")
        yield times_faster(f"near hit, times as fast as redis-py's client-side caching{words}", ours, theirs, 20)


def _gets(client: redis.Redis) -> int:
    return int(client.info("commandstats")["cmdstat_get"]["calls"])


@contextmanager
def _accepted(client: redis.Redis) -> Iterator[str]:
    """Have redis-py cache on this server: its check of name and version is passed over where it refuses.

    The rest is its own: tracking by the server, invalidation messages, its cache and its connection.
    """
    about = client.info("server")
    name = str(about.get("server_name", "redis"))
    version = str(about.get("valkey_version", about["redis_version"]))
    kind: Any = CacheProxyConnection
    before = kind.DEFAULT_SERVER_NAME, kind.MIN_ALLOWED_VERSION
    refused = name != "redis" or tuple(map(int, version.split("."))) < (7, 4, 0)
    if refused:
        kind.DEFAULT_SERVER_NAME, kind.MIN_ALLOWED_VERSION = name, "0.0.0"
    try:
        yield " (*)" if refused else ""
    finally:
        kind.DEFAULT_SERVER_NAME, kind.MIN_ALLOWED_VERSION = before


def asyncio_hits(server: EmbeddedServer) -> Iterator[Measurement]:
    """Measure an awaited hit of the near cache."""
    loop = asyncio.new_event_loop()
    client = redis.asyncio.Redis.from_url(server.url)
    peer = cashews.Cache()
    peer.setup(server.url, client_side=True)
    cache = loop.run_until_complete(_opened(client))
    try:
        loop.run_until_complete(_filled(cache, peer))
        with server.client() as other, EdgeCache(other, KEYS, namespace="near-blocking", near_cache=NEAR) as threaded:
            fill(threaded, VALUE)
            sides = [awaited(loop, cache.get), awaited(loop, peer.get), blocking(threaded.get)]
            ours, theirs, blocked = in_turns(sides, zipf, calls=2000)
        yield times_faster("near hit awaited, times as fast as cashews' client side", ours, theirs, 10)
        yield times_faster("near hit blocking, times as fast as cashews' client side", blocked, theirs, None)
    finally:
        loop.run_until_complete(_closed(cache.close, peer.close, client.aclose))
        loop.close()


async def _opened(client: redis.asyncio.Redis) -> aio.EdgeCache:
    return aio.EdgeCache(client, KEYS, namespace="near-aio", near_cache=NEAR)


async def _fill_awaited(cache: aio.EdgeCache) -> None:
    await cache.put_many(dict.fromkeys(NAMES, VALUE), 3600)
    async with asyncio.timeout(_SECONDS):
        while (await cache.stats())["near_size"] < KEYS:
            await cache.get_many(NAMES)
            await asyncio.sleep(0.01)


async def _filled(cache: aio.EdgeCache, peer: cashews.Cache) -> None:
    await _fill_awaited(cache)
    for name in NAMES:
        await peer.set(name, VALUE, expire=3600)
    for name in NAMES:
        await peer.get(name)


async def _closed(*closes: Callable[[], Awaitable[object]]) -> None:
    for close in closes:
        await close()
