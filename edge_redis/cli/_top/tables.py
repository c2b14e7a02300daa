"""The columns and rows of the lists of nodes, functions, scopes and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from rich.text import Text

from edge_redis._site.function_state import FunctionState
from edge_redis._site.state import SiteState
from edge_redis.cli._top.charts import sparkline
from edge_redis.cli._top.overview import urgency
from edge_redis.cli._top.styles import CHART, DIM, alarming, clock, milliseconds, number, percent, word
from edge_redis.cli.output import duration

MAX_ROWS: Final = 500
"""Rows that a list shows, the most urgent ones."""
SPARKLINES: Final = 20
"""Functions whose last hour is shown in the list."""
_MINUTES: Final = 10
SORTS: Final = ("total", "errors", "p95_ms", "p99_ms")
"""The figures that the functions can be sorted by."""

Row: TypeAlias = tuple[str, Sequence[Text]]
"""A key, by which the row is opened, and its cells."""


class Table(NamedTuple):
    """The columns and rows of a list. Columns at the end are left out where the terminal is narrow."""

    columns: Sequence[str]
    rows: Sequence[Row]
    cut: str = ""
    """The column that is made narrower rather than left out."""


def nodes(state: SiteState) -> Table:
    """Return the nodes, the most urgent first."""
    columns = ("node", "verdict", "heartbeat", "cpu", "memory", "status", "location", "name")
    found = sorted(state.fleet.nodes, key=urgency)[:MAX_ROWS]
    return Table(
        columns,
        [
            (
                node.id,
                (
                    word(node.id),
                    word("flapping" if node.flapping and node.verdict == "healthy" else node.verdict),
                    Text(duration(node.heartbeat_age_seconds), justify="right"),
                    percent(node.cpu_percent, 0.0),
                    percent(node.memory_percent, 0.0),
                    word(node.status),
                    word(node.location),
                    word(node.name, DIM),
                ),
            )
            for node in found
        ],
    )


def sort_functions(state: SiteState, by: str) -> list[FunctionState]:
    """Return the functions with the highest figures first."""
    return sorted(state.functions.functions, key=lambda each: (-getattr(each, by), each.name))[:MAX_ROWS]


def functions(found: Sequence[FunctionState], totals: Mapping[str, Sequence[int]]) -> Table:
    """Return the functions; those in ``totals`` with their calls a minute."""
    columns = ("function", "calls", "good", "p50", "p95", "10 minutes", "p99", "errors")
    return Table(
        columns,
        [
            (
                each.name,
                (
                    word(each.name),
                    number(each.total),
                    percent(each.success_rate),
                    milliseconds(each.p50_ms),
                    milliseconds(each.p95_ms),
                    Text(sparkline(totals.get(each.name, ()), _MINUTES), style=CHART),
                    milliseconds(each.p99_ms),
                    alarming(each.errors),
                ),
            )
            for each in found
        ],
    )


def scopes(state: SiteState) -> Table:
    """Return the scopes, those that wait longest first."""
    columns = ("scope", "version", "pending", "lag", "conflicts")
    found = sorted(state.sync.scopes, key=lambda each: (-each.lag_seconds, -each.conflicts, each.scope))[:MAX_ROWS]
    return Table(
        columns,
        [
            (
                each.scope,
                (
                    word(each.scope),
                    number(each.version),
                    number(each.pending, "" if each.pending else DIM),
                    Text(duration(each.lag_seconds) if each.pending else "-", justify="right"),
                    alarming(each.conflicts),
                ),
            )
            for each in found
        ],
    )


def events(state: SiteState) -> Table:
    """Return the events, newest first; a row is opened as its node."""
    columns = ("time", "node or target", "event", "details", "by")
    return Table(
        columns,
        [
            (
                f"{at}:{event.target}",
                (
                    Text(clock(event.at), style=DIM),
                    word(event.target or "(fleet)"),
                    word(event.name),
                    word(event.detail, DIM),
                    word(event.operator),
                ),
            )
            for at, event in enumerate(state.events[:MAX_ROWS])
        ],
        cut="details",
    )
