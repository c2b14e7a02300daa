"""The phi detector: a node judged by its own rhythm."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from statistics import NormalDist, fmean, pstdev
from typing import Any

import fakeredis
import pytest
from conftest import Maker

from edge_redis import EdgeNode, HealthMonitor, InvalidArgumentError, InvalidTypeError
from support.checked import bytes_of
from support.clock import ServerClock, stop_the_clock
from support.servers import Backend

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NODE = "er:{default:health0}:node:a"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ServerClock:
    return stop_the_clock(monkeypatch, START.timestamp())


@pytest.fixture(params=["blocking", "awaited"])
def make(request: pytest.FixtureRequest, clock: ServerClock) -> Iterator[Maker]:
    maker = Maker(Backend("fakeredis"), request.param)
    yield maker
    maker.close()


def beat(monitor: Any, clock: ServerClock, intervals: list[float]) -> None:
    monitor.heartbeat(EdgeNode("a", "a"))
    for interval in intervals:
        clock.now += interval
        monitor.heartbeat("a")


def silent_for(monitor: Any, clock: ServerClock, seconds: float) -> bool:
    """Return whether the node is healthy after this much silence, and turn the clock back."""
    clock.now += seconds
    healthy: bool = monitor.check_node("a").healthy
    clock.now -= seconds
    return healthy


def first_doubt(monitor: Any, clock: ServerClock) -> float:
    """Return the shortest silence, to the tenth of a second, that is too long."""
    return next(tenths / 10 for tenths in range(1, 700) if not silent_for(monitor, clock, tenths / 10))


def expected_doubt(intervals: list[float], threshold: float) -> float:
    """Return the silence whose probability is 10 ** -threshold, by the normal distribution itself."""
    mean = fmean(intervals)
    deviation = max(pstdev(intervals), mean / 10)
    return NormalDist(mean, deviation).inv_cdf(1 - 10**-threshold)


@pytest.mark.exploration
@pytest.mark.parametrize("threshold", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_a_pause_is_too_long_where_the_normal_distribution_says(
    make: Maker, clock: ServerClock, threshold: float, spread: float
) -> None:
    pick = random.Random(7)
    intervals = [round(5 + pick.uniform(-spread, spread), 3) for _ in range(100)]
    monitor = make("HealthMonitor", detector="phi", phi_threshold=threshold)
    beat(monitor, clock, intervals)
    assert first_doubt(monitor, clock) == pytest.approx(expected_doubt(intervals, threshold), rel=0.005, abs=0.11)


def test_the_reason_tells_phi(make: Maker, clock: ServerClock) -> None:
    monitor = make("HealthMonitor", detector="phi")
    beat(monitor, clock, [5.0] * 20)
    assert silent_for(monitor, clock, 8.0) is False
    (change,) = monitor.transitions()
    head, _, tail = change.reason.partition(", phi ")
    assert head == "heartbeat 8.0 s old, timeout 60 s"
    assert tail.endswith(", threshold 8")
    exact = -math.log10(1 - NormalDist(5.0, 0.5).cdf(8.0))
    assert float(tail.split(",")[0]) == pytest.approx(exact, rel=0.01)


def test_with_few_intervals_the_timeout_decides(make: Maker, clock: ServerClock) -> None:
    monitor = make("HealthMonitor", detector="phi")
    beat(monitor, clock, [5.0] * 9)
    assert (silent_for(monitor, clock, 59.9), silent_for(monitor, clock, 60.0)) == (True, False)
    clock.now += 5.0
    monitor.heartbeat("a")
    assert silent_for(monitor, clock, 59.9) is False


def test_the_timeout_is_the_latest_moment(make: Maker, clock: ServerClock) -> None:
    monitor = make("HealthMonitor", detector="phi")
    beat(monitor, clock, [5.0, 55.0] * 20)
    assert (silent_for(monitor, clock, 59.9), silent_for(monitor, clock, 60.0)) == (True, False)


def test_outages_and_repeats_are_no_rhythm(make: Maker, clock: ServerClock) -> None:
    monitor = make("HealthMonitor", detector="phi")
    beat(monitor, clock, [5.0] * 20 + [600.0, 5.0, 0.001, 5.0, 0.0])
    assert make.backend.client().hget(NODE, "arrivals") == b"22 110000 550000000"


def test_old_intervals_fade(make: Maker, clock: ServerClock) -> None:
    monitor = make("HealthMonitor", detector="phi")
    beat(monitor, clock, [20.0] * 150 + [5.0] * 400)
    count, total, _ = map(float, bytes_of(make.backend.client().hget(NODE, "arrivals")).split())
    assert 100 <= count <= 200
    assert total / count == pytest.approx(5000, rel=0.2)


def test_every_kind_of_heartbeat_counts(make: Maker, clock: ServerClock) -> None:
    monitor = make("HealthMonitor", detector="phi")
    node = EdgeNode("a", "a")
    monitor.heartbeat(node)
    for beating in ("a", node):
        clock.now += 5
        monitor.heartbeat(beating)
    for given in (["a"], [node]):
        clock.now += 5
        monitor.heartbeat_many(given)
    monitor.register(node)
    assert make.backend.client().hget(NODE, "arrivals") == b"4 20000 100000000"


def test_without_the_detector_nothing_is_kept_and_nothing_used(make: Maker, clock: ServerClock) -> None:
    monitor = make("HealthMonitor")
    beat(monitor, clock, [5.0] * 20)
    assert make.backend.client().hget(NODE, "arrivals") is None
    phi = make("HealthMonitor", detector="phi")
    beat(phi, clock, [5.0] * 20)
    assert silent_for(phi, clock, 20.0) is False
    assert silent_for(monitor, clock, 20.0) is True


@pytest.mark.parametrize("damage", [b"", b"x", b"1 2", b"a b c", b"\xff"])
def test_a_damaged_rhythm_is_none(make: Maker, clock: ServerClock, damage: bytes) -> None:
    monitor = make("HealthMonitor", detector="phi")
    beat(monitor, clock, [5.0] * 20)
    make.backend.client().hset(NODE, "arrivals", damage)
    assert silent_for(monitor, clock, 59.0) is True
    clock.now += 5
    monitor.heartbeat("a")
    assert make.backend.client().hget(NODE, "arrivals") == b"1 5000 25000000"


def test_a_watch_goes_by_phi_and_takes_a_silent_fleet_for_one_event(make: Maker, clock: ServerClock) -> None:
    monitor, watch = make("HealthMonitor", detector="phi"), make("HealthWatch", detector="phi", interval_seconds=1.0)
    nodes = [EdgeNode(f"n{number}", "x") for number in range(10)]
    for second in range(75):  # each beats every 5 s, not all in the same second
        due = [node for index, node in enumerate(nodes) if index % 5 == second % 5]
        monitor.heartbeat_many(due if second < 5 else [node.id for node in due])
        watch.run_once()
        clock.now += 1
    assert monitor.transitions() == []
    found = []
    for _ in range(10):
        found.append(watch.run_once().mass_outage)
        clock.now += 1
    assert found[-1] is True
    assert [change.state for change in monitor.transitions()] == ["mass_outage"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"detector": "psi"}, InvalidArgumentError),
        ({"detector": None}, InvalidArgumentError),
        ({"phi_threshold": 0}, InvalidArgumentError),
        ({"phi_threshold": float("inf")}, InvalidArgumentError),
        ({"phi_threshold": "8"}, InvalidTypeError),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        HealthMonitor(fakeredis.FakeRedis(), **arguments)
