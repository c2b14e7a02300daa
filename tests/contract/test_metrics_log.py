"""The write-ahead log of a writer: included in every query of every process, and bounded."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Maker

from edge_redis import CorruptDataError
from support.metrics import TAG, assert_series, made, use_separate_buffer

WRITERS = f"{TAG}:e:0:writers"


def count_bodies(client: Any) -> int:
    """Return the number of bodies in all write-ahead logs."""
    return sum(client.llen(f"{TAG}:e:0:wal:".encode() + writer) for writer in client.smembers(WRITERS))


@pytest.fixture
def writer(make: Maker) -> Any:
    return make("EdgeMetrics", flush_every=10, flush_interval=3600.0)


def fill(writer: Any, batches: int) -> list[Any]:
    records = [made(f"f{at % 3}", f"n{at % 2}", 1.0 + at, ok=at % 4 > 0) for at in range(10 * batches)]
    for record in records:
        writer.record(record)
    return records


@pytest.mark.parametrize(
    "query",
    [
        lambda metrics: metrics.total_invocations(),
        lambda metrics: metrics.summary()["total"],
        lambda metrics: sum(row["total"] for row in metrics.timeline()),
        lambda metrics: sum(series.count for series in metrics.snapshot().values()),
        lambda metrics: sum(row["total"] for row in metrics.top()),
        lambda metrics: metrics.slo_report(99.0)["total"],
        lambda metrics: len(metrics.recent()),
    ],
)
def test_a_query_of_another_process_includes_the_log(make: Maker, writer: Any, query: Any) -> None:
    fill(writer, 5)
    with make.backend.client() as client:
        assert count_bodies(client) == 5
    assert query(use_separate_buffer(make("EdgeMetrics"))) == 50


def test_the_log_is_bounded(make: Maker, writer: Any) -> None:
    with make.backend.client() as client:
        records = fill(writer, 40)
        assert count_bodies(client) < 16
        writer.flush()
        assert count_bodies(client) == 0
        assert not client.exists(WRITERS)
    assert_series(writer, None, None, records)


def test_a_pair_has_its_series_from_the_time_it_is_logged(make: Maker) -> None:
    first = make("EdgeMetrics", flush_every=10, flush_interval=3600.0, max_series=1)
    second = use_separate_buffer(make("EdgeMetrics", max_series=1))
    first.record_many([made("early")] * 10)
    second.record(made("late"))
    second.flush()
    assert second.series() == [("_other", "_other"), ("early", "n")]
    assert second.stats()["overflow"] == 1


def test_a_reset_removes_the_log(make: Maker, writer: Any) -> None:
    fill(writer, 3)
    other = use_separate_buffer(make("EdgeMetrics"))
    other.reset()
    assert other.total_invocations() == 0
    with make.backend.client() as client:
        assert list(client.scan_iter(match=f"{TAG}:e:*")) == []
    writer.record(made())
    assert writer.total_invocations() == 1


@pytest.mark.parametrize("body", [b"", b"nonsense", b"5", b"\xff"])
def test_a_damaged_body_is_corrupt(make: Maker, body: bytes) -> None:
    metrics = make("EdgeMetrics")
    with make.backend.client() as client:
        client.rpush(f"{TAG}:e:0:wal:strange", body)
        client.sadd(WRITERS, "strange")
        with pytest.raises(CorruptDataError):
            metrics.total_invocations()
        client.delete(f"{TAG}:e:0:wal:strange")
        metrics.record(made())
        assert metrics.total_invocations() == 1
