"""Which functions, nodes or pairs come first, and by what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from edge_redis._metrics.rollup import Series

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
"""The figures that ``top`` sorts by, the largest first."""

NEED_BUCKETS: Final = frozenset({"p50", "p95", "p99"})

GROUPINGS: Final[Mapping[str, Callable[[tuple[str, str]], Group]]] = {
    "function": lambda pair: (pair[0], None),
    "node": lambda pair: (None, pair[1]),
    "pair": lambda pair: pair,
}


def groups(pairs: Iterable[tuple[str, str]], of: str) -> list[Group]:
    """Return the groups that these pairs fall into, by name."""
    return sorted(set(map(GROUPINGS[of], pairs)), key=lambda group: (group[0] or "", group[1] or ""))


def first(found: Mapping[Group, Series], by: str, limit: int) -> list[Group]:
    """Return the groups with the largest figure; those that are equal by name."""
    figure = RANKINGS[by]
    return sorted(found, key=lambda group: -figure(found[group]))[:limit]  # stable, and given by name


def row(group: Group, series: Series) -> dict[str, Any]:
    """Return a group as users see it."""
    return {
        "function_id": group[0],
        "node_id": group[1],
        **series.summary(),
        "error_rate": 100.0 - series.success_rate,
        "total_ms": series.sum_ms,
    }
