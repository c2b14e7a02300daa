"""A network that loses replies, a writer killed under load, and sixteen processes that are as one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from edge_redis import EdgeMetrics, StoreError
from support.metrics import assert_series, made, spans
from support.proxy import LossyProxy
from support.servers import Backend

WRITERS = 16


@pytest.mark.parametrize("flush_every", [1, 25])
def test_replies_lost_on_the_way_count_nothing_twice(real: Backend, flush_every: int) -> None:
    assert real.url is not None
    port = urlsplit(real.url).port
    assert port is not None
    count = 40 * flush_every if flush_every > 1 else 150
    records = [made(f"f{at % 3}", ms=1.0 + at, ok=at % 7 > 0) for at in range(count)]
    with LossyProxy(port, lost=0.25) as proxy:
        client = redis.Redis(port=proxy.port, retry=Retry(ConstantBackoff(0.001), 10))
        with client, EdgeMetrics(client, flush_every=flush_every, flush_interval=3600.0) as metrics:
            for record in records:
                try:
                    metrics.record(record)
                except StoreError:
                    """Kept; see ``record``."""
            proxy.losing = False
            metrics.flush()
        assert proxy.dropped > 5
    with real.client() as direct, EdgeMetrics(direct) as reader:
        assert_series(reader, None, None, records)
        assert len(reader.recent(count)) == count


LOAD = """
import sys, redis
from edge_redis import EdgeMetrics, InvocationRecord
url, node, flush_every = sys.argv[1:]
metrics = EdgeMetrics(redis.Redis.from_url(url), flush_every=int(flush_every), flush_interval=3600.0)
record, one = metrics.record, InvocationRecord("f", node, 1.0, True)
count = 0
while True:
    for _ in range(100):
        record(one)
    count += 100
    sys.stdout.write(f"{count}\\n")
    sys.stdout.flush()
"""


@pytest.mark.exploration
def test_kill_9_of_one_of_three_writers_under_load(real: Backend) -> None:
    assert real.url is not None
    flush_every, line = 1000, 100
    words = [sys.executable, "-c", LOAD, real.url]
    writers = [
        subprocess.Popen([*words, f"n{number}", str(flush_every)], stdout=subprocess.PIPE) for number in range(3)
    ]
    recorded = []
    for writer in writers:
        assert writer.stdout is not None
        while int(writer.stdout.readline()) < 20_500:
            """They all record, and are killed in turn."""
        os.kill(writer.pid, signal.SIGKILL)
        lines = writer.stdout.read().split()
        writer.wait(10)
        writer.stdout.close()
        recorded.append(int(lines[-1]) if lines else 20_500)
    with real.client() as client, EdgeMetrics(client) as metrics:
        for number, count in enumerate(recorded):
            counted = metrics.total_invocations(None, f"n{number}")
            # What a writer said is that it had recorded so many; up to a line more it had not yet said.
            assert count - flush_every <= counted <= count + line
        assert metrics.total_invocations() == sum(metrics.total_invocations(None, f"n{at}") for at in range(3))


def facts(metrics: EdgeMetrics) -> dict[tuple[str, str], Any]:
    """Everything counted, durations in ns: which of them have been carried to whole ms depends on the flushes."""
    return {
        pair: (series.count, series.errors, series.slow, series.ms * 10**6 + series.ns, dict(series.buckets))
        for pair, series in metrics.snapshot().items()
    }


def record_share(url: str, namespace: str, share: Sequence[int], of: int) -> None:
    """Record every ``share``-th of the first spans, as one process."""
    start, step = share
    with redis.Redis.from_url(url) as client, EdgeMetrics(client, namespace=namespace, flush_every=200) as metrics:
        metrics.record_many(list(islice(spans(), of))[start::step])


@pytest.mark.exploration
def test_sixteen_processes_merge_to_what_one_would_have(valkey: Backend) -> None:
    assert valkey.url is not None
    count = 16_000
    record_share(valkey.url, "one", (0, 1), count)
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=record_share, args=(valkey.url, "many", (number, WRITERS), count))
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    with (
        valkey.client() as client,
        EdgeMetrics(client, namespace="one") as one,
        EdgeMetrics(client, namespace="many") as many,
    ):
        assert facts(many) == facts(one)
        assert many.timeline() == one.timeline()
        assert many.total_invocations() == count
