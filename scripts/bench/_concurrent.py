"""Many tasks of one event loop at once: reads of a cache and updates of scopes, beside other clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, cast

import redis.asyncio
from redis.utils import HIREDIS_AVAILABLE

from _alternation import KEYS, Measurement, in_tasks, in_turns, times_faster, zipf
from _cache_shared import awaited_readers, plain
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


def reads(server: EmbeddedServer) -> Iterator[Measurement]:
    """Measure cache reads of 100 tasks at once."""
    loop = asyncio.new_event_loop()
    client = cast("redis.asyncio.Redis", aio.connect(server.url))
    raw = redis.asyncio.Redis.from_url(server.url, max_connections=2 * TASKS)
    with server.client() as filler:
        filler.mset({plain(str(number)): codec.encode(number) for number in range(KEYS)})
    try:
        with awaited_readers(loop, server, client, raw) as readers:
            ours, *others = in_turns([in_tasks(loop, read, TASKS) for read in readers.values()], zipf, _READS, _TURNS)
            for name, theirs, bar in zip(list(readers)[1:], others, (_READ_BAR, 4.0, 4.0), strict=True):
                yield times_faster(f"{TASKS} tasks, cache reads : {name}", ours, theirs, bar)
            errors = loop.run_until_complete(count_errors(readers["EdgeCache.get"]))
            yield Measurement(f"{MANY_TASKS:,} tasks, cache reads that fail", [errors], [], 0, "errors")
    finally:
        loop.close()


async def count_errors(read: Callable[[str], Awaitable[object]]) -> int:
    """Count the errors of many reads that begin at once."""
    found = await asyncio.gather(*(read(name) for name in zipf(MANY_TASKS)), return_exceptions=True)
    return sum(isinstance(each, BaseException) for each in found)


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
        ours, theirs = in_turns([in_tasks(loop, call, TASKS) for call in (update, append)], range, _UPDATES, _TURNS)
        yield times_faster(f"{TASKS} tasks, update_local of {TASKS} scopes : XADD", ours, theirs, 0.9)
    finally:
        loop.run_until_complete(close())
        loop.close()
