"""EdgeMetrics as the contract has it, on every server and in both APIs."""

from __future__ import annotations

import random
import socket
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest
from conftest import Maker

from support.deadline import eventually
from support.metrics import (
    TAG,
    assert_close,
    assert_series,
    dump,
    exact_percentile,
    made,
    matching,
    use_separate_buffer,
)

FILTERS = list(product((None, "f0", "f1", "f2"), (None, "n0", "n1")))


@pytest.fixture
def metrics(make: Maker) -> Any:
    return make("EdgeMetrics")


def some(count: int = 500, seed: int = 1, **more: Any) -> list[Any]:
    pick = random.Random(seed)
    return [
        made(
            f"f{pick.randrange(3)}",
            f"n{pick.randrange(2)}",
            pick.lognormvariate(2, 1.5),
            ok=pick.random() > 0.1,
            **more,
        )
        for _ in range(count)
    ]


def test_nothing_recorded(metrics: Any) -> None:
    assert metrics.total_invocations() == 0
    assert metrics.success_rate() == 100.0
    assert metrics.avg_latency_ms() == 0.0
    assert metrics.error_count() == 0
    assert metrics.percentile(99) == 0.0
    assert metrics.summary() == {
        "total": 0,
        "success_rate": 100.0,
        "avg_latency": 0.0,
        "error_count": 0,
        "p50": 0.0,
        "p95": 0.0,
        "p99": 0.0,
    }
    assert metrics.recent() == metrics.series() == []
    assert metrics.stats() == {"series": 0, "max_series": 10_000, "overflow": 0}


def test_every_combination_of_filters(metrics: Any) -> None:
    records = some()
    for record in records[:300]:
        metrics.record(record)
    metrics.record_many(records[300:])
    for function_id, node_id in FILTERS:
        of = matching(records, function_id, node_id)
        assert_series(metrics, function_id, node_id, of)
        errors = sum(not record.success for record in of)
        assert metrics.total_invocations(function_id, node_id) == len(of)
        assert metrics.error_count(node_id, function_id) == errors
        assert metrics.success_rate(function_id, node_id) == 100.0 * (len(of) - errors) / len(of)
        assert_close(metrics.percentile(90, function_id, node_id), exact_percentile(90, [r.duration_ms for r in of]))
    assert metrics.total_invocations("f9") == metrics.total_invocations("f0", "n9") == 0
    assert metrics.series() == sorted({(record.function_id, record.node_id) for record in records})


def test_means_are_exact(metrics: Any) -> None:
    for ms in (10.0, 20.0, 0.1, 0.2):
        metrics.record(made(ms=ms))
    assert metrics.avg_latency_ms() == 7.575
    metrics.record_many(made("long", ms=1e10) for _ in range(3))
    assert metrics.avg_latency_ms("long") == 1e10


def test_ids_that_look_like_others_are_kept_apart(metrics: Any) -> None:
    pairs = [
        ("a", "bc"),
        ("ab", "c"),
        ("all", "all"),
        ("*", "*"),
        ("f:a", "n"),
        ("a:b", "1:a"),
        ("ü", "\n"),
        ("a", "*"),
    ]
    for at, (function_id, node_id) in enumerate(pairs):
        metrics.record_many([made(function_id, node_id)] * (at + 1))
    for at, (function_id, node_id) in enumerate(pairs):
        assert metrics.total_invocations(function_id, node_id) == at + 1
    assert metrics.total_invocations("a") == 1 + 8
    assert metrics.total_invocations(None, "*") == 4 + 8
    assert metrics.series() == sorted(pairs)


def test_another_process_sees_what_was_flushed(make: Maker) -> None:
    writer, reader = make("EdgeMetrics", flush_interval=60.0), use_separate_buffer(make("EdgeMetrics"))
    writer.record_many([made()] * 7)
    assert reader.total_invocations() == 0
    writer.flush()
    assert reader.total_invocations() == 7


def test_one_process_sees_all_it_has_recorded(make: Maker) -> None:
    one, two = make("EdgeMetrics", flush_interval=60.0), make("EdgeMetrics", flush_interval=60.0)
    one.record(made())
    assert two.total_invocations() == 1


def test_flush_every_one_is_in_redis_when_record_returns(make: Maker) -> None:
    metrics = make("EdgeMetrics", flush_every=1, flush_interval=3600.0)
    reader = use_separate_buffer(make("EdgeMetrics"))
    for count in range(1, 6):
        metrics.record(made())
        assert reader.total_invocations() == count


def test_a_flush_comes_by_count(make: Maker) -> None:
    metrics = make("EdgeMetrics", flush_every=10, flush_interval=3600.0)
    reader = use_separate_buffer(make("EdgeMetrics"))
    metrics.record_many([made()] * 9)
    assert reader.total_invocations() == 0
    metrics.record(made())
    assert reader.total_invocations() == 10


def test_a_flush_comes_by_time(make: Maker) -> None:
    metrics = make("EdgeMetrics", flush_interval=0.02)
    reader = use_separate_buffer(make("EdgeMetrics"))
    metrics.record(made())
    assert eventually(lambda: reader.total_invocations() or None) == 1


def test_a_flush_comes_with_close(make: Maker) -> None:
    with make("EdgeMetrics", flush_interval=3600.0) as metrics:
        metrics.record(made())
    assert make("EdgeMetrics").total_invocations() == 1


def test_percentiles(metrics: Any) -> None:
    values = [0.1 * 1.02**at for at in range(878)]  # to an hour
    metrics.record_many(made(ms=value) for value in values)
    for q in (0, 1, 50, 95, 99, 99.9, 100):
        assert_close(metrics.percentile(q), exact_percentile(q, values))


def test_zero_takes_no_time(metrics: Any) -> None:
    metrics.record_many([made(ms=0), made(ms=0.0), made(ms=5)])
    assert (metrics.percentile(50), metrics.avg_latency_ms()) == (0.0, 5 / 3)
    assert_close(metrics.percentile(100), 5.0)


def test_recent_are_the_latest_oldest_first(metrics: Any) -> None:
    records = [made(f"f{at}", ms=at, ok=at % 3 > 0, error="" if at % 3 else f"E{at}") for at in range(450)]
    metrics.record_many(records[:250])
    metrics.flush()
    metrics.record_many(records[250:])
    assert metrics.recent() == records[-100:]
    assert metrics.recent(3) == records[-3:]
    assert metrics.recent(0) == []
    assert metrics.recent(1000) == records


def test_recent_records_keep_to_their_bound(make: Maker) -> None:
    metrics = make("EdgeMetrics", max_recent=50, flush_every=7)
    records = [made(ms=at) for at in range(400)]
    for record in records[:340]:
        metrics.record(record)
    for record in records[340:]:
        metrics.record(record)
        kept = metrics.recent(1000)
        end = records.index(record) + 1
        assert min(end, 50) <= len(kept) <= 56  # entries are of seven, or of the one that a query has flushed
        assert kept == records[end - len(kept) : end]
    metrics.record_many(records)
    assert metrics.recent(1000) == records[-50:]
    with make.backend.client() as client:
        assert int(client.hget(f"{TAG}:e:0:meta", "recent")) == 50


def test_no_recent_records_where_none_are_wanted(make: Maker) -> None:
    metrics = make("EdgeMetrics", max_recent=0)
    metrics.record_many([made()] * 10)
    assert (metrics.recent(), metrics.total_invocations()) == ([], 10)


def test_recent_over_many_entries(make: Maker) -> None:
    metrics = make("EdgeMetrics", flush_every=1)
    records = [made(ms=at) for at in range(260)]
    for record in records:
        metrics.record(record)
    assert metrics.recent(260) == records
    assert metrics.recent(255) == records[-255:]


def test_long_errors_are_cut(metrics: Any) -> None:
    metrics.record(made(ok=False, error="x" * 5000))
    assert metrics.recent()[0].error == "x" * 1000


def test_times_are_utc(metrics: Any) -> None:
    naive = datetime(2026, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001 -- the case
    elsewhere = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    metrics.record_many([made(timestamp=naive), made(timestamp=elsewhere)])
    first, second = metrics.recent()
    assert (first.timestamp, first.timestamp.tzinfo) == (naive.replace(tzinfo=UTC), UTC)
    assert (second.timestamp, second.timestamp.tzinfo) == (elsewhere, UTC)


def test_the_timeline_is_by_the_record_s_minute(make: Maker) -> None:
    metrics = make("EdgeMetrics", timeline_minutes=180)
    now = datetime.now(UTC)
    this = now.replace(second=0, microsecond=0)

    def ago(minutes: int) -> datetime:
        return this - timedelta(minutes=minutes) + timedelta(seconds=59)

    metrics.record_many([made("f", "n", 4.0, timestamp=ago(3)), made("f", "m", 8.0, ok=False, timestamp=ago(3))])
    metrics.record(made("g", "n", 1.0, timestamp=ago(150)))
    metrics.record_many([made("old", timestamp=ago(181)), made("ahead", timestamp=ago(-70))])
    rows = {row["minute"]: row for row in metrics.timeline(minutes=180)}
    assert len(rows) == 180
    assert sum(row["total"] for row in rows.values()) == 3
    start = ago(3).replace(second=0)
    assert rows[start] == {
        "minute": start,
        "total": 2,
        "errors": 1,
        "slow": 0,
        "success_rate": 50.0,
        "avg_latency_ms": 6.0,
    }
    assert rows[ago(150).replace(second=0)]["total"] == 1
    assert [sum(row["total"] for row in metrics.timeline(*by)) for by in (("f",), (None, "n"), ("f", "n"))] == [2, 1, 1]
    assert metrics.total_invocations() == 5
    with make.backend.client() as client:
        hours = {key.split(b":")[5] for key in client.scan_iter(match=f"{TAG}:e:0:t*")}
        assert len(hours) == len({ago(3).hour, ago(150).hour})  # what is too old or too far ahead leaves no key
    minutes = [row["minute"] for row in metrics.timeline(minutes=5)]
    assert minutes == sorted(minutes)
    assert minutes[-1] - minutes[0] == timedelta(minutes=4)
    assert this <= minutes[-1] <= datetime.now(UTC)


def test_minutes_expire_by_themselves(make: Maker) -> None:
    metrics = make("EdgeMetrics", timeline_minutes=60)
    metrics.record(made())
    metrics.flush()
    with make.backend.client() as client:
        keys = list(client.scan_iter(match=f"{TAG}:e:0:t*"))
        assert len(keys) == 4
        for key in keys:
            assert 3600 - 5 <= client.ttl(key) <= 2 * 3600 + 5


def test_a_timeline_longer_than_a_call_reads(make: Maker) -> None:
    metrics = make("EdgeMetrics", timeline_minutes=1440)
    now = datetime.now(UTC)
    metrics.record_many(made(timestamp=now - timedelta(minutes=at)) for at in range(0, 1200, 7))
    assert sum(row["total"] for row in metrics.timeline(minutes=1300)) == 172
    assert all(row["total"] in (0, 1) for row in metrics.timeline(minutes=1300))


@pytest.mark.parametrize("minutes", [1, 61, 1300])
def test_the_totals_of_minutes_are_those_of_the_timelines(make: Maker, minutes: int) -> None:
    metrics = make("EdgeMetrics", timeline_minutes=1440)
    now = datetime.now(UTC)
    metrics.record_many(
        made(name, timestamp=now - timedelta(minutes=at)) for name in ("f", "g") for at in range(0, 1200, 7 + len(name))
    )
    names = ["never", "g", "f", "_other"]

    def timelines() -> dict[str, list[int]]:
        return {name: [row["total"] for row in metrics.timeline(name, minutes=minutes)] for name in names}

    before, found = timelines(), metrics.minute_totals(names, minutes)
    assert found in (before, timelines())  # the minute may have ended meanwhile
    assert [len(found[name]) for name in names] == [minutes] * 4
    assert not any(found["never"])
    assert metrics.minute_totals([]) == {}


def test_past_max_series_new_pairs_are_others(make: Maker) -> None:
    metrics = make("EdgeMetrics", max_series=3, flush_every=20)
    pairs = [(f"f{at % 5}", f"n{at % 2}") for at in range(10)]
    for _ in range(10):
        for pair in pairs:
            metrics.record(made(*pair, ok=False))
    first = pairs[:3]
    assert metrics.total_invocations() == metrics.error_count() == 100
    assert metrics.series() == sorted([*first, ("_other", "_other")])
    assert [metrics.total_invocations(*pair) for pair in first] == [10, 10, 10]
    assert metrics.total_invocations("_other") == metrics.total_invocations(None, "_other") == 70
    assert metrics.total_invocations("_other", "_other") == 70
    assert metrics.total_invocations("f4", "n0") == 0
    assert sum(metrics.total_invocations(function_id) for function_id in ("f0", "f1", "f2", "_other")) == 100
    assert metrics.stats() == {"series": 4, "max_series": 3, "overflow": 70}
    larger = make("EdgeMetrics", max_series=5)
    larger.record_many(made(*pair) for pair in pairs)
    assert larger.series() == sorted([*pairs[:5], ("_other", "_other")])
    assert sum(row["total"] for row in metrics.timeline("_other", minutes=5)) == 75


def test_reset_begins_anew_and_leaves_nothing(make: Maker) -> None:
    metrics, other = make("EdgeMetrics"), make("EdgeMetrics", namespace="other")
    other.record(made())
    other.flush()
    metrics.record_many(some(300))
    metrics.record_many(made(f"g{at}") for at in range(60))
    metrics.flush()
    metrics.record(made())
    metrics.reset()
    assert metrics.total_invocations() == 0
    assert metrics.recent() == metrics.series() == []
    assert sum(row["total"] for row in metrics.timeline()) == 0
    with make.backend.client() as client:
        left = {key.decode().rpartition(":")[0] for key in dump(client) if key.startswith(TAG.encode())}
    assert left == {TAG, f"{TAG}:flushes", f"{TAG}:repeats"}
    assert other.total_invocations() == 1
    metrics.record(made())
    assert metrics.total_invocations() == 1


def test_namespaces_are_apart(make: Maker) -> None:
    one, two = make("EdgeMetrics", namespace="a"), make("EdgeMetrics", namespace="a:b")
    one.record(made())
    assert (one.total_invocations(), two.total_invocations()) == (1, 0)


@pytest.mark.parametrize("make", ["blocking"], indirect=True)  # "async with": see the unit tests of track
def test_track_records_for_this_machine(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    with metrics.track("f"):
        pass
    metrics.track("g", "n")(len)([])
    (first, second) = metrics.recent()
    assert (first.function_id, first.node_id) == ("f", socket.gethostname())
    assert (second.function_id, second.node_id) == ("g", "n")
    with make("EdgeMetrics", node_id="edge-7").track("f"):
        pass
    assert metrics.total_invocations(None, "edge-7") == 1


@pytest.mark.parametrize("backend", ["valkey", "redis"], indirect=True)  # it is theirs to say how a hash is kept
def test_a_histogram_stays_compact(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    metrics.record_many(made(ms=0.1 * 1.01**at) for at in range(1750))
    metrics.flush()
    with make.backend.client() as client:
        hashes = [key for key in client.scan_iter() if client.type(key) == b"hash"]
        assert max(map(client.hlen, hashes)) > 180
        assert {client.object("encoding", key) for key in hashes} == {b"listpack"}
