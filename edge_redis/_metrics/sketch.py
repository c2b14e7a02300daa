"""Percentiles from counts: DDSketch, a histogram whose buckets grow by a constant factor.

Masson, Rim, Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error
Guarantees", PVLDB 12(12), 2019. With gamma = 2^(1/32), bucket i holds the durations d with
gamma^i < d <= gamma^(i+1), in milliseconds, and answers 2 gamma^(i+1) / (gamma + 1), which is at
most (gamma - 1) / (gamma + 1) = 1.083% off any of them. These are the buckets of OpenTelemetry's
exponential histogram at scale 5. Adding the counts of two sketches merges them exactly.

From 0.1 ms to 1 h there are 803 buckets. None are ever collapsed, so the error holds over the
whole range of durations; in Redis ``GROUP`` of them share a field, which keeps a hash compact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

BUCKETS_PER_DOUBLING: Final = 32
GROUP: Final = 4
"""Buckets in one field of a hash, as the flush script has it: they fit into 64 bytes whatever they count."""

MAX_DURATION_MS: Final = 1e10
"""The longest duration that is accepted, 115 days, so that sums of nanoseconds stay far within 64 bits."""

SMALLEST_MS: Final = 1e-6
"""A nanosecond, the unit of sums: a shorter duration counts as zero."""

ZERO_INDEX: Final = -640
"""The bucket of zero, below every other."""

_GAMMA: Final = 2.0 ** (1 / BUCKETS_PER_DOUBLING)


def bucket_index(duration_ms: float) -> int:
    """Return the bucket of a duration."""
    if duration_ms < SMALLEST_MS:
        return ZERO_INDEX
    return math.ceil(math.log2(duration_ms) * BUCKETS_PER_DOUBLING) - 1


def nearest_bound(duration_ms: float) -> int:
    """Return the bucket whose upper bound is nearest to a duration."""
    return max(ZERO_INDEX, round(math.log2(duration_ms) * BUCKETS_PER_DOUBLING) - 1)


def bucket_value(index: int) -> float:
    """Return the duration in ms that represents a bucket."""
    if index == ZERO_INDEX:
        return 0.0
    return 2.0 * math.exp2((index + 1) / BUCKETS_PER_DOUBLING) / (_GAMMA + 1.0)


def rank_of(q: float, count: int) -> int:
    """Return which of ``count`` sorted values the ``q``-th percentile is, from 1: the nearest rank.

    Worked out on the decimal digits of ``q``, since 99.9 / 100 * 1000 is 999.0000000000001.
    """
    return max(1, math.ceil(Fraction(repr(float(q))) * count / 100))


def percentile(q: float, buckets: Mapping[int, int]) -> float:
    """Return the ``q``-th percentile (0 to 100) of the counted durations; 0.0 where there are none."""
    total = sum(buckets.values())
    if total <= 0:
        return 0.0
    rank = rank_of(q, total)
    seen = 0
    for index in sorted(buckets):
        seen += buckets[index]
        if seen >= rank:
            return bucket_value(index)
    raise AssertionError("a rank is never above the count")  # pragma: no cover
