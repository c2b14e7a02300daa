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
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
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


MAX_INDEX: Final = bucket_index(MAX_DURATION_MS)
"""The bucket of the longest duration."""


def nearest_bound(duration_ms: float) -> int:
    """Return the bucket whose upper bound is nearest to a duration."""
    return max(ZERO_INDEX, round(math.log2(duration_ms) * BUCKETS_PER_DOUBLING) - 1)


def bucket_value(index: int) -> float:
    """Return the duration in ms that represents a bucket."""
    if index == ZERO_INDEX:
        return 0.0
    return 2.0 * math.exp2((index + 1) / BUCKETS_PER_DOUBLING) / (_GAMMA + 1.0)


@lru_cache(maxsize=128)
def _exact_fraction(q: float) -> Fraction:
    """Return ``q`` percent, by the decimal digits of ``q``: 99.9 / 100 * 1000 would be 999.0000000000001."""
    return Fraction(repr(float(q))) / 100


def rank_of(q: float, count: int) -> int:
    """Return which of ``count`` sorted values the ``q``-th percentile is, from 1: the nearest rank."""
    return max(1, math.ceil(_exact_fraction(q) * count))


def percentiles(qs: Sequence[float], buckets: Mapping[int, int]) -> list[float]:
    """Return the percentiles ``qs`` (0 to 100, ascending) of the counted durations; 0.0 where there are none."""
    indexes = sorted(buckets)
    totals = list(accumulate(map(buckets.__getitem__, indexes)))
    if not totals or totals[-1] <= 0:
        return [0.0] * len(qs)
    return [bucket_value(indexes[bisect_left(totals, rank_of(q, totals[-1]))]) for q in qs]


def percentile(q: float, buckets: Mapping[int, int]) -> float:
    """Return the ``q``-th percentile of the counted durations; 0.0 where there are none."""
    return percentiles([q], buckets)[0]
