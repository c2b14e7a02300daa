"""The sketch against exact order statistics."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_redis._core.sketch import (
    GROUP,
    MAX_DURATION_MS,
    ZERO_INDEX,
    bucket_index,
    bucket_value,
    percentile,
    rank_of,
)
from support.metrics import WITHIN, assert_close, exact_percentile

DISTRIBUTIONS = {
    "uniform": lambda pick: pick.uniform(0.1, 1000.0),
    "exponential": lambda pick: 0.1 + pick.expovariate(1 / 20),
    "lognormal": lambda pick: pick.lognormvariate(3, 2),
    "pareto": lambda pick: min(3.6e6, 0.1 * pick.paretovariate(0.4)),
    "two modes": lambda pick: abs(pick.gauss(2.0, 0.1) if pick.random() < 0.95 else pick.gauss(3e6, 1e4)) + 0.1,
}


@given(st.floats(1e-6, MAX_DURATION_MS))
def test_a_bucket_stands_for_its_durations_within_the_error(duration: float) -> None:
    assert_close(bucket_value(bucket_index(duration)), duration)


@given(st.floats(0.1, 3.6e6))
def test_buckets_are_those_of_opentelemetry_at_scale_five(duration: float) -> None:
    index = bucket_index(duration)
    base = 2 ** (2**-5)
    slack = 1 + 1e-12  # a logarithm's last digit decides at a boundary
    assert base**index / slack < duration <= base ** (index + 1) * slack


@pytest.mark.parametrize(("ms", "index"), [(1.0, -1), (2.0, 31), (4.0, 63), (0.5, -33), (1.0001, 0)])
def test_boundaries_belong_to_the_bucket_below(ms: float, index: int) -> None:
    assert bucket_index(ms) == index


def test_what_is_under_a_nanosecond_counts_as_zero() -> None:
    assert bucket_index(0.0) == bucket_index(9e-7) == ZERO_INDEX < bucket_index(1e-6)
    assert bucket_value(ZERO_INDEX) == 0.0
    assert percentile(50, {ZERO_INDEX: 3, 5: 1}) == 0.0


def test_the_groups_of_all_buckets_stay_compact() -> None:
    fields = bucket_index(MAX_DURATION_MS) // GROUP - ZERO_INDEX // GROUP + 1
    assert fields + 7 == 433  # hash-max-listpack-entries is 512
    assert len(" ".join(["9" * 15] * GROUP)) == 63  # hash-max-listpack-value is 64


def test_a_tenth_of_a_millisecond_to_an_hour_takes_804_buckets() -> None:
    assert bucket_index(3_600_000) - bucket_index(0.1) + 1 == 804


@pytest.mark.parametrize(
    ("q", "count", "rank"),
    [(0, 10, 1), (100, 10, 10), (50, 10, 5), (50, 11, 6), (99.9, 1000, 999), (99.9, 1001, 1000), (0.1, 1000, 1)],
)
def test_ranks_are_worked_out_exactly(q: float, count: int, rank: int) -> None:
    assert rank_of(q, count) == rank


def test_a_rank_of_a_kind_of_float_is_that_of_its_value() -> None:
    class Verbose(float):
        def __repr__(self) -> str:
            return f"Verbose({float(self)})"

    assert rank_of(Verbose(99.9), 1000) == rank_of(99.9, 1000) == 999


def test_nothing_counted_is_zero() -> None:
    assert percentile(50, {}) == 0.0


@pytest.mark.exploration
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_percentiles_of_a_million_values_are_within_the_error(name: str) -> None:
    pick = random.Random(name)
    values = sorted(DISTRIBUTIONS[name](pick) for _ in range(1_000_000))
    counts = Counter(map(bucket_index, values))
    for q in (0, 0.1, 1, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100):
        assert_close(percentile(q, counts), exact_percentile(q, values))


@given(st.lists(st.floats(0.1, 3.6e6), min_size=1, max_size=200), st.floats(0, 100))
def test_any_percentile_of_anything_is_within_the_error(values: list[float], q: float) -> None:
    assert_close(percentile(q, Counter(map(bucket_index, values))), exact_percentile(q, values))


def test_merging_sixteen_parts_is_counting_at_once() -> None:
    pick = random.Random(16)
    parts = [[pick.lognormvariate(3, 2) for _ in range(500)] for _ in range(16)]
    merged: Counter[int] = Counter()
    for part in parts:
        merged.update(Counter(map(bucket_index, part)))
    assert merged == Counter(bucket_index(value) for part in parts for value in part)


def test_the_error_is_what_is_promised() -> None:
    gamma = 2 ** (1 / 32)
    assert (gamma - 1) / (gamma + 1) < WITHIN
    assert math.isclose((gamma - 1) / (gamma + 1), 0.01083, rel_tol=1e-3)
