"""What was read of a series, and what users are told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_redis.metrics.delta import NS_PER_MS
from edge_redis.metrics.sketch import percentile
from edge_redis.models import from_timestamp


@dataclass(frozen=True, slots=True)
class Series:
    """Invocations, how many failed, the sum of their durations in ms and ns, and their buckets."""

    count: int
    errors: int
    ms: int
    ns: int
    buckets: Mapping[int, int]

    @property
    def success_rate(self) -> float:
        """Successes of all, 0 to 100; 100.0 for none."""
        return 100.0 * (self.count - self.errors) / self.count if self.count else 100.0

    @property
    def avg_latency_ms(self) -> float:
        """The mean duration; 0.0 for none."""
        return (self.ms * NS_PER_MS + self.ns) / (self.count * NS_PER_MS) if self.count else 0.0

    def percentile(self, q: float) -> float:
        """The ``q``-th percentile of the durations."""
        return percentile(q, self.buckets)

    def summary(self) -> dict[str, Any]:
        """The figures that a report begins with."""
        return {
            "total": self.count,
            "success_rate": self.success_rate,
            "avg_latency": self.avg_latency_ms,
            "error_count": self.errors,
            "p50": self.percentile(50),
            "p95": self.percentile(95),
            "p99": self.percentile(99),
        }


@dataclass(frozen=True, slots=True)
class Minutes:
    """Minutes of a series up to ``last``, as hours of fields."""

    last: int
    hours: Mapping[int, Mapping[bytes, int]]

    def rows(self, minutes: int) -> list[dict[str, Any]]:
        """Return the last so many minutes, oldest first."""
        return [self._row(minute) for minute in range(self.last - minutes + 1, self.last + 1)]

    def _row(self, minute: int) -> dict[str, Any]:
        hour, at = divmod(minute, 60)
        fields = self.hours.get(hour, {})
        count, errors, ms, ns = (fields.get(b"%d%s" % (at, name), 0) for name in (b"n", b"e", b"ms", b"ns"))
        cell = Series(count, errors, ms, ns, {})
        return {
            "minute": from_timestamp(minute * 60),
            "total": cell.count,
            "errors": cell.errors,
            "success_rate": cell.success_rate,
            "avg_latency_ms": cell.avg_latency_ms,
        }
