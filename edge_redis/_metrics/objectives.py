"""Service level objectives: good invocations, and the rate at which an error budget is spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_redis._metrics.series import Series


def report_objective(
    objective: float, slow_ms: float | None, total: Series, cells: Sequence[Series], windows: Sequence[int]
) -> dict[str, Any]:
    """Return the report of ``EdgeMetrics.slo_report``; ``cells`` are the latest minutes, oldest first."""
    overall = report_window([total], objective)
    return {
        "objective": objective,
        "slow_ms": slow_ms,
        **{name: overall[name] for name in ("total", "bad", "good_percent")},
        "windows": [report_window(cells[-window:], objective) for window in windows],
    }


def report_window(cells: Sequence[Series], objective: float) -> dict[str, Any]:
    """Return the good and bad invocations of these minutes, and their burn rate.

    The error budget is what the objective (a percentage of good invocations) leaves; a burn rate
    of 1 spends it in exactly the time that the objective covers. Beyer, Murphy, Rensin, Kawahara,
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
