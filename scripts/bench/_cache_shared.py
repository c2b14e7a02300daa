"""Reads and writes that reach the server, against redis-py's own commands and against the peers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any, cast

import aiocache
import cashews
import redis
import redis.asyncio
from aiocache.serializers import BaseSerializer
from dogpile.cache import make_region

from _alternation import BODY, KEYS, TURNS, VALUE, Measurement, Side, awaited, blocking, in_turns, versus, zipf
from _cache_server import used
from edge_redis import EdgeCache, aio
from edge_redis._cache.config import EVICTIONS
from edge_redis._core import codec
from edge_redis.embedded import EmbeddedServer

_BATCH = 100
PUT_BAR = 1.35
_PUT_BARS = {"adaptive": 1.6}


def plain(name: str) -> str:
    """Return the key of a value that redis-py alone knows."""
    return f"plain:{name}"


def reads(server: EmbeddedServer) -> Iterator[Measurement]:
    """Measure a hit of the shared cache."""
    with server.client() as client:
        client.flushall()
        client.mset({plain(str(n)): BODY for n in range(KEYS)})
        region = make_region().configure("dogpile.cache.redis", arguments={"host": server.host, "port": server.port})
        for number in range(KEYS):
            region.set(str(number), VALUE)
        with EdgeCache(client, KEYS) as cache, EdgeCache(client, KEYS, namespace="exact", flush_every=1) as exact:
            for each in (cache, exact):
                each.put_many({str(n): VALUE for n in range(KEYS)}, 3600)
            sides = [cache.get, lambda name: codec.decode(client.get(plain(name))), exact.get, region.get]
            ours, get, exactly, dogpile = in_turns([blocking(side) for side in sides], zipf)
            yield Measurement("shared hit : redis-py GET and decode", ours, get, 0.90)
            yield Measurement("shared hit, exact mode : redis-py GET and decode", exactly, get, None)
            yield Measurement("shared hit : dogpile.cache", ours, dogpile, None)
            yield from _many(client, cache)
        yield _put_many(client)
    yield from _awaited_reads(server)


def _many(client: redis.Redis, cache: EdgeCache) -> Iterator[Measurement]:
    sides = (
        blocking(cache.get_many),
        blocking(
            lambda names: [codec.decode(cast("bytes", raw)) for raw in client.mget([plain(name) for name in names])]
        ),
    )
    what = f"get_many of {_BATCH}, %s : MGET and decode"
    yield versus(what % "by Zipf's law", *sides, 1.2, items=lambda calls: [_popular() for _ in range(calls)], calls=20)
    yield versus(what % "any", *sides, None, items=lambda calls: [_names() for _ in range(calls)], calls=20)
    yield versus(what % "the same", *sides, None, items=lambda calls: [_names()] * calls, calls=20)


def _names() -> list[str]:
    return [str(number) for number in random.sample(range(KEYS), _BATCH)]


def _popular() -> list[str]:
    """Return distinct keys, drawn by Zipf's law."""
    return list(dict.fromkeys(zipf(10 * _BATCH)))[:_BATCH]


def _put_many(client: redis.Redis) -> Measurement:
    def pipelined(names: Sequence[str]) -> None:
        with client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.set(plain(name), codec.encode(VALUE), ex=300)
            pipeline.execute()

    with EdgeCache(client, 2 * KEYS, namespace="put-many") as cache:
        return versus(
            f"put_many of {_BATCH} : pipelined SET and encode",
            blocking(lambda names: cache.put_many(dict.fromkeys(names, VALUE))),
            blocking(pipelined),
            1.3,
            items=lambda calls: [_names() for _ in range(calls)],
            calls=20,
        )


class Codec(BaseSerializer):  # type: ignore[misc]
    """The codec of this package, for aiocache."""

    DEFAULT_ENCODING = None

    def dumps(self, value: object) -> bytes:
        return codec.encode(value)

    def loads(self, value: bytes | None) -> Any:
        return None if value is None else codec.decode(value)


def _awaited_reads(server: EmbeddedServer) -> Iterator[Measurement]:
    loop = asyncio.new_event_loop()
    client = redis.asyncio.Redis.from_url(server.url)
    try:
        with awaited_readers(loop, server, client, client) as readers:
            ours, *others = in_turns([awaited(loop, read) for read in readers.values()], zipf, calls=100)
        for name, theirs, bar in zip(list(readers)[1:], others, (1.05, None, None), strict=True):
            yield Measurement(f"shared hit awaited : {name}", ours, theirs, bar)
    finally:
        loop.close()


@contextmanager
def awaited_readers(
    loop: asyncio.AbstractEventLoop,
    server: EmbeddedServer,
    client: redis.asyncio.Redis,
    raw: redis.asyncio.Redis,
) -> Iterator[dict[str, Callable[[str], Awaitable[object]]]]:
    """Yield what reads a value: a cache of ``client`` first, then ``raw`` alone, then other caches; close all of them.

    The caches are filled. What ``raw`` reads is set by the caller.
    """
    other = aiocache.Cache(
        aiocache.Cache.REDIS, endpoint=server.host, port=server.port, serializer=Codec(), namespace="aiocache"
    )
    peer = cashews.Cache()
    peer.setup(server.url)
    cache = loop.run_until_complete(_fill_awaited(client, other, peer))

    async def get(name: str) -> object:
        return codec.decode(cast("bytes", await raw.get(plain(name))))

    try:
        yield {
            "EdgeCache.get": cache.get,
            "redis.asyncio GET and decode": get,
            "cashews": peer.get,
            "aiocache": other.get,
        }
    finally:
        for close in (cache.close, other.close, peer.close, client.aclose, raw.aclose):
            loop.run_until_complete(close())


async def _fill_awaited(client: redis.asyncio.Redis, other: aiocache.BaseCache, peer: cashews.Cache) -> aio.EdgeCache:
    """Return a cache; it and its peers are filled."""
    cache = aio.EdgeCache(client, KEYS)
    values = {str(n): VALUE for n in range(KEYS)}
    await cache.put_many(values, 3600)
    for name, value in values.items():
        await peer.set(name, value, expire=3600)
    await other.multi_set(list(values.items()))
    return cache


def writes(server: EmbeddedServer, sizes: Sequence[int]) -> Iterator[Measurement]:
    """Measure putting a new entry into a full cache: under each policy, and at several sizes."""
    with server.client() as client:
        yield from puts(client)
        yield from _sizes(client, sizes)


def puts(client: redis.Redis) -> Iterator[Measurement]:
    """Measure putting a new entry into a full cache under each policy."""
    for eviction in EVICTIONS:
        client.flushall()
        with EdgeCache(client, KEYS, eviction=eviction) as cache:
            _fill(cache, KEYS)
            name = f"put at max_size {KEYS:,}, {eviction} : SET EX and encode"
            yield versus(name, _put(cache), _set(client), _PUT_BARS.get(eviction, PUT_BAR), _times)


def put_cpu(client: redis.Redis) -> Iterator[Measurement]:
    """Measure the server's own CPU time for a put into a full cache."""
    client.flushall()
    with EdgeCache(client, KEYS) as cache:
        _fill(cache, KEYS)
        ours, theirs = in_turns([used_by(client, _put(cache)), used_by(client, _set(client))], _times, 2000, turns=9)
    yield Measurement("server CPU of a put at max_size : SET EX", ours, theirs, 2.0)


def used_by(client: redis.Redis, side: Side) -> Side:
    """Return the side whose seconds are the server's CPU time of what ``side`` does."""

    def turn(items: Sequence[Any]) -> float:
        before = used(client)
        side(items)
        return used(client) - before

    return turn


def computes(client: redis.Redis) -> Iterator[Measurement]:
    """Measure get_or_compute of a key that there is not."""
    client.flushall()
    numbers = count()

    def get_and_set(number: int) -> None:
        if client.get(f"computed:{number}:{next(numbers)}") is None:
            client.set(f"computed:{number}", codec.encode(VALUE), ex=300)

    with EdgeCache(client, 100_000) as cache:
        compute = blocking(lambda _: cache.get_or_compute(f"key:{next(numbers):016}", lambda: VALUE))
        yield versus("get_or_compute, miss : GET, then SET EX", compute, blocking(get_and_set), 2.0, _times)


def _sizes(client: redis.Redis, sizes: Sequence[int]) -> Iterator[Measurement]:
    client.flushall()
    with ExitStack() as stack:
        caches = [stack.enter_context(EdgeCache(client, size, namespace=f"of-{size}")) for size in sizes]
        for cache, size in zip(caches, sizes, strict=True):
            _fill(cache, size)
        *found, plainly = in_turns([*map(_put, caches), _set(client)], _times, turns=2 * TURNS)
    for size, times in zip(sizes, found, strict=True):
        yield Measurement(f"put at max_size {size:,} : SET EX and encode", times, plainly, PUT_BAR)
    for size, times in list(zip(sizes, found, strict=True))[1:]:
        yield Measurement(f"put at max_size {size:,} : at {sizes[0]:,}", times, found[0], 1.3)


def _fill(cache: EdgeCache, size: int) -> None:
    began = time.monotonic()
    for start in range(0, size, 10_000):
        cache.put_many({f"key:{n:016}": VALUE for n in range(start, min(size, start + 10_000))}, 36_000)
    if time.monotonic() - began > _LONG:
        print(f"(filled {size:,} entries in {time.monotonic() - began:.0f} s)")


_LONG = 10.0


def _times(calls: int) -> range:
    return range(calls)


def _put(cache: EdgeCache) -> Callable[[Sequence[int]], float]:
    numbers = count(10_000_000)
    return blocking(lambda _: cache.put(f"key:{next(numbers):016}", VALUE))


def _set(client: redis.Redis) -> Callable[[Sequence[int]], float]:
    return blocking(lambda number: client.set(f"plain:{number % KEYS:014}", codec.encode(VALUE), ex=300))
