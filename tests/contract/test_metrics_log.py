"""The write-ahead log of a writer: included in every query of every process, and bounded."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from conftest import Maker

from edge_redis import CorruptDataError
from edge_redis._io.blocking_runner import BlockingRunner
from support.metrics import TAG, assert_series, component_of, made, use_separate_buffer

WRITERS = f"{TAG}:e:0:writers"


def count_bodies(client: Any) -> int:
    """Return the number of bodies in all write-ahead logs."""
    return sum(client.llen(key) for key in client.scan_iter(match=f"{TAG}:e:0:wal:*", count=1000))


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
        lambda metrics: sum(map(sum, metrics.minute_totals(["f0", "f1", "f2"]).values())),
        lambda metrics: sum(series.count for series in metrics.snapshot().values()),
        lambda metrics: sum(row["total"] for row in metrics.top()),
        lambda metrics: metrics.slo_report(99.0)["total"],
        lambda metrics: len(metrics.recent()),
    ],
)
def test_a_query_of_another_process_includes_the_log(make: Maker, writer: Any, query: Any) -> None:
    fill(writer, 5)
    with make.backend.client() as client:
        assert 6 <= count_bodies(client) < 5 * 6  # each batch has a pair of each log, and most extend the last body
    assert query(use_separate_buffer(make("EdgeMetrics"))) == 50


def test_the_log_is_bounded(make: Maker, writer: Any) -> None:
    with make.backend.client() as client:
        records = fill(writer, 40)
        assert count_bodies(client) < 6 * 30
        writer.flush()
        assert count_bodies(client) == 0
        assert not client.exists(WRITERS)
    assert_series(writer, None, None, records)


def test_the_logs_of_a_writer_are_compacted_by_different_calls(make: Maker) -> None:
    writer = make("EdgeMetrics", flush_every=6, flush_interval=3600.0)
    with make.backend.client() as client:
        lengths = []
        for batch in range(80):
            writer.record_many([made(f"f{at}", ms=1.1**batch) for at in range(6)])  # another bucket in each batch
            lengths.append(sorted(client.llen(key) for key in client.scan_iter(match=f"{TAG}:e:0:wal:*", count=1000)))
    assert 20 < max(map(max, lengths)) < 30
    emptied = [sum(later) - sum(earlier) < 0 for earlier, later in pairwise(lengths)]
    assert sum(emptied) == 6
    assert writer.total_invocations() == 480


def test_batches_of_the_same_pairs_stay_one_body(make: Maker) -> None:
    writer = make("EdgeMetrics", flush_every=6, flush_interval=3600.0)
    other = use_separate_buffer(make("EdgeMetrics"))
    records = [made(f"f{at}", ms=1.0 + at, ok=at > 0) for at in range(6)]
    with make.backend.client() as client:
        for batch in range(20):
            writer.record_many(records)
            assert count_bodies(client) == 6
            if batch % 7 == 6:
                assert other.total_invocations() == 6 * (batch + 1)
                assert count_bodies(client) == 0
    assert_series(writer, None, None, 20 * records)


def test_a_flush_of_more_than_one_call_adds_up_leaves_nothing_in_the_log(make: Maker) -> None:
    writer = make("EdgeMetrics", flush_interval=3600.0)
    with make.backend.client() as client:
        for _ in range(2):
            writer.record_many([made(f"f{at}", f"n{at}") for at in range(40)])
            writer.flush()
            assert count_bodies(client) == 0
    assert writer.total_invocations() == 80


def test_a_body_that_the_writer_does_not_know_stays(make: Maker) -> None:
    """As after a failover to a replica that has not seen a query compact the log."""
    writer = make("EdgeMetrics", flush_every=2, flush_interval=3600.0)
    with make.backend.client() as client:
        writer.record_many([made()] * 2)
        (key,) = client.scan_iter(match=f"{TAG}:e:0:wal:*", count=1000)
        older = client.lrange(key, 0, -1)
        use_separate_buffer(make("EdgeMetrics")).total_invocations()
        writer.record_many([made()] * 3)
        client.delete(key)
        client.rpush(key, *older)
        writer.record_many([made()] * 4)
        assert client.llen(key) == 2
    assert writer.total_invocations() == 2 + 2 + 4


def read_fields(client: Any) -> set[tuple[bytes, bytes, bytes]]:
    """Return the fields of all series, with their values."""
    keys = [key for kind in "st" for key in client.scan_iter(match=f"{TAG}:e:0:{kind}*", count=1000)]
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.hgetall(key)
    found = pipeline.execute()
    return {(key, *field) for key, fields in zip(keys, found, strict=True) for field in fields.items()}


def test_a_call_that_compacts_changes_a_bounded_number_of_fields(make: Maker) -> None:
    metrics = make("EdgeMetrics", flush_every=60, flush_interval=3600.0)
    records = [made(f"f{at % 30}", f"n{at % 42}", 1.1 ** (at % 97)) for at in range(180)]
    for at in range(0, 180, 60):
        metrics.record_many(records[at : at + 60])
    (scripts,) = component_of(metrics).shards.of(1)
    changed = []
    with make.backend.client() as client:
        runner = BlockingRunner(client)
        (writer,) = client.smembers(WRITERS)
        is_left = True
        while is_left:
            before = read_fields(client)
            is_left = runner.run(scripts.compact(writer.decode())) > 0
            changed.append(len(read_fields(client) - before))
    assert len(changed) > 2
    assert max(changed) <= 1200
    assert_series(metrics, None, None, records)


def test_logs_that_get_more_than_one_call_compacts_stay_bounded(make: Maker) -> None:
    metrics = make("EdgeMetrics", flush_every=20, flush_interval=3600.0)
    with make.backend.client() as client:
        for batch in range(50):
            metrics.record_many([made(f"f{(20 * batch + at) % 400}", f"n{at}") for at in range(20)])
        assert count_bodies(client) < 6 * 30
    assert metrics.total_invocations() == 50 * 20


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


DAMAGED = [
    b"",
    b"nonsense",
    b"5",
    b"\xff",
    b"[]",
    b"[0]",
    b"[0,[[]]]",
    b"[0,[5]]",
    b'[0,[["f","n",0,0,1,0,[1],[],[],1,1]]]',
]


@pytest.mark.parametrize("body", DAMAGED)
def test_a_damaged_body_is_corrupt(make: Maker, body: bytes) -> None:
    metrics = make("EdgeMetrics")
    with make.backend.client() as client:
        client.rpush(f"{TAG}:e:0:wal:strange:0", body)
        client.sadd(WRITERS, "strange")
        with pytest.raises(CorruptDataError):
            metrics.total_invocations()
        client.delete(f"{TAG}:e:0:wal:strange:0")
        metrics.record(made())
        assert metrics.total_invocations() == 1
