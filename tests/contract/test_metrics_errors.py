"""The latest failures, which many successes do not push out."""

from __future__ import annotations

import pytest
from conftest import Maker

from edge_redis import InvalidArgumentError
from support.metrics import TAG, made


def test_failures_outlive_many_successes(make: Maker) -> None:
    metrics = make("EdgeMetrics", max_recent=50, flush_every=20)
    failed = [made("f", ms=float(at), ok=False, error=f"E: {at} ü") for at in range(5)]
    for record in failed:
        metrics.record(record)
        metrics.record_many([made()] * 40)
    assert metrics.errors() == failed
    assert metrics.errors(2) == failed[-2:]
    assert metrics.errors(0) == []
    assert not any(record in failed for record in metrics.recent(10))
    metrics.reset()
    assert metrics.errors() == []


def test_failures_keep_to_their_bound(make: Maker) -> None:
    metrics = make("EdgeMetrics", max_errors=30)
    failed = [made(ms=float(at), ok=False) for at in range(100)]
    for at in range(0, 100, 10):
        metrics.record_many(failed[at : at + 10])
        metrics.flush()
    assert metrics.errors(1000) == failed[-30:]
    with make.backend.client() as client:
        assert int(client.hget(f"{TAG}:e:0:meta", "errors")) == 30


def test_no_failures_where_none_are_wanted(make: Maker) -> None:
    metrics = make("EdgeMetrics", max_errors=0)
    metrics.record(made(ok=False))
    assert (metrics.errors(), metrics.error_count()) == ([], 1)


@pytest.mark.parametrize("limit", [-1])
def test_a_bad_limit_is_refused(make: Maker, limit: int) -> None:
    with pytest.raises(InvalidArgumentError):
        make("EdgeMetrics").errors(limit)
