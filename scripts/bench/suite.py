#!/usr/bin/env python3
"""All ratios that the documentation states, in one run: this package beside the limits of its server and client.

    scripts/bench/run suite [--short] [--only PART ...] [--json FILE] [--chart FILE] [--compare FILE] [--fail]

Both sides of a ratio take turns, so that what else the machine does falls on both alike. A figure is the median of
the turns' own ratios, with a 95% confidence interval (bootstrap). ``--short`` takes about three minutes, the whole
about eight.

``--compare`` names each figure that is worse than in an earlier JSON by more than its noise: the intervals do not
overlap and the medians differ by more than ``--tolerance``. With ``--fail`` the exit code is then 1. A part that
raises is reported and left out; the exit code is then 2.

Needs ``edge-redis[embedded,bench]``.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

import _cache_near
import _cache_server
import _cache_shared
import _concurrent
import _startup
import health
import metrics
import sync
from _alternation import Measurement, limit_turns
from _report import TOLERANCE, Row, describe_run, draw_chart, find_worse, row_of, show_row
from edge_redis import embedded
from edge_redis.embedded import EmbeddedServer


@dataclass(frozen=True)
class Size:
    """How long a run takes."""

    turns: int
    rounds: int
    changes: int
    hits: int


SHORT = Size(turns=15, rounds=3, changes=5000, hits=20_000)
FULL = Size(turns=41, rounds=7, changes=20_000, hits=100_000)

Part = Callable[[EmbeddedServer, redis.Redis, Size], Iterator[Measurement]]


def _drain(server: EmbeddedServer, _: redis.Redis, size: Size) -> Iterator[Measurement]:
    with embedded.start(appendfsync="no", password="") as cloud:
        yield from sync.measure_drain((server.url, cloud.url), size.changes, size.rounds)


PARTS: dict[str, Part] = {
    "startup": lambda _server, _client, size: _startup.startup(size.turns // 2),
    "footprint": lambda _server, client, _size: _startup.footprint(client),
    "near": lambda server, _client, _size: _cache_near.near_hits(server),
    "near awaited": lambda server, _client, _size: _cache_near.near_hits_awaited(server),
    "reads": lambda server, _client, _size: _cache_shared.reads(server),
    "puts": lambda _server, client, _size: _cache_shared.puts(client),
    "computes": lambda _server, client, _size: _cache_shared.computes(client),
    "cpu of puts": lambda _server, client, _size: _cache_shared.put_cpu(client),
    "cpu of reads": lambda server, _client, size: _cache_server.cpu(server, size.hits),
    "memory": lambda _server, _client, _size: _cache_server.memory(),
    "task reads": lambda server, _client, _size: _concurrent.reads(server),
    "task updates": lambda server, _client, _size: _concurrent.updates(server),
    "updates": lambda _server, client, size: sync.measure_updates(client, size.turns),
    "drain": _drain,
    "heartbeat": lambda _server, client, _size: health.measure_heartbeat(client),
    "check": lambda _server, client, size: health.measure_check(client, size.rounds),
    "record": lambda server, _client, size: metrics.recording(server.url, size.rounds),
    "longest call": lambda _server, client, size: metrics.longest_calls(client, size.rounds),
}


def run(
    server: EmbeddedServer, size: Size, only: list[str], keep: Callable[[list[Row], list[str]], None]
) -> tuple[list[Row], list[str]]:
    """Measure, print, and keep what was found after each part; return the rows, and the names of the failed parts."""
    rows: list[Row] = []
    failed: list[str] = []
    for name, part in PARTS.items():
        if only and name not in only:
            continue
        with server.client() as client:
            client.flushall()
            try:
                for measurement in part(server, client, size):
                    rows.append(row_of(name, measurement))
                    show_row(rows[-1])
            except Exception:  # noqa: BLE001 -- the other parts say what they can all the same
                failed.append(name)
                traceback.print_exc()
        keep(rows, failed)
    return rows, failed


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer turns: about three minutes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", type=Path, help="write the run to this file")
    parser.add_argument("--chart", type=Path, help="draw the run into this SVG file")
    parser.add_argument("--compare", type=Path, help="name what is worse than in the run of this file")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help=f"of medians ({TOLERANCE})")
    parser.add_argument("--fail", action="store_true", help="exit with 1 where something is worse")
    options = parser.parse_args()
    size = SHORT if options.short else FULL
    limit_turns(size.turns)
    with embedded.start(appendfsync="no", password="") as server:
        run_of = describe_run(server, "short" if options.short else "full")

        def keep(rows: list[Row], failed: list[str]) -> None:
            if options.json:
                found = {**run_of, "measurements": rows, "failed": failed}
                options.json.write_text(json.dumps(found, indent=1) + "\n")

        rows, failed = run(server, size, options.only, keep)
    if options.chart:
        options.chart.write_text(draw_chart(rows))
    worse = find_worse(rows, json.loads(options.compare.read_text()), options.tolerance) if options.compare else []
    for line in worse:
        print(line)
    if options.compare and not worse:
        print("nothing is worse by more than its noise")
    return 2 if failed else 1 if worse and options.fail else 0


if __name__ == "__main__":
    sys.exit(main())
