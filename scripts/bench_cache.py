"""Measure EdgeCache against redis-py's own commands on one real server, in one run.

    python scripts/bench_cache.py [--million]

Prints a table of ratios, each with its limit. Both sides of a ratio take turns, and the best
turn of each counts, so that what else the machine does falls on both alike. Time is that of the
wall; the server's cost of a hit is its own CPU time, from INFO.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple

import redis

from edge_redis import EdgeCache
from edge_redis.core import codec
from edge_redis.runtime import embedded

VALUE = {"id": 12345, "name": "x" * 40, "price": 9.99}
BODY = codec.encode(VALUE)
KEYS = 1000
TURNS = 7
CALLS = 1500
HITS = 50_000


class Line(NamedTuple):
    """A line of the table: what was measured, the ratio, and what it may be at most."""

    what: str
    ours: str
    theirs: str
    ratio: float
    limit: float | None


def turn(call: Callable[[], object], calls: int) -> float:
    """Return the microseconds one ``call`` takes."""
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls * 1e6


def versus(
    what: str, ours: Callable[[], object], theirs: Callable[[], object], limit: float | None, calls: int = CALLS
) -> Line:
    """Let both sides take turns."""
    pairs = [(turn(ours, calls), turn(theirs, calls)) for _ in range(TURNS)]
    best, other = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    return Line(what, f"{best:.1f} us", f"{other:.1f} us", best / other, limit)


def names(prefix: str = "") -> Iterator[str]:
    """Yield keys by Zipf's law, for ever: the n-th most popular comes 1/n times as often as the first."""
    weights = [1 / (rank + 1) for rank in range(KEYS)]
    while True:
        for rank in random.choices(range(KEYS), weights, k=10_000):  # noqa: S311 -- not for security
            yield f"{prefix}{rank}"


def reads(client: redis.Redis) -> Iterator[Line]:
    """Measure reading."""
    client.flushall()
    client.mset({f"plain:{n}": BODY for n in range(KEYS)})
    with EdgeCache(client, KEYS) as cache:
        cache.put_many({str(n): VALUE for n in range(KEYS)}, 3600)
        ours, theirs = names(), names("plain:")
        yield versus(
            "get, a hit : GET and decode",
            lambda: cache.get(next(ours)),
            lambda: codec.decode(client.get(next(theirs))),
            1.10,
        )
        batch = [str(n) for n in range(100)]
        plain = [f"plain:{n}" for n in range(100)]
        yield versus(
            "get_many of 100 : MGET and decode",
            lambda: cache.get_many(batch),
            lambda: [codec.decode(raw) for raw in client.mget(plain)],
            1.3,
            calls=100,
        )
    with EdgeCache(client, KEYS, flush_every=1) as exact:
        yield versus(
            "get, a hit, exact mode : GET and decode",
            lambda: exact.get(next(ours)),
            lambda: codec.decode(client.get(next(theirs))),
            None,
        )


def server_cpu(client: redis.Redis) -> Iterator[Line]:
    """Measure what a hit costs the server."""

    def cost(read: Callable[[str], object]) -> float:
        def used() -> float:
            seconds = client.info("cpu")
            return float(seconds["used_cpu_user"]) + float(seconds["used_cpu_sys"])

        keys = names()
        before = used()
        for _ in range(HITS):
            read(next(keys))
        return (used() - before) / HITS * 1e6

    client.flushall()
    client.mset({str(n): BODY for n in range(KEYS)})
    plain = min(cost(client.get) for _ in range(2))
    for what, flush_every, limit in (("buffered", 1024, 1.25), ("exact mode", 1, None)):
        with EdgeCache(client, KEYS, flush_every=flush_every) as cache:
            cache.put_many({str(n): VALUE for n in range(KEYS)}, 3600)
            ours = min(cost(cache.get) for _ in range(2))
        yield Line(f"server CPU of a hit, {what} : GET", f"{ours:.1f} us", f"{plain:.1f} us", ours / plain, limit)


def writes(client: redis.Redis, sizes: list[int]) -> Iterator[Line]:
    """Measure putting into a full cache, at several sizes."""
    first = 0.0
    for size in sizes:
        client.flushall()
        with EdgeCache(client, size) as cache:
            for start in range(0, size, 10_000):
                cache.put_many({f"key:{n:016}": VALUE for n in range(start, min(size, start + 10_000))}, 36_000)
            numbers = count(size)
            line = versus(
                f"put into a full cache of {size:,} : SET and encode",
                lambda: cache.put(f"key:{next(numbers):016}", VALUE),  # noqa: B023 -- called in this turn of the loop
                lambda: client.set(f"plain:{random.randrange(KEYS)}", codec.encode(VALUE), ex=300),  # noqa: S311
                1.6,
            )
            yield line
            ours = float(line.ours.split()[0])
            first = first or ours
            yield Line(f"put at {size:,} : at {sizes[0]:,}", f"{ours:.1f} us", f"{first:.1f} us", ours / first, 1.3)


def memory(client: redis.Redis) -> Iterator[Line]:
    """Measure the bytes that an entry takes beyond a plain key with a TTL; the key has 20 bytes."""
    entries = {f"key:{n:016}": VALUE for n in range(20_000)}
    some = random.sample(sorted(entries), 500)
    client.flushall()
    with EdgeCache(client, len(entries)) as cache:
        cache.put_many(entries, 3600)
        client.mset(dict.fromkeys(some, BODY))
        tag = "er:{default:cache0}"
        values = sum(client.memory_usage(f"{tag}:v:{key}", samples=0) for key in some) / len(some)
        plain = sum(client.memory_usage(key, samples=0) for key in some) / len(some)
        index = sum(client.memory_usage(f"{tag}:{name}", samples=0) for name in ("expiry", "counts")) / len(entries)
    more = values + index - plain
    yield Line("bytes of an entry beyond those of SET EX", f"{values + index:.0f} B", f"{plain:.0f} B", more, 250)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--million", action="store_true", help="fill a cache of 1,000,000 entries, too")
    options = parser.parse_args()
    sizes = [1000, 100_000] + [1_000_000] * options.million
    server = embedded.start(appendfsync="no")
    met = True
    try:
        with server.client() as client:
            print(f"{'ours : theirs':52} {'ours':>10} {'theirs':>10} {'ratio':>7} {'limit':>6}")
            for part in (reads(client), server_cpu(client), writes(client, sizes), memory(client)):
                for line in part:
                    over = line.limit is not None and line.ratio > line.limit
                    met = met and not over
                    limit = "" if line.limit is None else f"{line.limit:g}"
                    mark = "  over" if over else ""
                    print(
                        f"{line.what:52} {line.ours:>10} {line.theirs:>10} {line.ratio:7.2f} {limit:>6}{mark}",
                        flush=True,
                    )
    finally:
        server.stop()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
