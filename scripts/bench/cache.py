#!/usr/bin/env python3
"""What EdgeCache costs beside redis-py's own commands and beside other caches, in one run on one server.

    scripts/bench/run cache [--million] [--hits N] [--only PART ...]

Prints a table of ratios, each with its bar where it has one. All sides of a ratio take turns, and a
ratio is the median of the turns' own ratios, so that what else the machine does falls on all alike.
Time is that of the wall; the server's cost of a hit is its own CPU time, from INFO. The lines
"times as fast" must reach their bar, all others must not pass it.

Needs ``edge-redis[embedded,bench]``. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator

import redis

import _cache_near
import _cache_server
import _cache_shared
from _alternation import Measurement
from edge_redis import embedded
from edge_redis.embedded import EmbeddedServer

HITS = 200_000
SIZES = (1000, 100_000)
MILLION = 1_000_000

_NOTE = """\
(*) redis-py caches on Redis 7.4 and later alone and refuses this server by name and version. That check
    is passed over here; the tracking, the invalidation messages and the whole path of a hit are its own."""


def parts(server: EmbeddedServer, options: argparse.Namespace) -> dict[str, Callable[[], Iterator[Measurement]]]:
    """Return the parts of the table by name."""
    sizes = [*SIZES, *([MILLION] if options.million else [])]
    return {
        "near": lambda: _cache_near.near_hits(server),
        "reads": lambda: _cache_shared.reads(server),
        "writes": lambda: _cache_shared.writes(server, sizes),
        "cpu": lambda: _cache_server.cpu(server, options.hits),
        "memory": _cache_server.memory,
    }


def show(line: Measurement) -> None:
    """Print a line of the table."""
    bar = "" if line.bar is None else f"{'>=' if line.is_rate else '<='} {line.bar:g}"
    mark = "" if line.is_reached else "  OVER" if not line.is_rate else "  UNDER"
    ours, theirs = line.describe(line.ours), line.describe(line.theirs)
    print(f"{line.name:72} {ours:>11} {theirs:>11} {line.figure:8.2f} {bar:>8}{mark}", flush=True)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--million", action="store_true", help="fill a cache of 1,000,000 entries, too")
    parser.add_argument("--hits", type=int, default=HITS, help=f"of which the server's CPU is measured ({HITS:,})")
    parser.add_argument("--only", nargs="+", metavar="PART", help="near, reads, writes, cpu, memory")
    options = parser.parse_args()
    met = True
    server = embedded.start(appendfsync="no", password="")  # the peers get its port alone
    try:
        print(
            f"{server.kind} {server.version}, redis-py {redis.__version__}, Python {sys.version.split()[0]},"
            f" {os.cpu_count()} CPUs with a load of {os.getloadavg()[0]:.1f}"
        )
        print(f"{'ours : theirs':72} {'ours':>11} {'theirs':>11} {'ratio':>8} {'bar':>8}")
        for name, measure in parts(server, options).items():
            if options.only and name not in options.only:
                continue
            for line in measure():
                met = met and line.is_reached
                show(line)
        print(_NOTE)
    finally:
        server.stop()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
