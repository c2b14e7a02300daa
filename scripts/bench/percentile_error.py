#!/usr/bin/env python3
"""How far EdgeMetrics' percentiles are from exact ones, and what a histogram takes in Redis.

    scripts/bench/run percentile_error [--values N] [--spans FILE]

* five distributions of a million values, heavy tails among them;
* real call spans (function_spans.csv.gz: start_us, node, func, duration_us, root), per function, node and pair.

Needs ``edge-redis[embedded]``. Exits with 1 where an error is above 1.1%.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import redis

from edge_redis import EdgeMetrics, InvocationRecord, embedded
from edge_redis._metrics.keys import series_name

BOUND = 0.011
RANKS = (0, 0.1, 1, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100)
PICK = random.Random(2026)  # noqa: S311 -- made-up durations
DISTRIBUTIONS: dict[str, Callable[[], float]] = {
    "uniform, 0.1 ms to 1 s": lambda: PICK.uniform(0.1, 1000.0),
    "exponential, mean 20 ms": lambda: 0.1 + PICK.expovariate(1 / 20),
    "lognormal, sigma 2": lambda: PICK.lognormvariate(3, 2),
    "Pareto, alpha 0.4, to 1 h": lambda: min(3.6e6, 0.1 * PICK.paretovariate(0.4)),
    "two modes, 2 ms and 50 min": lambda: abs(PICK.gauss(2.0, 0.1) if PICK.random() < 0.95 else PICK.gauss(3e6, 1e4)),  # noqa: PLR2004 -- 1 in 20
}

Group = tuple[str | None, str | None]


def exact(q: float, ordered: Sequence[float]) -> float:
    """Return the nearest-rank percentile."""
    return ordered[max(1, math.ceil(Fraction(repr(q)) * len(ordered) / 100)) - 1]


def worst(metrics: EdgeMetrics, group: Group, values: Iterable[float]) -> float:
    """Return the largest relative error over ``RANKS``."""
    ordered = sorted(values)
    found = [(metrics.percentile(q, *group), exact(q, ordered)) for q in RANKS]
    return max(abs(got - true) / true if true else abs(got) for got, true in found)


def of_distributions(client: redis.Redis, count: int) -> Iterator[tuple[str, float, Group, str]]:
    """Yield the worst error of each distribution, and where its histogram is."""
    for at, (name, draw) in enumerate(DISTRIBUTIONS.items()):
        values = [draw() for _ in range(count)]
        with EdgeMetrics(client, namespace=f"d{at}", max_recent=0) as metrics:
            metrics.record_many(InvocationRecord("f", "n", value, success=True) for value in values)
            yield f"{name}, {count:,} values", worst(metrics, (None, None), values), (None, None), f"d{at}"


def of_spans(client: redis.Redis, path: Path) -> Iterator[tuple[str, float, Group, str]]:
    """Yield the worst error of any function, of any node, and of any pair."""
    by_group: dict[Group, list[float]] = {}
    with gzip.open(path, "rt") as lines, EdgeMetrics(client, namespace="spans") as metrics:
        for row in csv.DictReader(lines):
            function, node, duration = row["func"], row["node"], int(row["duration_us"]) / 1000
            metrics.record(InvocationRecord(function, node, duration, success=True))
            for group in ((None, None), (function, None), (None, node), (function, node)):
                by_group.setdefault(group, []).append(duration)
        kinds = {(0, 0): "all together", (1, 0): "functions", (0, 1): "nodes", (1, 1): "pairs"}
        for kind, name in kinds.items():
            groups = [group for group in by_group if tuple(int(part is not None) for part in group) == kind]
            errors = {group: worst(metrics, group, by_group[group]) for group in groups}
            largest = max(groups, key=lambda group: len(by_group[group]))
            yield f"real spans, {len(groups)} {name}", max(errors.values()), largest, "spans"


def measure(client: redis.Redis, arguments: argparse.Namespace) -> bool:
    """Print a line each; whether every error is within the bound."""
    rows = [of_distributions(client, arguments.values)]
    if arguments.spans.is_file():
        rows.append(of_spans(client, arguments.spans))
    else:
        print(f"no real spans: {arguments.spans} is not there; name it by --spans")
    print(f"{'':<46} {'worst error':>11}   histogram in Redis")
    kept = True
    for row in rows:
        for name, error, group, namespace in row:
            key = f"er:{{{namespace}:metrics0}}:e:0:s:{series_name(*group)}"
            kind, fields, used = client.object("encoding", key), client.hlen(key), client.memory_usage(key)
            missed = error > BOUND or kind == b"hashtable"
            kept = kept and not missed
            print(
                f"{name:<46} {error:>10.2%}   {kind.decode()}, {fields} fields, {used:,} bytes{'  MISSED' * missed}",
                flush=True,
            )
    return kept


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=1_000_000, help="of each distribution")
    parser.add_argument("--spans", type=Path, default=Path("../shared/data/function_spans.csv.gz"))
    arguments = parser.parse_args()
    with embedded.start() as server, redis.Redis.from_url(server.url) as client:
        return 0 if measure(client, arguments) else 1


if __name__ == "__main__":
    sys.exit(main())
