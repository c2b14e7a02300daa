#!/usr/bin/env python3
"""What the services do a second for many asyncio tasks, beside redis.asyncio alone and beside other caches.

    scripts/bench/run asyncio_sharing [--tasks N] [--turns N]

All sides of a ratio take turns, and a ratio is the median of the turns' own ratios, so that what else the
machine does falls on all alike. hiredis is used by all sides where it is installed.

Needs ``edge-redis[embedded,bench]``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import aiocache
import cashews
import redis.asyncio
from redis.utils import HIREDIS_AVAILABLE

from _alternation import KEYS, Side, awaited, in_turns, ratio, zipf
from _cache_shared import Codec, plain
from edge_redis import aio, embedded
from edge_redis._core import codec

TASKS = 100
CALLS = 2000
TURNS = 9
"""Of a side: so many turns of so many calls each."""

Call: TypeAlias = Callable[[Any], Awaitable[object]]


class Rates(NamedTuple):
    """Calls a second of each side, and ratios of the first side to the others."""

    rates: dict[str, float]
    ratios: dict[str, float]
    quartiles: dict[str, tuple[float, float]]


def by_tasks(loop: asyncio.AbstractEventLoop, call: Call, tasks: int) -> Side:
    """Return the side that lets so many tasks do the calls, each one after another."""

    async def work(items: Iterator[Any]) -> None:
        for item in items:
            await call(item)

    async def turn(items: Sequence[Any]) -> float:
        given = iter(items)
        began = time.perf_counter()
        await asyncio.gather(*(work(given) for _ in range(tasks)))
        return time.perf_counter() - began

    return lambda items: loop.run_until_complete(turn(items))


def compare(
    sides: dict[str, Side], calls: int = CALLS, turns: int = TURNS, items: Callable[[int], Sequence[Any]] = zipf
) -> Rates:
    """Let sides take turns; the first is compared with each of the others."""
    times = dict(zip(sides, in_turns(list(sides.values()), items, calls, turns), strict=True))
    ours, *others = times
    each = {name: [theirs / mine for theirs, mine in zip(times[name], times[ours], strict=True)] for name in others}
    return Rates(
        {name: 1e6 / statistics.median(found) for name, found in times.items()},
        {name: ratio(times[name], times[ours]) for name in others},
        {name: (statistics.quantiles(found)[0], statistics.quantiles(found)[2]) for name, found in each.items()},
    )


class Peers:
    """What is measured, filled, on one server and in one event loop."""

    def __init__(self, server: embedded.EmbeddedServer, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.plain = redis.asyncio.Redis.from_url(server.url)
        self.own = aio.connect(server.url)
        self.cache = aio.EdgeCache(self.own, KEYS)
        self.syncs = [aio.EdgeSynchronizer(self.own, scope=f"s{number}") for number in range(TASKS)]
        self.cashews = cashews.Cache()
        self.cashews.setup(server.url)
        self.aiocache = aiocache.Cache(
            aiocache.Cache.REDIS, endpoint=server.host, port=server.port, serializer=Codec(), namespace="aiocache"
        )
        loop.run_until_complete(self._fill())

    async def _fill(self) -> None:
        value = {"id": 12345, "name": "x" * 40, "price": 9.99}
        values = {str(number): value for number in range(KEYS)}
        await self.cache.put_many(values, 3600)
        for name in values:
            await self.cashews.set(name, value, expire=3600)
            await self.plain.set(plain(name), codec.encode(value))
        await self.aiocache.multi_set(list(values.items()))

    async def get_plain(self, name: str) -> object:
        """Read by redis.asyncio alone."""
        return codec.decode(cast("bytes", await self.plain.get(plain(name))))

    async def update(self, number: int) -> object:
        """Write a scope."""
        return await self.syncs[number % TASKS].update_local({"n": number, "note": "x" * 40})

    async def append(self, number: int) -> object:
        """Append to a stream by redis.asyncio alone."""
        body = codec.encode({"n": number, "note": "x" * 40})
        return await self.plain.xadd(f"plain:stream:{number % TASKS}", {"data": body}, maxlen=100)

    def reads(self, tasks: int) -> dict[str, Side]:
        """Return the sides that read a value."""
        calls: dict[str, Call] = {
            "EdgeCache.get": self.cache.get,
            "redis.asyncio GET and decode": self.get_plain,
            "cashews": self.cashews.get,
            "aiocache": self.aiocache.get,
        }
        if tasks == 1:
            return {name: awaited(self._loop, call) for name, call in calls.items()}
        return {name: by_tasks(self._loop, call, tasks) for name, call in calls.items()}

    def writes(self, tasks: int) -> dict[str, Side]:
        """Return the sides that write a state."""
        calls: dict[str, Call] = {"update_local": self.update, "redis.asyncio XADD": self.append}
        return {name: by_tasks(self._loop, call, tasks) for name, call in calls.items()}

    async def read_at_once(self, tasks: int) -> tuple[int, float]:
        """Return how many of so many reads at once failed, and the seconds that all took."""
        began = time.perf_counter()
        found = await asyncio.gather(
            *(self.cache.get(str(number % KEYS)) for number in range(tasks)), return_exceptions=True
        )
        return sum(isinstance(each, BaseException) for each in found), time.perf_counter() - began

    def close(self) -> None:
        """Close all clients."""
        for close in (self.cache.close, self.own.aclose, self.aiocache.close, self.cashews.close, self.plain.aclose):
            self._loop.run_until_complete(close())


def show(what: str, found: Rates) -> None:
    """Print the lines of one comparison."""
    ours = next(iter(found.rates))
    print(f"{what}: {ours} {found.rates[ours]:,.0f} a second")
    for name, value in found.ratios.items():
        low, high = found.quartiles[name]
        print(f"    : {name:32} {found.rates[name]:9,.0f}   {value:5.2f}   ({low:.2f} to {high:.2f})")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", type=int, default=TASKS, help=f"tasks at once ({TASKS})")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"turns of each side ({TURNS})")
    options = parser.parse_args()
    loop = asyncio.new_event_loop()
    server = embedded.start(appendfsync="no", password="")
    peers = Peers(server, loop)
    try:
        print(
            f"{server.kind} {server.version}, redis-py {redis.__version__}, Python {sys.version.split()[0]},"
            f" {'with' if HIREDIS_AVAILABLE else 'without'} hiredis, load {os.getloadavg()[0]:.1f}"
        )
        show(f"{options.tasks} tasks, read", compare(peers.reads(options.tasks), turns=options.turns))
        show("one task, read", compare(peers.reads(1), calls=300, turns=options.turns))
        show(
            f"{options.tasks} tasks, write",
            compare(peers.writes(options.tasks), turns=options.turns, items=range),
        )
        failed, seconds = loop.run_until_complete(peers.read_at_once(10_000))
        print(f"10,000 tasks at once, read: {failed} failed, {seconds:.2f} s")
    finally:
        peers.close()
        server.stop()
        loop.close()


if __name__ == "__main__":
    main()
