"""Replay cache requests through a real EdgeCache on a real server, and print the hit ratios.

    scripts/bench/run hit_ratio TRACE [TRACE ...] --size 500 --size 2000 --eviction lru

A trace has one key a line, plain or gzipped. A request that misses puts the key. The counts are
replayed as they fall: every put carries the reads that came before it.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

from edge_redis import EdgeCache, embedded
from edge_redis._cache.config import EVICTIONS
from edge_redis.types import CacheStats, Eviction


def requests(path: Path, limit: int | None) -> Iterator[str]:
    """Yield the keys of a trace, the first ``limit`` of them."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for number, line in enumerate(lines):
            if number == limit:
                return
            if key := line.strip():
                yield key


def replay(server: embedded.EmbeddedServer, keys: Iterator[str], size: int, eviction: Eviction) -> CacheStats:
    """Return the statistics of a cache that has served ``keys``."""
    with server.client() as client:
        client.flushall()
        with EdgeCache(client, size, 86_400, eviction=eviction, flush_every=100_000, flush_interval=3600) as cache:
            for key in keys:
                if cache.get(key) is None:
                    cache.put(key, 1)
            return cache.stats()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("traces", nargs="+", type=Path, metavar="TRACE")
    parser.add_argument("--size", type=int, action="append", help="max_size; may be repeated (default 500 and 2000)")
    parser.add_argument("--eviction", choices=EVICTIONS, action="append", help="may be repeated (default all)")
    parser.add_argument("--limit", type=int, help="requests of each trace, at most")
    options = parser.parse_args()
    for trace in options.traces:
        if not trace.is_file():
            print(f"there is no file {trace}", file=sys.stderr)
            return 2
    server = embedded.start(appendfsync="no")
    try:
        print(f"{'trace':32} {'size':>6}  {'eviction':16} {'requests':>9} {'hit ratio':>9}")
        for trace in options.traces:
            for size in options.size or (500, 2000):
                for eviction in options.eviction or EVICTIONS:
                    stats = replay(server, requests(trace, options.limit), size, eviction)
                    asked = int(stats["hits"] + stats["misses"])
                    print(f"{trace.name:32} {size:6}  {eviction:16} {asked:9} {stats['hit_rate']:8.2f}%", flush=True)
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
