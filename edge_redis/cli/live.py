"""A view of the demo site in tables that are updated in place. The only module here that needs rich."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_redis._site.demo import RunningSite
from edge_redis._site.report import Report
from edge_redis.cli import text

_EVENTS_KEPT: Final = 4
_GOOD, _BAD, _DIM = "green", "bold red", "dim"


class LiveView:
    """A context in which the terminal shows the latest report and, below it, the latest events."""

    def __init__(self, console: Console | None = None) -> None:
        self._live = Live(console=console or Console(), auto_refresh=False, transient=True)
        self._events: deque[str] = deque(maxlen=_EVENTS_KEPT)
        self._report: Report | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def attach(self, site: RunningSite) -> AbstractContextManager[object]:
        """Need no access to the site."""
        return nullcontext(site)

    def show(self, report: Report) -> None:
        """Show the current figures."""
        self._report = report
        self._refresh()

    def log(self, line: str) -> None:
        """Show an event below the tables."""
        self._events.append(f"{datetime.now().astimezone():%H:%M:%S}  {line}")
        self._refresh()

    def _refresh(self) -> None:
        self._live.update(render(self._report, self._events), refresh=True)


def render(report: Report | None, events: Iterable[str]) -> RenderableType:
    """Return the tables and events as one renderable."""
    lines = [Text(line, style=_DIM, no_wrap=True, overflow="ellipsis") for line in events]
    if report is None:
        return Group(*lines)
    return Group(
        Text(f"edge-redis up  {text.total_line(report)}", style="bold"),
        _table(text.NODE_HEADER, [text.node_row(*item) for item in report.nodes.items()]),
        _table(text.FUNCTION_HEADER, [text.function_row(*item) for item in report.functions.items()]),
        _table(text.SCOPE_HEADER, [text.scope_row(*item) for item in report.scopes.items()]),
        Text(text.cache_line(report)),
        Text(text.sync_line(report)),
        *lines,
        Text("Ctrl-C ends with a report", style=_DIM),
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="cyan")
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(word: str) -> Text:
    return Text(word, style={"healthy": _GOOD, "UNHEALTHY": _BAD}.get(word, ""))
