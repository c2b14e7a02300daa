"""Reports for operators: rankings, and whether an objective is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import Maker

from edge_redis import InvalidArgumentError, InvalidKeyError, InvalidTypeError
from support.metrics import WITHIN, made


@pytest.fixture
def filled(make: Maker) -> Any:
    metrics = make("EdgeMetrics")
    metrics.record_many([made("quick", "n", 1.0)] * 50)
    metrics.record_many([made("slow", "m", 900.0)] * 5)
    metrics.record_many([made("faulty", "n", 10.0, ok=False)] * 3 + [made("faulty", "m", 10.0)] * 1)
    return metrics


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("total", ["quick", "slow", "faulty"]),
        ("error_count", ["faulty", "quick", "slow"]),
        ("error_rate", ["faulty", "quick", "slow"]),
        ("avg_latency", ["slow", "faulty", "quick"]),
        ("total_ms", ["slow", "quick", "faulty"]),
        ("p50", ["slow", "faulty", "quick"]),
        ("p99", ["slow", "faulty", "quick"]),
    ],
)
def test_top_functions(filled: Any, by: str, order: list[str]) -> None:
    assert [row["function_id"] for row in filled.top(by)] == order
    assert [row["function_id"] for row in filled.top(by, 1)] == order[:1]


def test_a_row_of_top_is_a_summary(filled: Any) -> None:
    (row,) = filled.top("error_rate", 1)
    assert row == {
        "function_id": "faulty",
        "node_id": None,
        **filled.summary("faulty"),
        "error_rate": 75.0,
        "total_ms": 40.0,
    }


def test_top_nodes_and_pairs(filled: Any) -> None:
    nodes = filled.top(group_by="node")
    assert [(row["function_id"], row["node_id"], row["total"]) for row in nodes] == [(None, "n", 53), (None, "m", 6)]
    pairs = filled.top("error_count", 2, group_by="pair")
    assert [(row["function_id"], row["node_id"]) for row in pairs] == [("faulty", "n"), ("faulty", "m")]
    assert filled.top(limit=0) == []


def test_top_of_more_than_one_call_reads(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    metrics.record_many(made(f"f{at:03}") for at in range(75) for _ in range(at + 1))
    assert [(row["function_id"], row["total"]) for row in metrics.top(limit=3)] == [
        ("f074", 75),
        ("f073", 74),
        ("f072", 73),
    ]
    assert len(metrics.top("p50", limit=1000)) == 75


def test_top_of_nothing(make: Maker) -> None:
    assert make("EdgeMetrics").top() == []


def test_the_fraction_below_a_latency(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    assert metrics.fraction_below(1.0) == 100.0
    metrics.record_many(made(ms=float(ms)) for ms in range(1, 1001))
    for latency in (1.5, 10.0, 250.0, 999.0, 5000.0):
        exact = min(latency, 1000) // 1 / 10
        assert abs(metrics.fraction_below(latency) - exact) <= 2 * WITHIN * exact
    assert metrics.fraction_below(0.5) == 0.0
    assert metrics.fraction_below(250.0, "f", "n") == metrics.fraction_below(250.0)


def test_an_objective_counts_failures_and_slow_successes(make: Maker) -> None:
    metrics = make("EdgeMetrics", slow_ms=100.0, timeline_minutes=180)
    now = datetime.now(UTC)
    before = now - timedelta(minutes=30)
    metrics.record_many([made(ms=1.0, timestamp=before)] * 90)
    metrics.record_many([made(ms=100.0, timestamp=before)] * 5)  # not over it
    metrics.record_many([made(ms=100.1, timestamp=before)] * 3)
    metrics.record_many([made(ms=500.0, ok=False, timestamp=before)] * 2)
    metrics.record_many([made("g", timestamp=now)] * 100)
    kept = metrics.slo_report(99.0, windows=(5, 60))
    assert {name: kept[name] for name in ("objective", "slow_ms", "total", "bad", "good_percent")} == {
        "objective": 99.0,
        "slow_ms": 100.0,
        "total": 200,
        "bad": 5,
        "good_percent": 97.5,
    }
    recent, hour = kept["windows"]
    assert (recent["minutes"], recent["total"], recent["bad"], recent["burn_rate"]) == (5, 100, 0, 0.0)
    assert (hour["minutes"], hour["total"], hour["bad"], hour["good_percent"]) == (60, 200, 5, 97.5)
    assert hour["burn_rate"] == pytest.approx(2.5)
    of_f = metrics.slo_report(90.0, "f", windows=[60])
    assert (of_f["total"], of_f["bad"]) == (100, 5)
    assert of_f["windows"][0]["burn_rate"] == pytest.approx(0.5)
    assert sum(row["slow"] for row in metrics.timeline()) == 3


def test_without_slow_ms_only_failures_are_bad(filled: Any) -> None:
    kept = filled.slo_report(99.0, windows=[60])
    assert (kept["slow_ms"], kept["bad"], kept["total"]) == (None, 3, 59)
    assert filled.slo_report(50.0, "nobody")["windows"] == [
        {"minutes": minutes, "total": 0, "bad": 0, "good_percent": 100.0, "burn_rate": 0.0} for minutes in (5, 60)
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("top", ("",), InvalidKeyError),
        ("top", ("size",), InvalidArgumentError),
        ("top", (5,), InvalidTypeError),
        ("top", ("total", -1), InvalidArgumentError),
        ("top", ("total", 1.0), InvalidTypeError),
        ("fraction_below", (-1.0,), InvalidArgumentError),
        ("fraction_below", (float("nan"),), InvalidArgumentError),
        ("fraction_below", ("1",), InvalidTypeError),
        ("minute_totals", ("f",), InvalidTypeError),
        ("minute_totals", (None,), InvalidTypeError),
        ("minute_totals", ([None],), InvalidTypeError),
        ("minute_totals", ([""],), InvalidKeyError),
        ("minute_totals", (["f"], 0), InvalidArgumentError),
        ("minute_totals", (["f"], 1441), InvalidArgumentError),
        ("slo_report", (0,), InvalidArgumentError),
        ("slo_report", (100,), InvalidArgumentError),
        ("slo_report", (float("inf"),), InvalidArgumentError),
        ("slo_report", (True,), InvalidTypeError),
        ("slo_report", (99, ""), InvalidKeyError),
        ("slo_report", (99, None, None, ()), InvalidTypeError),
        ("slo_report", (99, None, None, "5"), InvalidTypeError),
        ("slo_report", (99, None, None, 5), InvalidTypeError),
        ("slo_report", (99, None, None, (0,)), InvalidArgumentError),
        ("slo_report", (99, None, None, (5, 1441)), InvalidArgumentError),
    ],
)  # fmt: skip
def test_bad_arguments(make: Maker, name: str, arguments: tuple[Any, ...], error: type[Exception]) -> None:
    metrics = make("EdgeMetrics")
    with pytest.raises(error):
        getattr(metrics, name)(*arguments)
    with pytest.raises(InvalidArgumentError):
        metrics.top(group_by="cloud")


@pytest.mark.parametrize("slow_ms", [0, -1.0, float("nan")])
def test_a_bad_slow_ms(make: Maker, slow_ms: float) -> None:
    with pytest.raises(InvalidArgumentError):
        make("EdgeMetrics", slow_ms=slow_ms)


@pytest.mark.parametrize("objective", [0.99, 100.0])
def test_an_objective_that_is_no_percentage_is_refused(make: Maker, objective: float) -> None:
    with pytest.raises(InvalidArgumentError, match="must be a percentage from 1 to under 100"):
        make("EdgeMetrics").slo_report(objective)
