"""Metric families: exported values of one name, before they take the form of any system.

Names follow Prometheus' conventions: base units, such as seconds and ratios.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edge_redis._metrics.series import Series


@dataclass(frozen=True, slots=True)
class Sample:
    """One value and its labels. ``started_ms`` is when a counter began at zero, where that is known."""

    labels: Mapping[str, str]
    value: float | Series
    started_ms: int | None = None


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """Samples of one name. A histogram's sample has a Series as its value. A counter's name has no ``_total``."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    samples: list[Sample] = field(default_factory=list)

    def add(self, value: float | Series, labels: Mapping[str, str], started_ms: int | None = None) -> None:
        """Add a sample."""
        self.samples.append(Sample(labels, value, started_ms))


def counter(name: str, text: str) -> MetricFamily:
    """Return an empty counter."""
    return MetricFamily(name, text, "counter")


def gauge(name: str, text: str) -> MetricFamily:
    """Return an empty gauge."""
    return MetricFamily(name, text, "gauge")
