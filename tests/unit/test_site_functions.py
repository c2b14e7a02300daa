"""The functions an edge node runs."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_redis._site.functions import (
    FUNCTIONS,
    anomaly_score,
    compress_window,
    rolling_statistics,
    round_to_resolution,
    watched_values,
)
from edge_redis._site.recording import MAX_NUMBER

windows = st.lists(st.floats(-MAX_NUMBER, MAX_NUMBER).map(round_to_resolution), min_size=1, max_size=30)


def test_rolling_statistics_of_an_example() -> None:
    assert rolling_statistics([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]) == {
        "mean": 5.0,
        "deviation": 2.0,
        "min": 2.0,
        "max": 9.0,
    }


def test_the_anomaly_score_is_the_modified_z_score() -> None:
    # Median 3, absolute deviations 2 1 0 1 97: their median is 1, so 0.6745 * (100 - 3) / 1.
    assert anomaly_score([1.0, 2.0, 3.0, 4.0, 100.0])["score"] == pytest.approx(0.6745 * 97)
    assert anomaly_score([1.0, 2.0, 100.0, 4.0, 3.0])["score"] == 0.0


def test_the_anomaly_score_of_a_window_with_one_usual_value_takes_the_mean_deviation() -> None:
    assert anomaly_score([5.0, 5.0, 5.0, 9.0])["score"] == pytest.approx(0.7979 * 4 / 1.0)
    assert anomaly_score([5.0, 5.0, 5.0])["score"] == 0.0
    assert anomaly_score([5.0])["score"] == 0.0


def test_a_steady_window_compresses_well() -> None:
    found = compress_window([20.5] * 30)
    assert found["bytes"] == 30 * 8
    assert found["ratio"] == found["bytes"] / found["compressed_bytes"]
    assert found["ratio"] > 10


@given(windows)
def test_every_function_takes_every_window_and_says_the_same_again(window: list[float]) -> None:
    for function, _ in FUNCTIONS.values():
        result = function(window)
        assert all(math.isfinite(value) for value in result.values())
        assert function(list(window)) == result


@given(windows)
def test_rolling_statistics_are_those_of_the_window(window: list[float]) -> None:
    found = rolling_statistics(window)
    assert found["min"] == min(window)
    assert found["max"] == max(window)
    assert found["mean"] == pytest.approx(math.fsum(window) / len(window))
    assert found["deviation"] == pytest.approx(statistics.pstdev(window))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (20.48, 20.5),
        (0.0, 0.0),
        (-1234.5, -1230.0),
        (0.00012345, 0.000123),
        (1e90, 1e90),
        (-1e-101, 0.0),
        (5e-324, 0.0),
    ],
)
def test_rounding_keeps_three_digits(value: float, expected: float) -> None:
    assert round_to_resolution(value) == expected


def test_the_first_two_numeric_fields_are_watched() -> None:
    assert watched_values({"door": "open", "a": 1.2345, "b": 2.0, "c": 3.0}) == {"a": 1.23, "b": 2.0}
    assert watched_values({"door": "open"}) == {}
