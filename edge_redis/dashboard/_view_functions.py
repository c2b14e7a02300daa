"""The views of functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from edge_redis._site.function_state import FunctionState, Minute
from edge_redis._site.reader import SiteReader
from edge_redis.dashboard import _charts as charts
from edge_redis.dashboard._query import Context, Query, make_table, matches
from edge_redis.models import utc_now


def chart_minutes(minutes: Sequence[Minute]) -> Context:
    """Return the chart of invocations, and the rate of the last whole minute."""
    last = minutes[-2] if len(minutes) > 1 else None
    return {
        "minutes": minutes,
        "minutes_chart": charts.bars([each.total for each in minutes], [each.errors for each in minutes]),
        "most_a_minute": max((each.total for each in minutes), default=0),
        "rate": (last.total if last else 0) / 60,
    }


_FUNCTION_SORTS: Final[Mapping[str, tuple[str, Callable[[FunctionState], Any]]]] = {
    "name": ("Function", lambda function: function.name),
    "total": ("Calls", lambda function: function.total),
    "success": ("Success", lambda function: function.success_rate),
    "errors": ("Errors", lambda function: function.errors),
    "p50": ("p50", lambda function: function.p50_ms),
    "p95": ("p95", lambda function: function.p95_ms),
    "p99": ("p99", lambda function: function.p99_ms),
}


async def read_functions(reader: SiteReader, query: Query) -> Context:
    """Return one page of functions."""
    found = await reader.functions()
    text = query.get("q")
    chosen = [function for function in found.functions if not text or matches(text, function.name)]
    table = make_table(chosen, query, _FUNCTION_SORTS, "-total")
    totals = await reader.minute_totals(function.name for function in table.rows)
    return {
        "functions": found,
        "table": table,
        "sparks": {name: charts.sparkline(counts[:-1]) for name, counts in totals.items()},
        "rates": {name: counts[-2] for name, counts in totals.items()},
        **chart_minutes(await reader.minutes()),
    }


async def read_function(reader: SiteReader, query: Query) -> Context | None:
    """Return one function."""
    found = await reader.function(query.get("name"))
    if found is None:
        return None
    points = found.latencies
    first = points[0].end if points else utc_now()
    span = (points[-1].end - first).total_seconds() or 1.0 if points else 1.0
    xs = [(point.end - first).total_seconds() / span for point in points]
    series = [[point.p50 for point in points], [point.p95 for point in points], [point.p99 for point in points]]
    return {
        "function": found,
        "latency_chart": charts.lines(xs, series),
        "most_ms": max((point.p99 for point in points), default=0.0),
        **chart_minutes(found.minutes),
    }
