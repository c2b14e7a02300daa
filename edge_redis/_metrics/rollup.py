"""What was read of a series, and what users are told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edge_redis._metrics import sketch
from edge_redis._metrics.delta import NS_PER_MS
from edge_redis.models import from_timestamp

FIELDS: Final = (b"n", b"e", b"w", b"ms", b"ns")
"""The fields of a sum of invocations, in the order of ``Series``."""


@dataclass(frozen=True, slots=True)
class Series:
    """Invocations, how many failed, how many were slow, the sum of durations in ms and ns, and their buckets."""

    count: int = 0
    errors: int = 0
    slow: int = 0
    ms: int = 0
    ns: int = 0
    buckets: Mapping[int, int] = field(default_factory=dict)

    @property
    def success_rate(self) -> float:
        """Successes of all, 0 to 100; 100.0 for none."""
        return 100.0 * (self.count - self.errors) / self.count if self.count else 100.0

    @property
    def sum_ms(self) -> float:
        """The sum of all durations."""
        return (self.ms * NS_PER_MS + self.ns) / NS_PER_MS

    @property
    def avg_latency_ms(self) -> float:
        """The mean duration; 0.0 for none."""
        return (self.ms * NS_PER_MS + self.ns) / (self.count * NS_PER_MS) if self.count else 0.0

    def percentile(self, q: float) -> float:
        """The ``q``-th percentile of the durations."""
        return sketch.percentile(q, self.buckets)

    def share_within(self, latency_ms: float) -> float:
        """The share of the durations up to this one, 0 to 100; 100.0 for none."""
        highest = sketch.bucket_index(latency_ms)
        within = sum(count for index, count in self.buckets.items() if index <= highest)
        return 100.0 * within / sum(self.buckets.values()) if self.buckets else 100.0

    def counts_up_to(self, bounds_ms: Sequence[float]) -> list[int]:
        """How many durations were up to each of these: exactly, where they are powers of two."""
        indexes = [sketch.bucket_index(bound) for bound in bounds_ms]
        return [sum(count for at, count in self.buckets.items() if at <= index) for index in indexes]

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

    def cells(self, minutes: int) -> list[tuple[int, Series]]:
        """Return the last so many minutes, oldest first, each with its number since 1970."""
        return [(minute, self._cell(minute)) for minute in range(self.last - minutes + 1, self.last + 1)]

    def _cell(self, minute: int) -> Series:
        hour, at = divmod(minute, 60)
        fields = self.hours.get(hour, {})
        count, errors, slow, ms, ns = (fields.get(b"%d%s" % (at, name), 0) for name in FIELDS)
        return Series(count, errors, slow, ms, ns)


def timeline_row(minute: int, cell: Series) -> dict[str, Any]:
    """Return a minute as users see it."""
    return {
        "minute": from_timestamp(minute * 60),
        "total": cell.count,
        "errors": cell.errors,
        "slow": cell.slow,
        "success_rate": cell.success_rate,
        "avg_latency_ms": cell.avg_latency_ms,
    }


def burn(cells: Sequence[Series], objective: float) -> dict[str, Any]:
    """Return how fast an error budget was spent in these minutes.

    The budget is what the objective (a percentage of good invocations) leaves; a burn rate of 1
    spends it in exactly the time that the objective is over. Beyer, Murphy, Rensin, Kawahara,
    Thorne (eds.), "The Site Reliability Workbook", 2018, chapter 5.
    """
    total = sum(cell.count for cell in cells)
    bad = sum(cell.errors + cell.slow for cell in cells)
    budget = (100.0 - objective) / 100.0
    return {
        "minutes": len(cells),
        "total": total,
        "bad": bad,
        "good_percent": 100.0 * (total - bad) / total if total else 100.0,
        "burn_rate": bad / total / budget if total else 0.0,
    }
