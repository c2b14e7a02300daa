"""Exceptions and signal handlers between any two bytecodes of recording, of a flush and of a query."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import fakeredis
import pytest

from edge_redis import EdgeMetrics
from support.interrupts import InterruptAt, Interrupted
from support.metrics import buffer_of, made, use_separate_buffer
from support.servers import Backend

FILES = ("_metrics/", "_services/blocking/metrics.py", "_core/operation.py")
STRIDES = [pytest.param(61, id="some points"), pytest.param(7, id="many points", marks=pytest.mark.exploration)]

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")


@pytest.fixture
def client() -> Iterator[Any]:
    with fakeredis.FakeRedis() as client:
        yield client


def new_metrics(client: Any, flush_every: int) -> EdgeMetrics:
    client.flushall()
    metrics: EdgeMetrics = use_separate_buffer(EdgeMetrics(client, flush_every=flush_every, flush_interval=3600.0))
    return metrics


def assert_sound(metrics: EdgeMetrics, certain: list[str], doubtful: str) -> None:
    """Assert that each certain record counts once, and the doubtful one at most once."""
    assert [metrics.total_invocations(name) for name in certain] == [1] * len(certain)
    counted = metrics.total_invocations(doubtful)
    assert counted in (0, 1)
    assert metrics.total_invocations() == len(metrics.recent()) == len(certain) + counted
    assert buffer_of(metrics).pending == 0


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("flush_every", [1, 2])
def test_an_exception_at_any_bytecode_loses_at_most_the_record_under_way(
    client: Any, stride: int, flush_every: int
) -> None:
    point, has_fired = 0, True
    while has_fired:
        with new_metrics(client, flush_every) as metrics:
            metrics.record(made("before"))
            try:
                with InterruptAt(point, FILES) as interrupt:
                    metrics.record(made("interrupted"))
            except Interrupted:
                """Raised on purpose."""
            metrics.record(made("after"))
            metrics.record(made("last"))
            assert_sound(metrics, ["before", "after", "last"], "interrupted")
        has_fired = interrupt.has_fired
        point += stride
    assert point > 1000


@pytest.mark.exploration
@pytest.mark.parametrize("stride", STRIDES)
def test_an_exception_at_any_bytecode_of_a_query_changes_no_count(client: Any, stride: int) -> None:
    point, has_fired = 0, True
    while has_fired:
        with new_metrics(client, 3) as metrics:
            for name in ("a", "b", "c", "d"):
                metrics.record(made(name, ok=False))
            try:
                with InterruptAt(point, FILES) as interrupt:
                    metrics.summary()
            except Interrupted:
                """Raised on purpose."""
            assert_sound(metrics, ["a", "b", "c", "d"], "none")
            assert len(metrics.errors()) == 4
        has_fired = interrupt.has_fired
        point += stride


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("flush_every", [1, 2])
def test_a_record_made_in_a_signal_handler_at_any_bytecode_counts(client: Any, stride: int, flush_every: int) -> None:
    point, has_fired = 0, True
    while has_fired:
        with new_metrics(client, flush_every) as metrics:
            metrics.record(made("before"))
            with InterruptAt(point, FILES, partial(metrics.record, made("handler"))) as interrupt:
                metrics.record(made("interrupted"))
            certain = ["before", "interrupted", *["handler"] * interrupt.has_fired]
            assert_sound(metrics, certain, "none")
        has_fired = interrupt.has_fired
        point += stride


@pytest.mark.parametrize("flush_every", [1, 20])
def test_a_real_signal_handler_that_records_does_not_deadlock(real: Backend, flush_every: int) -> None:
    handled = 0
    with real.client() as client, EdgeMetrics(client, flush_every=flush_every, flush_interval=3600.0) as metrics:
        metrics.record(made("main"))

        def handle(*_: object) -> None:
            nonlocal handled
            handled += 1
            metrics.record(made("handler"))

        before = signal.signal(signal.SIGALRM, handle)
        try:
            recorded = 1
            deadline = time.monotonic() + 30
            while handled < 20 and time.monotonic() < deadline:
                if recorded % 20 == 1:  # one at a time: a handler must end before the next signal
                    signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.0001 * (handled % 30))
                metrics.record(made("main"))
                recorded += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert handled >= 20
        assert (metrics.total_invocations("main"), metrics.total_invocations("handler")) == (recorded, handled)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_of_a_real_signal_handler_leaves_recording_sound(real: Backend) -> None:
    with real.client() as client, EdgeMetrics(client, flush_every=10, flush_interval=3600.0) as metrics:
        metrics.record(made())

        def handle(*_: object) -> None:
            raise Interrupted

        before = signal.signal(signal.SIGALRM, handle)
        recorded, interrupted = 1, 0
        try:
            for round_ in range(60):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.0003 * (round_ % 30))
                    deadline = time.monotonic() + 1  # an exception in a finalizer is not raised here
                    while time.monotonic() < deadline:
                        metrics.record(made())
                        recorded += 1
                except Interrupted:
                    interrupted += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        metrics.record(made())
        assert interrupted > 10
        assert recorded + 1 <= metrics.total_invocations() <= recorded + 1 + interrupted
        assert buffer_of(metrics).pending == 0
