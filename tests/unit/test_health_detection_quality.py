"""The comparison of failure detectors counts what it says it counts."""

import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "detection_quality.py"


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
