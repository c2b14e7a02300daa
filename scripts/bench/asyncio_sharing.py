#!/usr/bin/env python3
"""What the services do a second for many asyncio tasks, beside redis.asyncio alone and beside other caches.

    scripts/bench/run asyncio_sharing [--tasks N] [--turns N] [--cluster]

All sides of a ratio take turns, and a ratio is the median of the turns' own ratios, so that what else the
machine does falls on all alike. hiredis is used by all sides where it is installed.

With ``--cluster`` a cache on a cluster of three masters is compared with the same cache on a client whose calls
have a connection each, by calls a second and by the processor time of this process.

Needs ``edge-redis[embedded,bench]``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import redis.asyncio
from redis.utils import HIREDIS_AVAILABLE

from _alternation import BODY, KEYS, VALUE, Side, awaited, in_tasks, in_turns, ratio, zipf
from _cache_shared import awaited_readers, plain
from _concurrent import MANY_TASKS, TASKS, count_errors
from edge_redis import aio, embedded
from edge_redis._core import codec

CALLS = 2000
TURNS = 9
"""Of a side: so many turns of so many calls each."""

Call: TypeAlias = Callable[[Any], Awaitable[object]]


class Rates(NamedTuple):
    """Calls a second of each side, and ratios of the first side to the others."""

    rates: dict[str, float]
    ratios: dict[str, float]
    quartiles: dict[str, tuple[float, float]]


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


class Writers:
    """What writes a state: scopes of this package, and streams of redis.asyncio alone."""

    def __init__(self, client: Any, raw: redis.asyncio.Redis) -> None:
        self._scopes = [aio.EdgeSynchronizer(client, scope=f"s{number}") for number in range(TASKS)]
        self._raw = raw

    async def update(self, number: int) -> object:
        """Write a scope."""
        return await self._scopes[number % TASKS].update_local({"n": number, "note": "x" * 40})

    async def append(self, number: int) -> object:
        """Append to a stream by redis.asyncio alone."""
        body = codec.encode({"n": number, "note": "x" * 40})
        return await self._raw.xadd(f"plain:stream:{number % TASKS}", {"data": body}, maxlen=100)


def show(what: str, found: Rates) -> None:
    """Print the lines of one comparison."""
    ours = next(iter(found.rates))
    print(f"{what}: {ours} {found.rates[ours]:,.0f} a second")
    for name, value in found.ratios.items():
        low, high = found.quartiles[name]
        print(f"    : {name:32} {found.rates[name]:9,.0f}   {value:5.2f}   ({low:.2f} to {high:.2f})")


def measure(loop: asyncio.AbstractEventLoop, readers: dict[str, Call], writers: Writers, given: Any) -> None:
    """Compare, and print."""
    tasks, turns = given.tasks, given.turns
    show(
        f"{tasks} tasks, read",
        compare({name: in_tasks(loop, call, tasks) for name, call in readers.items()}, turns=turns),
    )
    alone = {name: awaited(loop, call) for name, call in readers.items()}
    show("one task, read", compare(alone, calls=300, turns=turns))
    calls: dict[str, Call] = {"update_local": writers.update, "redis.asyncio XADD": writers.append}
    sides = {name: in_tasks(loop, call, tasks) for name, call in calls.items()}
    show(f"{tasks} tasks, write", compare(sides, turns=turns, items=range))
    began = time.perf_counter()
    failed = loop.run_until_complete(count_errors(readers["EdgeCache.get"]))
    print(f"{MANY_TASKS:,} tasks at once, read: {failed} failed, {time.perf_counter() - began:.2f} s")


def measure_cluster(loop: asyncio.AbstractEventLoop, given: Any) -> None:
    """Compare reads on a cluster, with the connections shared and not, and print."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from support.cluster import Cluster  # noqa: PLC0415 -- only with --cluster

    cluster = Cluster()
    shared, apart = cluster.async_client(), cluster.async_client(max_connections=4 * given.tasks)
    apart.execute_command = apart.execute_command  # type: ignore[method-assign] # as where a tracer replaces it
    caches = {"shared": aio.EdgeCache(shared, KEYS), "a connection for each call": aio.EdgeCache(apart, KEYS)}
    try:
        loop.run_until_complete(apart.initialize())  # redis-py fails calls if many tasks begin at once
        loop.run_until_complete(caches["shared"].put_many({str(number): VALUE for number in range(KEYS)}, 3600))
        for tasks in (given.tasks, 1):
            sides = {name: in_tasks(loop, cache.get, tasks) for name, cache in caches.items()}
            show(f"{tasks} tasks, read", compare(sides, turns=given.turns))
            used = {name: clocked(side) for name, side in sides.items()}
            show(f"{tasks} tasks, read, by processor time", compare(used, turns=given.turns))
        began = time.perf_counter()
        failed = loop.run_until_complete(count_errors(caches["shared"].get))
        print(f"{MANY_TASKS:,} tasks at once, read: {failed} failed, {time.perf_counter() - began:.2f} s")
    finally:
        for close in (*(cache.close for cache in caches.values()), shared.aclose, apart.aclose):
            loop.run_until_complete(close())
        cluster.stop()


def clocked(side: Side) -> Side:
    """Return a side whose turns take the processor time of this process."""

    def turn(items: Sequence[Any]) -> float:
        began = time.process_time()
        side(items)
        return time.process_time() - began

    return turn


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", type=int, default=TASKS, help=f"tasks at once ({TASKS})")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"turns of each side ({TURNS})")
    parser.add_argument("--cluster", action="store_true", help="compare shared connections on a cluster")
    options = parser.parse_args()
    loop = asyncio.new_event_loop()
    if options.cluster:
        measure_cluster(loop, options)
        loop.close()
        return
    server = embedded.start(appendfsync="no", password="")
    with server.client() as filler:
        filler.mset({plain(str(number)): BODY for number in range(KEYS)})
    client, raw = cast("redis.asyncio.Redis", aio.connect(server.url)), redis.asyncio.Redis.from_url(server.url)
    print(
        f"{server.kind} {server.version}, redis-py {redis.__version__}, Python {sys.version.split()[0]},"
        f" {'with' if HIREDIS_AVAILABLE else 'without'} hiredis, load {os.getloadavg()[0]:.1f}"
    )
    try:
        with awaited_readers(loop, server, client, raw) as readers:
            measure(loop, readers, Writers(client, raw), options)
    finally:
        server.stop()
        loop.close()


if __name__ == "__main__":
    main()
