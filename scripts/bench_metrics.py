#!/usr/bin/env python3
"""What EdgeMetrics costs, each figure beside what it is to be measured by, in one run.

    python scripts/bench_metrics.py [--records N]

* ``record`` against ``prometheus_client``'s multiprocess mode for the same facts, flush included;
* four processes at once on one server, and whether every record was counted;
* queries against one HMGET whose reply is as large;
* the server's time for a flush, and the memory of a series.

Needs ``edge-redis[embedded,prometheus]``. Exits with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis

from edge_redis import EdgeMetrics, InvocationRecord
from edge_redis.runtime import embedded

FUNCTIONS, PROCESSES = 10, 4
BATCHES = (1000, 20_000)
FAILING = 0.01
ROUNDS = 5
RECORD_BOUND, QUERY_BOUND, THROUGHPUT_BOUND = 0.5, 1.3, 300_000


def invocations(count: int, node: int = 1) -> list[InvocationRecord]:
    """Return records of a few functions on a process's node, of heavy-tailed durations."""
    pick = random.Random(1)  # noqa: S311 -- made-up durations
    return [
        InvocationRecord(
            f"function-{pick.randrange(FUNCTIONS)}",
            f"node-{node}",
            pick.lognormvariate(2.5, 1.0),
            success=pick.random() > FAILING,
        )
        for _ in range(count)
    ]


def seconds(action: Callable[[], object]) -> float:
    """Return how long ``action`` took."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def observe_with_prometheus(count: int) -> None:
    """Time the same facts in prometheus_client's multiprocess mode; print seconds. Runs in a process of its own."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp()
    from prometheus_client import CollectorRegistry, Counter, Histogram  # noqa: PLC0415 -- reads the variable above

    registry = CollectorRegistry()
    labels = ["function", "node"]
    durations = Histogram("duration", "Durations.", labels, registry=registry)
    total = Counter("invocations", "Invocations.", [*labels, "success"], registry=registry)
    records = invocations(count)

    def observe() -> None:
        for record in records:
            durations.labels(record.function_id, record.node_id).observe(record.duration_ms / 1000)
            total.labels(record.function_id, record.node_id, record.success).inc()

    print(min(seconds(observe) for _ in range(ROUNDS)))


def record_with_us(url: str, count: int, flush_every: int) -> float:
    """Return the seconds that recording and flushing takes."""
    records = invocations(count)
    with redis.Redis.from_url(url) as client, EdgeMetrics(client, namespace="one", flush_every=flush_every) as metrics:

        def record() -> None:
            for one in records:
                metrics.record(one)
            metrics.flush()

        return min(seconds(record) for _ in range(ROUNDS))


def write(url: str, count: int, node: int, ready: Any, go: Any) -> None:  # noqa: ANN401 -- multiprocessing's own
    """Record as one of several processes."""
    records = invocations(count, node)
    with redis.Redis.from_url(url) as client, EdgeMetrics(client, namespace="many", flush_every=BATCHES[-1]) as metrics:
        metrics.total_invocations()
        ready.release()
        go.wait()
        for record in records:
            metrics.record(record)


def together(url: str, count: int) -> tuple[float, int]:
    """Return records a second of ``PROCESSES`` writers, and how many were counted."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    writers = [context.Process(target=write, args=(url, count, node, ready, go)) for node in range(PROCESSES)]
    for writer in writers:
        writer.start()
    for _ in writers:
        ready.acquire()
    began = time.perf_counter()
    go.set()
    for writer in writers:
        writer.join()
    taken = time.perf_counter() - began
    with redis.Redis.from_url(url) as client, EdgeMetrics(client, namespace="many") as metrics:
        return PROCESSES * count / taken, metrics.total_invocations()


def median(action: Callable[[], object], times: int = 400) -> float:
    """Return the median seconds of an action."""
    return statistics.median(seconds(action) for _ in range(times))


def ratio_of_medians(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Return our median in seconds, and the ratio of both, measured in turns so that both see the same machine."""
    pairs = [(median(ours, 100), median(theirs, 100)) for _ in range(ROUNDS)]
    return min(mine for mine, _ in pairs), statistics.median(mine / other for mine, other in pairs)


def queries(url: str) -> list[tuple[str, float, float]]:
    """Return each query, its median in microseconds, and its ratio to an HMGET with as large a reply."""
    found = []
    with redis.Redis.from_url(url) as client, EdgeMetrics(client, namespace="many") as metrics:
        pair = ("function-1", "node-1")
        cases: list[tuple[str, Callable[[], object], int]] = [
            ("total_invocations()", metrics.total_invocations, 5),
            ("success_rate(function)", lambda: metrics.success_rate(pair[0]), 5),
            ("error_count(node, function)", lambda: metrics.error_count(pair[1], pair[0]), 5),
            ("percentile(99)", lambda: metrics.percentile(99), 2 * len(metrics.snapshot()[pair].buckets)),
            ("summary(function, node)", lambda: metrics.summary(*pair), 2 * len(metrics.snapshot()[pair].buckets)),
        ]
        for name, query, fields in cases:
            client.hset(f"bench:{fields}", mapping={f"field{at}": at * 1000 for at in range(fields)})
            names = [f"field{at}" for at in range(fields)]
            mine, ratio = ratio_of_medians(query, lambda key=f"bench:{fields}", of=names: client.hmget(key, of))
            found.append((name, mine * 1e6, ratio))
    return found


def server_time(url: str) -> tuple[float, float, int]:
    """Return the server's milliseconds a flush of 1,000 records, the longest, and the bytes of one pair's series."""
    with redis.Redis.from_url(url) as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.config_set("slowlog-max-len", 5000)
        client.slowlog_reset()
        with EdgeMetrics(client, namespace="slow") as metrics:
            metrics.record_many(invocations(1))
            metrics.flush()
            client.slowlog_reset()
            for _ in range(50):
                for record in invocations(1000):
                    metrics.record(record)
            spent = [entry["duration"] / 1000 for entry in client.slowlog_get(5000) if entry["command"][:4] == b"EVAL"]
        client.config_set("slowlog-log-slower-than", 10_000)
        keys = client.scan_iter(match="er:{slow:metrics0}:g:0:*:p:10:function-1node-1", count=10_000)
        used = sum(client.memory_usage(key) or 0 for key in keys)
        return statistics.median(spent), max(spent), used


def report(lines: Sequence[tuple[str, str, bool | None]]) -> bool:
    """Print what was found; whether every bound was kept."""
    for name, figure, kept in lines:
        print(f"{name:<34} {figure:<52} {'' if kept is None else 'ok' if kept else 'MISSED'}")
    return all(kept is not False for _, _, kept in lines)


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000, help="recorded by each process")
    parser.add_argument("--prometheus", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prometheus:
        observe_with_prometheus(arguments.prometheus)
        return 0
    server = embedded.start()
    try:
        return 0 if report(measure(server.url, arguments.records)) else 1
    finally:
        server.stop()


def measure(url: str, records: int) -> list[tuple[str, str, bool | None]]:
    """Return the lines of the report."""
    count = 50_000
    theirs = float(
        subprocess.run([sys.executable, __file__, "--prometheus", str(count)], capture_output=True, check=True).stdout
    )
    ours = {size: record_with_us(url, count, size) for size in BATCHES}
    rate, counted = together(url, records)
    typical, longest, used = server_time(url)
    return [
        *(
            (
                f"record and flush, flush_every={size}",
                f"{taken / count * 1e6:.2f} us, {taken / theirs:.2f} of prometheus_client's {theirs / count * 1e6:.2f}",
                taken <= RECORD_BOUND * theirs,
            )
            for size, taken in ours.items()
        ),
        (
            f"{PROCESSES} processes, flush_every={BATCHES[-1]}",
            f"{rate:,.0f} records a second",
            rate >= THROUGHPUT_BOUND,
        ),
        ("counted of them", f"{counted:,} of {PROCESSES * records:,}", counted == PROCESSES * records),
        *(
            (name, f"{micros:.0f} us, {ratio:.2f} of an HMGET of its size", ratio <= QUERY_BOUND)
            for name, micros, ratio in queries(url)
        ),
        ("server's time for 1,000 records", f"{typical:.2f} ms, at most {longest:.2f} ms", None),
        ("memory of a pair's series", f"{used:,} bytes", None),
    ]


if __name__ == "__main__":
    sys.exit(main())
