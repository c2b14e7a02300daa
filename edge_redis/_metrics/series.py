"""The figures of one series of invocations, and of its minutes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from edge_redis._core import sketch
from edge_redis._metrics.totals import NS_PER_MS
from edge_redis.models import from_timestamp

SUM_FIELDS: Final = (b"n", b"e", b"w", b"ms", b"ns")
"""The fields of the sums in Redis, in the order of ``Series``."""


@dataclass(frozen=True, slots=True)
class Series:
    """Counts of invocations, of failures and of slow successes, the sum of durations in ms and ns, and its buckets."""

    count: int = 0
    errors: int = 0
    slow: int = 0
    ms: int = 0
    ns: int = 0
    buckets: Mapping[int, int] = field(default_factory=dict)
    started_ms: int | None = None
    """When the counts of a pair began at zero, by the server's clock; None for other series."""
    max_ms: float | None = None
    """The longest duration of a pair; None for other series."""

    @property
    def success_rate(self) -> float:
        """Share of successes, 0 to 100; 100.0 without invocations."""
        return 100.0 * (self.count - self.errors) / self.count if self.count else 100.0

    @property
    def sum_ms(self) -> float:
        """The sum of all durations."""
        return (self.ms * NS_PER_MS + self.ns) / NS_PER_MS

    @property
    def avg_latency_ms(self) -> float:
        """The mean duration; 0.0 without invocations."""
        return (self.ms * NS_PER_MS + self.ns) / (self.count * NS_PER_MS) if self.count else 0.0

    def percentile(self, q: float) -> float:
        """Return the ``q``-th percentile of the durations in ms."""
        return sketch.percentile(q, self.buckets)

    def fraction_below(self, latency_ms: float) -> float:
        """Return the share of durations up to ``latency_ms``, 0 to 100; 100.0 without invocations."""
        highest = sketch.bucket_index(latency_ms)
        below = sum(count for index, count in self.buckets.items() if index <= highest)
        return 100.0 * below / sum(self.buckets.values()) if self.buckets else 100.0

    def count_up_to(self, bounds_ms: Sequence[float]) -> list[int]:
        """Return how many durations were up to each of these ascending bounds.

        Exact where a bound is that of a bucket of the sketch; another one is moved to the nearest, by 1.1% at most.
        """
        counts: list[int] = []
        total = 0
        buckets = sorted(self.buckets.items())
        at = 0
        for index in map(sketch.nearest_bound, bounds_ms):
            while at < len(buckets) and buckets[at][0] <= index:
                total += buckets[at][1]
                at += 1
            counts.append(total)
        return counts

    def summarize(self) -> dict[str, Any]:
        """Return the figures of ``EdgeMetrics.summary``."""
        p50, p95, p99 = sketch.percentiles((50, 95, 99), self.buckets)
        return {
            "total": self.count,
            "success_rate": self.success_rate,
            "avg_latency": self.avg_latency_ms,
            "error_count": self.errors,
            "p50": p50,
            "p95": p95,
            "p99": p99,
        }


def add_series(parts: Sequence[Series]) -> Series:
    """Return the sum of a series' parts in several shards."""
    if len(parts) == 1:
        return parts[0]
    buckets: Counter[int] = Counter()
    for part in parts:
        buckets.update(part.buckets)
    count, errors, slow = (sum(column) for column in zip(*((p.count, p.errors, p.slow) for p in parts), strict=True))
    ms, ns = divmod(sum(part.ms * NS_PER_MS + part.ns for part in parts), NS_PER_MS)
    began = [part.started_ms for part in parts if part.started_ms is not None]
    longest = [part.max_ms for part in parts if part.max_ms is not None]
    return Series(count, errors, slow, ms, ns, dict(buckets), min(began, default=None), max(longest, default=None))


@dataclass(frozen=True, slots=True)
class MinutePage:
    """Minutes of a series up to ``last``, as hours of fields."""

    last: int
    hours: Mapping[int, Mapping[bytes, int]]

    def list_cells(self, minutes: int) -> list[tuple[int, Series]]:
        """Return the last ``minutes`` minutes, oldest first, each with its number since 1970."""
        return [(minute, self._cell(minute)) for minute in range(self.last - minutes + 1, self.last + 1)]

    def _cell(self, minute: int) -> Series:
        hour, at = divmod(minute, 60)
        fields = self.hours.get(hour, {})
        count, errors, slow, ms, ns = (fields.get(b"%d%s" % (at, name), 0) for name in SUM_FIELDS)
        return Series(count, errors, slow, ms, ns)


class MinuteTotals(NamedTuple):
    """The invocations of some series in each of the minutes up to ``last``."""

    last: int
    counts: list[list[int]]


def add_pages(pages: Sequence[MinutePage]) -> MinutePage:
    """Return the sum of a series' minutes in several shards, up to the latest minute of their servers' clocks."""
    if len(pages) == 1:
        return pages[0]
    hours: defaultdict[int, Counter[bytes]] = defaultdict(Counter)
    for page in pages:
        for hour, fields in page.hours.items():
            hours[hour].update(fields)
    return MinutePage(max(page.last for page in pages), hours)


def add_totals(pages: Sequence[MinuteTotals]) -> list[list[int]]:
    """Return the counts of some series' minutes in several shards, aligned at the latest of their last minutes."""
    last = max(page.last for page in pages)
    aligned = [
        [counts[last - page.last :] + [0] * min(last - page.last, len(counts)) for counts in page.counts]
        for page in pages
    ]
    return [[sum(minute) for minute in zip(*parts, strict=True)] for parts in zip(*aligned, strict=True)]


def timeline_row(minute: int, cell: Series) -> dict[str, Any]:
    """Return the row of a minute in ``EdgeMetrics.timeline``."""
    return {
        "minute": from_timestamp(minute * 60),
        "total": cell.count,
        "errors": cell.errors,
        "slow": cell.slow,
        "success_rate": cell.success_rate,
        "avg_latency_ms": cell.avg_latency_ms,
    }
