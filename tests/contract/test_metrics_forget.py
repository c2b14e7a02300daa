"""Forgetting the series of functions and nodes that are gone, and when counts began."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import Maker

from edge_redis import CorruptDataError, InvalidArgumentError, InvalidKeyError
from support.metrics import TAG, dump, made, use_separate_buffer


@pytest.fixture
def metrics(make: Maker) -> Any:
    metrics = make("EdgeMetrics", max_series=5)
    metrics.record_many([made("f", "n"), made("f", "m"), made("g", "n", ok=False), made("g", "m"), made("h", "m")])
    return metrics


def test_a_forgotten_node_leaves_exports_and_rankings(metrics: Any) -> None:
    assert metrics.forget(node_id="n") == 2
    assert metrics.series() == [("f", "m"), ("g", "m"), ("h", "m")]
    assert list(metrics.snapshot()) == metrics.series()
    assert [row["node_id"] for row in metrics.top(group_by="node")] == ["m"]
    assert metrics.stats()["series"] == 3


def test_a_query_for_what_was_forgotten_answers_as_for_what_never_was(metrics: Any) -> None:
    metrics.forget(node_id="n")
    never = metrics.summary("never")
    assert metrics.summary(None, "n") == metrics.summary("f", "n") == metrics.summary("g", "n") == never
    assert sum(row["total"] for row in metrics.timeline(None, "n")) == 0
    assert sum(row["total"] for row in metrics.timeline("f", "n")) == 0


def test_totals_and_the_other_filters_stay(metrics: Any) -> None:
    metrics.forget(node_id="n")
    assert (metrics.total_invocations(), metrics.error_count()) == (5, 1)
    assert [metrics.total_invocations(name) for name in "fgh"] == [2, 2, 1]
    assert metrics.total_invocations(None, "m") == 3
    assert len(metrics.recent()) == 5
    assert sum(row["total"] for row in metrics.timeline()) == 5


def test_a_function_or_one_pair_is_forgotten_alone(metrics: Any) -> None:
    assert metrics.forget("f") == 2
    assert (metrics.total_invocations("f"), metrics.total_invocations(None, "n")) == (0, 2)
    assert metrics.forget("g", "m") == 1
    assert (metrics.total_invocations("g", "m"), metrics.total_invocations("g")) == (0, 2)
    assert metrics.series() == [("g", "n"), ("h", "m")]
    assert metrics.forget("f") == 0


def test_a_forgotten_node_that_comes_back_counts_from_zero_and_is_not_moved_under_other(metrics: Any) -> None:
    metrics.record(made("extra"))
    assert metrics.total_invocations("_other") == 1
    metrics.forget(node_id="n")
    metrics.record_many([made("f", "n")] * 3)
    assert metrics.total_invocations("f", "n") == metrics.total_invocations(None, "n") == 3
    assert metrics.total_invocations("f") == 5
    assert ("f", "n") in metrics.series()


def test_records_of_another_writer_are_not_moved_under_other(make: Maker, metrics: Any) -> None:
    writer = use_separate_buffer(make("EdgeMetrics", flush_every=10, flush_interval=3600.0))
    writer.record_many([made("f", "n")] * 10)  # left in that writer's log
    metrics.forget(node_id="n")
    assert metrics.stats()["overflow"] == 0
    assert metrics.total_invocations("f") == 12


@pytest.mark.parametrize("forgotten", [{"function_id": "f"}, {"node_id": "n"}, {"function_id": "f", "node_id": "n"}])
def test_a_reset_leaves_no_key_of_what_was_forgotten(make: Maker, forgotten: dict[str, str]) -> None:
    metrics = make("EdgeMetrics")
    metrics.record(made("f", "n"))
    assert metrics.forget(**forgotten) == 1
    metrics.reset()
    with make.backend.client() as client:
        assert not [key for key in dump(client) if b":e:0:" in key]


def test_many_pairs_are_forgotten_and_leave_no_key(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    metrics.record_many(made(f"f{at}", "gone") for at in range(35))
    metrics.record(made("stays", "here"))
    assert metrics.forget(node_id="gone") == 35
    with make.backend.client() as client:
        assert not [key for key in dump(client) if b"gone" in key]
    assert metrics.series() == [("stays", "here")]


def test_forgetting_everything_is_refused(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    with pytest.raises(InvalidArgumentError, match="reset"):
        metrics.forget()
    with pytest.raises(InvalidKeyError):
        metrics.forget("")


def started(metrics: Any, pair: tuple[str, str] = ("f", "n")) -> datetime:
    return datetime.fromtimestamp(metrics.snapshot()[pair].started_ms / 1000, UTC)


def test_the_start_of_a_pair_is_its_first_record_and_stays(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    before = datetime.now(UTC)
    metrics.record(made())
    start = started(metrics)
    assert before - timedelta(milliseconds=1) <= start <= datetime.now(UTC)
    metrics.record(made(timestamp=before - timedelta(minutes=5)))
    assert started(metrics) == started(use_separate_buffer(make("EdgeMetrics"))) == start


@pytest.mark.parametrize("ahead", [-timedelta(days=400), timedelta(days=400)])
def test_the_start_is_near_the_server_s_clock_whatever_the_record_says(make: Maker, ahead: timedelta) -> None:
    metrics = make("EdgeMetrics")
    metrics.record(made(timestamp=datetime.now(UTC) + ahead))
    assert datetime.now(UTC) - timedelta(minutes=61) < started(metrics) <= datetime.now(UTC)


@pytest.mark.parametrize("begin_anew", [lambda metrics: metrics.reset(), lambda metrics: metrics.forget("f")])
def test_counts_that_begin_anew_have_a_later_start(make: Maker, begin_anew: Any) -> None:
    metrics = make("EdgeMetrics")
    metrics.record(made())
    metrics.flush()
    between = datetime.now(UTC)
    begin_anew(metrics)
    metrics.record(made(timestamp=between - timedelta(seconds=30)))
    assert started(metrics) >= between - timedelta(milliseconds=1)


def test_the_longest_duration_of_a_pair_is_exact(make: Maker) -> None:
    metrics = make("EdgeMetrics", flush_every=2)
    for ms in (3.3, 17.123456789, 0.1, 5.0):
        metrics.record(made(ms=ms))
    metrics.record(made("zero", ms=0.0))
    found = metrics.snapshot()
    assert (found["f", "n"].max_ms, found["zero", "n"].max_ms) == (17.123456789, 0.0)


def test_a_damaged_time_is_corrupt(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    metrics.record(made())
    metrics.flush()
    with make.backend.client() as client:
        for field, value in (("b", "x"), ("x", "y")):
            client.hset(f"{TAG}:e:0:s:p:1:fn", field, value)
            with pytest.raises(CorruptDataError):
                metrics.snapshot()
            client.hdel(f"{TAG}:e:0:s:p:1:fn", field)
