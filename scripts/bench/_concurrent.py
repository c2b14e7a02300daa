"""Many tasks of one event loop at once: reads of a cache and updates of scopes, beside other clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, cast

import aiocache
import cashews
import redis.asyncio
from redis.utils import HIREDIS_AVAILABLE

from _alternation import KEYS, Measurement, Side, in_turns, zipf
from _cache_shared import Codec, close_awaited, fill_awaited, plain
from edge_redis import aio
from edge_redis._core import codec
from edge_redis.cloudstores import encode_data
from edge_redis.embedded import EmbeddedServer
from sync import DATA

TASKS: Final = 100
MANY_TASKS: Final = 10_000
_READS: Final = 4000
_UPDATES: Final = 500
_TURNS: Final = 9
_READ_BAR: Final = 3.0 if HIREDIS_AVAILABLE else 1.8


def in_tasks(loop: asyncio.AbstractEventLoop, call: Callable[[Any], Awaitable[object]], tasks: int = TASKS) -> Side:
    """Return the side that awaits a coroutine function in so many tasks at once."""

    async def work(items: Sequence[Any]) -> None:
        for item in items:
            await call(item)

    async def turn(items: Sequence[Any]) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(work(items[task::tasks]) for task in range(tasks)))
        return time.perf_counter() - began

    return lambda items: loop.run_until_complete(turn(items))


def as_rate(name: str, ours: Sequence[float], theirs: Sequence[float], bar: float | None) -> Measurement:
    """Return the measurement of calls a second."""
    return Measurement(name, [1e6 / time for time in ours], [1e6 / time for time in theirs], bar, "1/s", is_rate=True)


def reads(server: EmbeddedServer) -> Iterator[Measurement]:
    """Measure cache reads of 100 tasks at once."""
    loop = asyncio.new_event_loop()
    client = cast("redis.asyncio.Redis", aio.connect(server.url))
    raw = redis.asyncio.Redis.from_url(server.url, max_connections=2 * TASKS)
    other = aiocache.Cache(
        aiocache.Cache.REDIS, endpoint=server.host, port=server.port, serializer=Codec(), namespace="aiocache"
    )
    peer = cashews.Cache()
    peer.setup(server.url)
    cache = loop.run_until_complete(fill_awaited(client, other, peer))

    async def get(name: str) -> object:
        return codec.decode(cast("bytes", await raw.get(plain(name))))

    try:
        with server.client() as filler:
            filler.mset({plain(str(number)): codec.encode(number) for number in range(KEYS)})
        sides = [in_tasks(loop, call) for call in (cache.get, get, peer.get, other.get)]
        ours, theirs, with_cashews, with_aiocache = in_turns(sides, zipf, _READS, _TURNS)
        yield as_rate(f"{TASKS} tasks, cache reads : redis.asyncio GET and decode", ours, theirs, _READ_BAR)
        yield as_rate(f"{TASKS} tasks, cache reads : cashews", ours, with_cashews, 4.0)
        yield as_rate(f"{TASKS} tasks, cache reads : aiocache", ours, with_aiocache, 4.0)
        yield loop.run_until_complete(_errors_of_many(cache))
    finally:
        loop.run_until_complete(close_awaited(cache, client, other, peer))
        loop.run_until_complete(raw.aclose())
        loop.close()


async def _errors_of_many(cache: aio.EdgeCache) -> Measurement:
    """Count the errors of many reads that begin at once."""
    found = await asyncio.gather(*(cache.get(name) for name in zipf(MANY_TASKS)), return_exceptions=True)
    errors = sum(isinstance(each, BaseException) for each in found)
    return Measurement(f"{MANY_TASKS:,} tasks, cache reads that fail", [errors], [], 0, "errors")


def updates(server: EmbeddedServer) -> Iterator[Measurement]:
    """Measure updates of 100 scopes, each in a task of its own."""
    loop = asyncio.new_event_loop()
    client = cast("redis.asyncio.Redis", aio.connect(server.url))
    raw = redis.asyncio.Redis.from_url(server.url, max_connections=2 * TASKS)
    fields = {"data": encode_data(DATA), "checksum": "0" * 64, "clock": "0" * 18, "origin": "o" * 16}
    scopes = [aio.EdgeSynchronizer(client, scope=f"scope-{number}", namespace="tasks") for number in range(TASKS)]

    async def update(number: int) -> None:
        await scopes[number % TASKS].update_local(DATA)

    async def append(number: int) -> None:
        await raw.xadd(f"raw:{number % TASKS}", cast("Any", fields), maxlen=100)

    async def close() -> None:
        for each in scopes:
            await each.close()
        await client.aclose()
        await raw.aclose()

    try:
        ours, theirs = in_turns([in_tasks(loop, update), in_tasks(loop, append)], range, _UPDATES, _TURNS)
        yield as_rate(f"{TASKS} tasks, update_local of {TASKS} scopes : XADD", ours, theirs, 0.9)
    finally:
        loop.run_until_complete(close())
        loop.close()
