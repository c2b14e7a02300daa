"""The comparison of failure detectors counts what it says it counts."""

import runpy
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Any

import fakeredis
import pytest

from edge_redis import EdgeNode, HealthMonitor

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "detection_quality.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_a_timeout_suspects_each_longer_interval(script: dict[str, Any]) -> None:
    quality = script["by_timeout"]([[0.0, 4.0, 8.0, 18.0, 22.0]], 5.0)
    assert quality.suspicions == 1
    assert quality.false_an_hour == pytest.approx(3600 / 22)
    assert quality.detection == pytest.approx((3 * 4 * 3.0 + 10 * 0.0) / 22)


def test_phi_suspects_what_is_far_above_the_mean(script: dict[str, Any]) -> None:
    beats = [4.0 * index for index in range(20)]
    late = [*beats, beats[-1] + 5.9, beats[-1] + 5.9 + 6.1]
    assert script["by_phi"]([beats], 5.0).suspicions == 0
    assert script["by_phi"]([late], 5.0).suspicions == 0, "the first late one widens the limit for the next"
    assert script["by_phi"]([[*beats, beats[-1] + 6.1]], 5.0).suspicions == 1


def test_phi_is_that_of_the_monitor(script: dict[str, Any]) -> None:
    (stream, *_) = script["generated"](script["heavy_tailed"])
    beats = [round(moment, 3) for moment in stream[:400]]
    threshold = 3.0
    now = [0.0]

    def at() -> datetime:
        return datetime.fromtimestamp(1_700_000_000 + now[0], UTC)

    suspicions = 0
    with HealthMonitor(fakeredis.FakeRedis(), 1e6, detector="phi", phi_threshold=threshold, clock=at) as monitor:
        now[0] = beats[0]
        monitor.heartbeat(EdgeNode("a", "a", last_heartbeat=at()))
        for _, moment in pairwise(beats):
            now[0] = moment
            suspicions += not monitor.check_node("a").healthy
            monitor.heartbeat("a")
    deviations = NormalDist().inv_cdf(1 - 10**-threshold)
    assert suspicions == script["by_phi"]([beats], deviations).suspicions > 3


def test_a_suspicion_that_waits_is_a_longer_timeout(script: dict[str, Any]) -> None:
    streams = script["generated"](script["heavy_tailed"])[:3]
    for limit in (5.0, 6.0, 9.0):
        waiting, timeout = script["by_waiting"](streams, limit), script["by_timeout"](streams, limit)
        assert (waiting.suspicions, waiting.detection) == (timeout.suspicions, timeout.detection)


def test_a_question_fails_as_often_as_a_heartbeat(script: dict[str, Any]) -> None:
    lost = script["LOST"]
    assert lost == pytest.approx(1 / 51)
    asking = script["by_asking"]
    assert asking([[0.0, 4.0, 8.0]], 5.0).suspicions == 0
    assert asking([[0.0, 4.0, 12.0]], 5.0).suspicions == pytest.approx(lost)
    assert asking([[0.0, 4.0, 18.0]], 5.0).suspicions == pytest.approx(1 - (1 - lost) ** 3)


def test_two_of_three_suspect_only_where_two_heard_nothing(script: dict[str, Any]) -> None:
    every = [4.0 * index for index in range(1, 11)]
    deaf = [every[0], every[-1]]
    assert script["by_two_of_three"]([[every, every, deaf]], 9.0).suspicions == 0
    assert script["by_two_of_three"]([[every, deaf, deaf]], 9.0).suspicions > 0


def test_the_parameter_is_the_one_that_detects_in_time(script: dict[str, Any]) -> None:
    stream = [[4.0 * index for index in range(100)]]
    found = []

    def judge(limit: float) -> Any:
        found.append(limit)
        return script["by_timeout"](stream, limit)

    assert script["at"](judge, 10.0) == "0.000"
    assert found[-1] == pytest.approx(12.0), "half an interval more than the mean detection time"
