"""Measure HealthMonitor against plain Redis commands on one real server, in one run.

    scripts/bench/run health [--server PATH]

Prints a table of ratios, each with its limit. Both sides of a ratio take turns, and the best turn of each
counts, so that what else the machine does falls on both alike. A check of the whole fleet is timed by the
wall; how long the server was held by any one call is what its own SLOWLOG says. With --server, that
redis-server or valkey-server is measured, otherwise the embedded one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import redis

from _alternation import Measurement, blocking
from _alternation import versus as alternate
from edge_redis import EdgeNode, HealthMonitor, HealthWatch, ResourceUsage, embedded

NODES = 10_000
TURNS = 9
CALLS = 1500
ROUNDS = 10
LONGEST_CALL_US = 5000
LEAST_LOGGED_US = 1000
CHECK_SECONDS = 0.5
HEARTBEAT_RATIO = 1.4


class Line(NamedTuple):
    """A line of the table: what was measured, ours and theirs, what is compared, and what it may be at most."""

    what: str
    ours: str
    theirs: str
    value: float
    limit: float | None


def turn(call: Callable[[], object], calls: int = CALLS) -> float:
    """Return the microseconds one ``call`` takes."""
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls * 1e6


def versus(what: str, ours: Callable[[], object], theirs: Callable[[], object], limit: float | None) -> Line:
    """Let both sides take turns."""
    pairs = [(turn(ours), turn(theirs)) for _ in range(TURNS)]
    best, other = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    return Line(what, f"{best:.1f} us", f"{other:.1f} us", best / other, limit)


def heartbeats(client: redis.Redis) -> Iterator[Line]:
    """Measure one heartbeat against one HSET."""
    client.flushall()
    usage = ResourceUsage(cpu_percent=12.5, memory_mb=512, memory_max_mb=2048)
    with HealthMonitor(client) as monitor, HealthMonitor(client, namespace="phi", detector="phi") as phi:
        for each in (monitor, phi):
            each.register(EdgeNode("node-00001", "x", "hall 7"))
        plain: Callable[[], object] = lambda: client.hset("beats", "node-00001", str(time.time()))  # noqa: E731
        yield versus("heartbeat(id) : HSET", lambda: monitor.heartbeat("node-00001"), plain, HEARTBEAT_RATIO)
        yield versus(
            "heartbeat(id, resources=...) : HSET of 5 fields",
            lambda: monitor.heartbeat("node-00001", resources=usage),
            lambda: client.hset("node", mapping={"a": 1, "b": 2, "c": 3, "d": 4, "e": time.time()}),
            None,
        )
        yield versus("heartbeat(id), detector phi : HSET", lambda: phi.heartbeat("node-00001"), plain, None)


def measure_heartbeat(client: redis.Redis) -> Iterator[Measurement]:
    """Measure one heartbeat by id."""
    client.flushall()
    with HealthMonitor(client) as monitor:
        monitor.register(EdgeNode("node-00001", "x", "hall 7"))
        beat = blocking(lambda _: monitor.heartbeat("node-00001"))
        plain = blocking(lambda _: client.hset("beats", "node-00001", str(time.time())))
        yield alternate("heartbeat(id) : HSET", beat, plain, 1.08, range)


def measure_check(client: redis.Redis, rounds: int) -> Iterator[Measurement]:
    """Measure a check of a whole fleet."""
    client.flushall()
    with HealthMonitor(client) as monitor:
        monitor.heartbeat_many([EdgeNode(f"node-{number:05d}", "x", "hall 7") for number in range(NODES)])
        runs = [1000 * timed(client, monitor.check_cluster)[0] for _ in range(rounds + 1)][1:]
    yield Measurement(f"check_cluster of {NODES:,} nodes", runs, [], 150.0, "ms")


def timed(client: redis.Redis, call: Callable[[], object]) -> tuple[float, Sequence[int]]:
    """Return the seconds of a call, and the microseconds of each slow call that it cost the server."""
    client.slowlog_reset()
    began = time.perf_counter()
    call()
    seconds = time.perf_counter() - began
    return seconds, [entry["duration"] for entry in client.slowlog_get(-1)]


def measured(client: redis.Redis, what: str, call: Callable[[], object], limit: float | None) -> Iterator[Line]:
    """Measure the wall's time of a call, and the longest that it held the server.

    SLOWLOG has the wall's time too: where another process took the core meanwhile, that is in it. So
    the longest call of the best run counts, and those over the limit in all runs are printed beside it.
    """
    client.config_set("slowlog-log-slower-than", LEAST_LOGGED_US)
    client.config_set("slowlog-max-len", 100_000)
    runs = [timed(client, call) for _ in range(ROUNDS)]
    seconds = [run[0] for run in runs]
    longest = min(max(run[1], default=0) for run in runs)
    over = sum(duration > LONGEST_CALL_US for run in runs for duration in run[1])
    yield Line(f"{what}, best of {ROUNDS}, in s", f"{min(seconds):.3f} s", f"{max(seconds):.3f} s", min(seconds), limit)
    shown = f"{longest} us" if longest else f"<{LEAST_LOGGED_US} us"
    yield Line("  longest call of the server, best run, in us", shown, f"{over} over", longest, LONGEST_CALL_US)


def fleet(client: redis.Redis) -> Iterator[Line]:
    """Measure a fleet: a storm of heartbeats, a check of all, a round of a watch, who is silent."""
    client.flushall()
    names = [f"node-{number:05d}" for number in range(NODES)]
    with HealthMonitor(client) as monitor, HealthWatch(client, interval_seconds=3600.0) as watch:
        monitor.heartbeat_many([EdgeNode(name, name, "hall 7") for name in names])
        size = f"{NODES:,} nodes"
        yield from measured(client, f"check_cluster() of {size}", monitor.check_cluster, CHECK_SECONDS)
        yield from measured(client, f"HealthWatch round over {size}", watch.run_once, None)
        yield from measured(client, f"heartbeat_many() of {size}", lambda: monitor.heartbeat_many(names), None)
        yield from measured(client, f"stale() among {size}", lambda: monitor.stale(0.0, 100), None)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--server", type=Path, help="the server's binary (default: the embedded one)")
    options = parser.parse_args()
    server = embedded.start(appendfsync="no", **({"prefer": options.server} if options.server else {}))
    met = True
    try:
        with server.client() as client:
            print(f"{'ours : theirs, or best : worst':56} {'ours':>10} {'theirs':>10} {'value':>8} {'limit':>6}")
            for part in (heartbeats(client), fleet(client)):
                for line in part:
                    over = line.limit is not None and line.value > line.limit
                    met = met and not over
                    limit = "" if line.limit is None else f"{line.limit:g}"
                    mark = "  over" if over else ""
                    print(
                        f"{line.what:56} {line.ours:>10} {line.theirs:>10} {line.value:8.2f} {limit:>6}{mark}",
                        flush=True,
                    )
    finally:
        server.stop()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
