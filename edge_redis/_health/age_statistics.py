"""Statistics of the heartbeats' ages at the checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def order_statistic(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest of these values that ``percent`` of them do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def summarize(ages_ms: Sequence[float]) -> dict[str, Any]:
    """Return count, p50, p95, p99 and max of ages in milliseconds; 0.0 where there are none."""
    ordered = sorted(ages_ms) or [0.0]
    found: dict[str, Any] = {"count": len(ages_ms)}
    found.update({f"p{percent}": order_statistic(ordered, percent) for percent in (50, 95, 99)})
    found["max"] = ordered[-1]
    return found
