#!/usr/bin/env python3
"""What EdgeMetrics costs, each figure beside what it is to be measured by, in one run.

    scripts/bench/run metrics [--records N]

* ``record`` against ``prometheus_client``'s multiprocess mode for the same facts, flush included, in turns;
* four processes at once on one server, and whether every record was counted (ten million in all);
* queries at that many records against one HMGET whose reply is as large;
* the server's time for a call that takes 1,000 records, and the memory of a series.

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import redis

from _alternation import Measurement
from edge_redis import EdgeMetrics, InvocationRecord, embedded

FUNCTIONS, PROCESSES = 10, 4
DEFAULT_BATCH = 1000
BATCHES = (DEFAULT_BATCH, 20_000)
FAILING = 0.01
ROUNDS, ROUND = 9, 50_000
MADE = 100_000
RECORD_BOUND, QUERY_BOUND, THROUGHPUT_BOUND = 0.45, 1.3, 300_000
PAIR = ("function-1", "node-1")

Line = tuple[str, str, bool | None]


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


def observe_with_prometheus() -> None:
    """For each line read, time the same facts in prometheus_client's multiprocess mode, in a process of its own."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp()
    from prometheus_client import CollectorRegistry, Counter, Histogram  # noqa: PLC0415 -- reads the variable above

    registry = CollectorRegistry()
    labels = ["function", "node"]
    durations = Histogram("duration", "Durations.", labels, registry=registry)
    total = Counter("invocations", "Invocations.", [*labels, "success"], registry=registry)
    records = invocations(ROUND)

    def observe() -> None:
        for record in records:
            durations.labels(record.function_id, record.node_id).observe(record.duration_ms / 1000)
            total.labels(record.function_id, record.node_id, record.success).inc()

    for _ in sys.stdin:
        print(seconds(observe), flush=True)


@contextmanager
def prometheus() -> Iterator[Callable[[], float]]:
    """Give what times one round of prometheus_client."""
    words = [sys.executable, __file__, "--prometheus"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pipe_in, pipe_out = process.stdin, process.stdout
        if pipe_in is None or pipe_out is None:
            raise RuntimeError("a pipe was asked for")

        def one_round() -> float:
            pipe_in.write("\n")
            pipe_in.flush()
            return float(pipe_out.readline())

        yield one_round
        pipe_in.close()


def recording(url: str, rounds: int = ROUNDS) -> Iterator[Measurement]:
    """Compare one process that records and flushes with prometheus_client, in turns, so that both see one machine."""
    records = invocations(ROUND)
    with prometheus() as theirs, redis.Redis.from_url(url) as client:
        for size in BATCHES:
            with EdgeMetrics(client, namespace=f"one{size}", flush_every=size) as metrics:

                def record(metrics: EdgeMetrics = metrics) -> None:
                    for one in records:
                        metrics.record(one)
                    metrics.flush()

                pairs = [(seconds(record), theirs()) for _ in range(rounds)]
            ours, other = ([taken / ROUND * 1e6 for taken in some] for some in zip(*pairs, strict=True))
            yield Measurement(f"record and flush, flush_every={size:,} : prometheus_client", ours, other, RECORD_BOUND)


def in_words(found: Iterator[Measurement]) -> Iterator[Line]:
    """Return measurements as lines of the report."""
    for each in found:
        text = f"{each.describe(each.ours)}, {each.figure:.2f} of {each.describe(each.theirs)}"
        yield each.name, text, each.is_reached


def write(url: str, namespace: str, plan: tuple[int, int, int], ready: Any, go: Any, ended: Any) -> None:
    """Record as one of several processes: its node, how often, and the batch."""
    node, count, size = plan
    records = invocations(min(count, MADE), node)
    with redis.Redis.from_url(url) as client:
        metrics = EdgeMetrics(client, namespace=namespace, flush_every=size)
        metrics.total_invocations()
        ready.release()
        go.wait()
        for at in range(0, count, MADE):
            for record in records[: count - at]:
                metrics.record(record)
        metrics.close()
        ended.put(time.monotonic())


def together(url: str, namespace: str, count: int, size: int) -> Iterator[Line]:
    """Measure ``PROCESSES`` writers from their start to their last flush."""
    context = multiprocessing.get_context("spawn")
    ready, go, ended = context.Semaphore(0), context.Event(), context.Queue()
    writers = [
        context.Process(target=write, args=(url, namespace, (node, count, size), ready, go, ended))
        for node in range(PROCESSES)
    ]
    for writer in writers:
        writer.start()
    for _ in writers:
        ready.acquire()
    began = time.monotonic()
    go.set()
    rate = PROCESSES * count / (max(ended.get() for _ in writers) - began)
    for writer in writers:
        writer.join()
    yield f"{PROCESSES} processes, flush_every={size}", f"{rate:,.0f} records a second", rate >= THROUGHPUT_BOUND
    with redis.Redis.from_url(url) as client, EdgeMetrics(client, namespace=namespace) as metrics:
        counted = metrics.total_invocations()
    yield "counted of them", f"{counted:,} of {PROCESSES * count:,}", counted == PROCESSES * count


def median(action: Callable[[], object], times: int) -> float:
    """Return the median seconds of an action."""
    return statistics.median(seconds(action) for _ in range(times))


def ratio_of_medians(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Return our median in seconds, and the ratio of both, measured in turns so that both see the same machine."""
    pairs = [(median(ours, 100), median(theirs, 100)) for _ in range(ROUNDS)]
    return min(mine for mine, _ in pairs), statistics.median(mine / other for mine, other in pairs)


def queries(url: str, namespace: str) -> Iterator[Line]:
    """Compare each query with an HMGET that has as large a reply."""
    with redis.Redis.from_url(url) as client, EdgeMetrics(client, namespace=namespace) as metrics:
        found = metrics.snapshot()
        of_pair = 2 * len(found[PAIR].buckets)
        of_all = 2 * len(set().union(*(series.buckets for series in found.values())))
        cases: list[tuple[str, Callable[[], object], int]] = [
            ("total_invocations()", metrics.total_invocations, 5),
            ("success_rate(function)", lambda: metrics.success_rate(PAIR[0]), 5),
            ("avg_latency_ms(None, node)", lambda: metrics.avg_latency_ms(None, PAIR[1]), 5),
            ("error_count(node, function)", lambda: metrics.error_count(PAIR[1], PAIR[0]), 5),
            ("percentile(99)", lambda: metrics.percentile(99), of_all),
            ("summary(function, node)", lambda: metrics.summary(*PAIR), of_pair),
        ]
        for name, query, fields in cases:
            names = [f"field{at}" for at in range(fields)]
            client.hset(f"bench:{fields}", mapping={field: at * 1000 for at, field in enumerate(names)})
            mine, ratio = ratio_of_medians(query, partial(client.hmget, f"bench:{fields}", names))
            yield name, f"{mine * 1e6:.0f} us, {ratio:.2f} of an HMGET of its size ({fields})", ratio <= QUERY_BOUND


def call_times(client: redis.Redis, namespace: str) -> list[float]:
    """Return the server's own milliseconds for each of its calls while 64 batches are recorded."""
    client.config_set("slowlog-log-slower-than", 0)
    client.config_set("slowlog-max-len", 5000)
    with EdgeMetrics(client, namespace=namespace, flush_interval=3600.0) as metrics:
        metrics.record_many(invocations(1000))
        metrics.flush()
        client.slowlog_reset()
        for record in invocations(64 * DEFAULT_BATCH):
            metrics.record(record)
        metrics.flush()  # adds up what is left in the write-ahead log
        entries = client.slowlog_get(5000)
    client.config_set("slowlog-log-slower-than", 10_000)
    return [entry["duration"] / 1000 for entry in entries if entry["command"][:4] == b"EVAL"]


def longest_calls(client: redis.Redis, rounds: int) -> Iterator[Measurement]:
    """Measure the longest call of metrics. SLOWLOG has the time of the wall, so what else the machine does is in it."""
    longest = [max(call_times(client, f"slow{at}")) for at in range(rounds)]
    yield Measurement("longest server call of metrics", longest, [], 5.0, "ms")


def server_time(url: str) -> Iterator[Line]:
    """Read the server's own time for its calls, and the bytes of one pair's series, from it."""
    with redis.Redis.from_url(url) as client:
        spent = call_times(client, "slow")
        name = f"er:{{slow:metrics0}}:e:0:s:p:10:{PAIR[0]}{PAIR[1]}"
        used, fields, kind = client.memory_usage(name), client.hlen(name), client.object("encoding", name)
    yield "server, a call of 1,000 records", f"{statistics.median(spent):.2f} ms", None
    yield "server, the longest call", f"{max(spent):.2f} ms", None
    yield "server, by the record", f"{sum(spent) / 64:.2f} us", None
    yield "a pair's histogram", f"{used:,} bytes, {fields} fields, {kind.decode()}", kind != b"hashtable"


def report(lines: Iterator[Line]) -> bool:
    """Print what is found as it comes; whether every bound was kept."""
    verdicts = []
    for name, figure, kept in lines:
        print(f"{name:<36} {figure:<62} {'' if kept is None else 'ok' if kept else 'MISSED'}", flush=True)
        verdicts.append(kept is not False)
    return all(verdicts)


def measure(url: str, records: int) -> Iterator[Line]:
    """Yield the lines of the report."""
    yield from in_words(recording(url))
    yield from together(url, "some", min(records, 500_000), DEFAULT_BATCH)
    yield from together(url, "many", records, BATCHES[-1])
    yield from queries(url, "many")
    yield from server_time(url)


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2_500_000, help="recorded by each of the four processes")
    parser.add_argument("--prometheus", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.prometheus:
        observe_with_prometheus()
        return 0
    with embedded.start() as server:
        return 0 if report(measure(server.url, arguments.records)) else 1


if __name__ == "__main__":
    sys.exit(main())
