"""A monitor on a clock of its own: heartbeats and checks of a recording, judged by the recording's time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge_redis import EdgeNode, InvalidTypeError

RECORDED = datetime(2016, 3, 15, 8, 47, 28, 545_000, tzinfo=UTC)


class Clock:
    """Returns the time that a test sets."""

    def __init__(self) -> None:
        self.now = RECORDED

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize("by_object", [False, True])
def test_ages_and_times_are_those_of_the_clock_to_the_millisecond(make: Any, by_object: Any) -> None:
    clock = Clock()
    monitor = make("HealthMonitor", 8.0, clock=clock)
    node = EdgeNode("n1", "n1", last_heartbeat=RECORDED)
    monitor.register(node)
    clock.now = beat = RECORDED + timedelta(seconds=4)
    assert monitor.heartbeat(node if by_object else "n1") is True
    assert monitor.get_node("n1").last_heartbeat == beat

    clock.now = beat + timedelta(milliseconds=7999)
    found = monitor.check_node("n1")
    assert (found.healthy, found.latency_ms, found.checked_at) == (True, 7999.0, clock.now)
    clock.now = beat + timedelta(seconds=8)
    assert monitor.check_node("n1").healthy is False
    report = monitor.check_cluster()
    assert report["checks"] == [{"node_id": "n1", "healthy": False, "latency_ms": 8000.0}]

    (change,) = monitor.transitions()
    assert (change.state, change.at) == ("unhealthy", clock.now)
    clock.now += timedelta(seconds=1)
    monitor.heartbeat("n1")
    assert monitor.check_node("n1").healthy is True
    assert [(change.state, change.at) for change in monitor.transitions()][1:] == [("recovered", clock.now)]


def test_a_heartbeat_never_goes_back_on_this_clock_either(make: Any) -> None:
    clock = Clock()
    monitor = make("HealthMonitor", clock=clock)
    node = EdgeNode("n1", "n1", last_heartbeat=RECORDED)
    monitor.register(node)
    clock.now = RECORDED - timedelta(seconds=5)
    monitor.heartbeat("n1")
    monitor.heartbeat(node)
    assert monitor.get_node("n1").last_heartbeat == RECORDED


def test_a_clock_that_is_none_is_refused(make: Any) -> None:
    with pytest.raises(InvalidTypeError, match="clock must be callable, not str"):
        make("HealthMonitor", clock="now")
    with pytest.raises(InvalidTypeError, match=r"clock\(\) must be a datetime"):
        make("HealthMonitor", clock=lambda: 5).heartbeat("n1")
