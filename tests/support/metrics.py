"""Helpers of the metrics tests: exact answers to compare with, records, and real spans."""

from __future__ import annotations

import csv
import gzip
import math
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from edge_redis import InvocationRecord
from edge_redis._metrics.api import Metrics
from edge_redis._metrics.record_buffer import RecordBuffer

TAG = "er:{default:metrics0}"
WITHIN = 0.011
"""The relative error allowed in a percentile."""

START = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


def made(
    function_id: str = "f", node_id: str = "n", ms: float = 1.0, *, ok: bool = True, **more: Any
) -> InvocationRecord:
    return InvocationRecord(function_id, node_id, ms, ok, **more)


def exact_percentile(q: float, values: Iterable[float]) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(Fraction(str(q)) * len(ordered) / 100)) - 1]


def assert_close(got: float, exact: float) -> None:
    assert abs(got - exact) <= WITHIN * exact, (got, exact)


def component_of(service: Any) -> Metrics:
    """Return the component behind a service, or behind a test's wrapper of an asyncio service."""
    component: Metrics = getattr(service, "_target", service)._component
    return component


def buffer_of(service: Any) -> RecordBuffer:
    """Return the buffer of a service."""
    return component_of(service).writer.buffer


def use_separate_buffer(service: Any) -> Any:
    """Give ``service`` a buffer of its own, as it has in another process; return it."""
    component_of(service).writer.buffer = RecordBuffer()
    return service


def dump(client: Any) -> dict[bytes, Any]:
    """Return every key of the server with its contents, without the layout versions that precede the first write."""
    readers = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"stream": client.xrange,
        b"list": lambda key: client.lrange(key, 0, -1),
    }
    return {key: readers[client.type(key)](key) for key in client.scan_iter(count=1000) if not key.endswith(b":layout")}


def spans() -> Iterator[InvocationRecord]:
    """Yield real spans of a web shop as successful records."""
    folder = Path(os.environ.get("EDGE_REDIS_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
    path = folder / "function_spans.csv.gz"
    if not path.exists():
        pytest.skip(f"no {path.name} in {folder}: set EDGE_REDIS_DATA to the folder that has it")
    with gzip.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            when = datetime.fromtimestamp(START.timestamp() + int(row["start_us"]) / 1e6, UTC)
            yield InvocationRecord(
                row["func"], row["node"], int(row["duration_us"]) / 1000, success=True, timestamp=when
            )


def assert_series(
    metrics: Any, function_id: str | None, node_id: str | None, records: Sequence[InvocationRecord]
) -> None:
    """Assert the figures of one series, to which exactly these records belong."""
    summary = metrics.summary(function_id, node_id)
    total, errors = len(records), sum(not record.success for record in records)
    ns = sum(round(record.duration_ms * 1e6) for record in records)
    assert (summary["total"], summary["error_count"]) == (total, errors)
    assert summary["success_rate"] == (100.0 * (total - errors) / total if total else 100.0)
    assert summary["avg_latency"] == (ns / (total * 10**6) if total else 0.0)
    for q in (50, 95, 99):
        exact = exact_percentile(q, [record.duration_ms for record in records]) if records else 0.0
        assert_close(summary[f"p{q}"], exact)


def matching(
    records: Iterable[InvocationRecord], function_id: str | None, node_id: str | None
) -> list[InvocationRecord]:
    """Return the records that these filters select."""
    return [
        record for record in records if function_id in (None, record.function_id) and node_id in (None, record.node_id)
    ]


def some(count: int) -> list[InvocationRecord]:
    """Return records of some functions and nodes, of the last minutes."""
    pick, now = random.Random(5), datetime.now(UTC)
    return [
        made(
            pick.choice([f"f{number}" for number in range(5)]),
            pick.choice([f"n{number}" for number in range(4)]),
            pick.lognormvariate(2, 1.5),
            ok=pick.random() > 0.2,
            timestamp=now - timedelta(minutes=pick.randrange(4)),
        )
        for _ in range(count)
    ]


def answers(metrics: Any) -> dict[str, Any]:
    """Ask everything that adds up over shards."""
    found: dict[str, Any] = {}
    for filters in product((None, "f0", "f4", "none"), (None, "n1")):
        found[f"summary of {filters}"] = metrics.summary(*filters)
        found[f"below of {filters}"] = metrics.fraction_below(7.0, *filters)
        found[f"timeline of {filters}"] = {
            row["minute"]: row["total"] for row in metrics.timeline(*filters, minutes=6) if row["total"]
        }
    found["minute totals"] = [list(filter(None, metrics.minute_totals([name], 6)[name])) for name in ("f0", "none")]
    found["slo"] = metrics.slo_report(99.0, windows=(5,))
    found["series"] = metrics.series()
    found["stats"] = metrics.stats()
    for by, group_by in (("total", "function"), ("p95", "node"), ("error_count", "pair")):
        found[f"top {by}"] = metrics.top(by, 3, group_by=group_by)
    found["snapshot"] = {
        pair: (series.count, series.errors, series.sum_ms, series.buckets, series.max_ms)
        for pair, series in metrics.snapshot().items()
    }
    return found
