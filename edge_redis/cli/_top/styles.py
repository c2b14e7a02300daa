"""Texts, colours and numbers of the terminal application. Values of the server are made safe to print here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from rich.text import Text

from edge_redis.cli.output import printable

STYLES: Final = {
    "healthy": "green",
    "recovered": "green",
    "registered": "green",
    "unhealthy": "bold red",
    "mass_outage": "bold red",
    "suspected": "yellow",
    "flapping": "yellow",
    "maintenance": "cyan",
}
DIM: Final = "grey62"
GOOD: Final = "green"
BAD: Final = "bold red"
WARN: Final = "yellow"
CHART: Final = "cyan"
_SHORTEST_PATH: Final = 12


def word(value: str, style: str | None = None) -> Text:
    """Return a value of the server in the colour of the state that it names, or in ``style``."""
    return Text(printable(value), style=style if style is not None else STYLES.get(value, ""))


def number(value: float, style: str = "") -> Text:
    """Return a count, right-aligned in a table."""
    return Text(f"{value:,.0f}", style=style, justify="right")


def alarming(value: float) -> Text:
    """Return a count that should be zero."""
    return number(value, BAD if value else DIM)


def milliseconds(value: float) -> Text:
    """Return a latency with about three digits."""
    shown = f"{value / 1000:,.1f} s" if value >= 10_000 else f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"  # noqa: PLR2004
    return Text(shown, justify="right")


def percent(value: float, least: float = 99.0) -> Text:
    """Return a percentage, in red below ``least``."""
    shown = "100%" if value == 100 else f"{min(value, 99.9):.1f}%"  # noqa: PLR2004 -- 99.99 must not be shown as 100%
    return Text(shown, style="" if value >= least else BAD, justify="right")


def clock(moment: datetime) -> str:
    """Return a time of this day in UTC."""
    return f"{moment:%H:%M:%S}"


def moment(at: datetime) -> str:
    """Return a date and time in UTC."""
    return f"{at:%m-%d %H:%M:%S}"


def shorten_path(text: str, width: int) -> str:
    """Return a line that ends with a path, without the path's beginning where the line would be too long."""
    before, _, path = text.rpartition(" ")
    kept = width - len(before) - 2
    return text if len(text) <= width or "/" not in path or kept < _SHORTEST_PATH else f"{before} …{path[-kept:]}"


def line(*parts: str | Text | tuple[str, str]) -> Text:
    """Return one line of parts, each with its style."""
    return Text.assemble(*parts)


def lines(parts: Iterable[Text]) -> Text:
    """Return lines, one below the other, each cut at the end of the screen."""
    return Text("\n", no_wrap=True, overflow="ellipsis").join(parts)
