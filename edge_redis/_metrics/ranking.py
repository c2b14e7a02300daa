"""Rankings of functions, nodes or pairs by one of their figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from edge_redis._metrics.series import Series

Group: TypeAlias = tuple[str | None, str | None]
"""A function, a node, or both."""

RANKINGS: Final[Mapping[str, Callable[[Series], float]]] = {
    "total": lambda series: series.count,
    "error_count": lambda series: series.errors,
    "error_rate": lambda series: 100.0 - series.success_rate,
    "avg_latency": lambda series: series.avg_latency_ms,
    "total_ms": lambda series: series.sum_ms,
    "p50": lambda series: series.percentile(50),
    "p95": lambda series: series.percentile(95),
    "p99": lambda series: series.percentile(99),
}
"""The figures by which ``top`` sorts, the largest first."""

NEED_BUCKETS: Final = frozenset({"p50", "p95", "p99"})

GROUPINGS: Final[Mapping[str, Callable[[tuple[str, str]], Group]]] = {
    "function": lambda pair: (pair[0], None),
    "node": lambda pair: (None, pair[1]),
    "pair": lambda pair: pair,
}


def group_pairs(pairs: Iterable[tuple[str, str]], group_by: str) -> list[Group]:
    """Return the groups of these pairs, sorted by name."""
    return sorted(set(map(GROUPINGS[group_by], pairs)), key=lambda group: (group[0] or "", group[1] or ""))


def select_largest(found: Mapping[Group, Series], by: str, limit: int) -> list[Group]:
    """Return the groups with the largest figure; equal ones in the order given."""
    figure = RANKINGS[by]
    return sorted(found, key=lambda group: -figure(found[group]))[:limit]  # sorting is stable


def ranking_row(group: Group, series: Series) -> dict[str, Any]:
    """Return the row of a group in ``EdgeMetrics.top``."""
    return {
        "function_id": group[0],
        "node_id": group[1],
        **series.summarize(),
        "error_rate": 100.0 - series.success_rate,
        "total_ms": series.sum_ms,
    }
