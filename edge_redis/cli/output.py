"""Output of the commands: JSON, aligned tables that fit the terminal, and text that is safe to print."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, TypeVar

T = TypeVar("T")

_STYLES: Final = {
    "healthy": "32",
    "recovered": "32",
    "ok": "32",
    "unhealthy": "1;31",
    "fail": "1;31",
    "suspected": "33",
    "flapping": "33",
    "maintenance": "36",
    "warn": "33",
}
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_GAP: Final = "  "
_MOST_BITS: Final = 14_000
"""Bits of an int that Python writes in decimal digits, of which it allows 4,300."""
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Control characters that JSON does not escape, and characters that hide or reorder text."""


def jsonable(value: Any) -> Any:
    """Return a value as JSON can carry it: times in ISO 8601, bytes as text or hexadecimal, objects as dicts."""
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    return _jsonable_scalar(value)


def _jsonable_scalar(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes) or (isinstance(value, int) and value.bit_length() > _MOST_BITS):
        return value.hex() if isinstance(value, bytes) else hex(value)
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None  # noqa: PLR0124 -- NaN
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


def print_json(value: Any, **options: Any) -> None:
    """Print a value as JSON, on one line unless ``options`` of ``json.dumps`` say otherwise."""
    print(escape_unprintable(json.dumps(jsonable(value), ensure_ascii=False, **options)), flush=True)


def escape_unprintable(text: str) -> str:
    """Return JSON with escapes for the characters that a terminal might obey, such as U+009B."""
    return _UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def printable(text: str) -> str:
    """Return text that stays on one line and sends no command to the terminal."""
    return text if text.isprintable() else json.dumps(text)


def styled(word: str, text: str | None = None) -> str:
    """Return text in the colour of a state when output is a terminal."""
    shown = word if text is None else text
    style = _STYLES.get(word.lower())
    return f"\x1b[{style}m{shown}\x1b[0m" if style and _has_colour() else shown


def _has_colour() -> bool:
    import os

    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def terminal_width() -> int | None:
    """Return the terminal's width; None when output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, width: int | None = None) -> None:
    """Print an aligned table. When it is too wide, columns are left out from the right; the first is always whole."""
    for line in table_lines(header, rows, width=terminal_width() if width is None else width):
        print(line)


def print_outcome(outcome: Any, line: str, *, as_json: bool) -> None:
    """Print what a command did: as JSON, or as a line of text."""
    if as_json:
        print_json(outcome)
    else:
        print(line)


def print_rows(
    found: Sequence[T],
    header: Sequence[str],
    to_row: Callable[[T], Sequence[object]],
    *,
    nothing: str,
    as_json: bool,
) -> None:
    """Print the rows that a command has found: as JSON, or as a table, or ``nothing`` where there are none."""
    if as_json:
        print_json(found)
    elif found:
        print_table(header, map(to_row, found))
    else:
        print(nothing)


def table_lines(header: Sequence[str], rows: Iterable[Sequence[object]], *, width: int | None = None) -> list[str]:
    """Return the lines of a table of at most ``width`` characters."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    count = len(widths)
    while width is not None and count > 1 and sum(widths[:count]) + len(_GAP) * (count - 1) > width:
        count -= 1
    lines = [
        _GAP.join(cell.ljust(size) for cell, size in zip(row, widths[:count], strict=False)) for row in (header, *cells)
    ]
    return [_colour_cells(line.rstrip(), row) for line, row in zip(lines, (header, *cells), strict=True)]


def _colour_cells(line: str, row: Sequence[str]) -> str:
    for cell in row:
        if cell.lower() in _STYLES:
            return line.replace(f" {cell}", f" {styled(cell)}", 1)
    return line


def count(number: int, noun: str) -> str:
    """Return a number and a noun, such as ``1 node`` or ``1,200 nodes``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def moment(at: datetime) -> str:
    """Return a time in UTC, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def duration(seconds: float | None) -> str:
    """Return a duration in two units at most, such as ``3 h 20 min``."""
    if seconds is None:
        return "-"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004
    for size, unit, smaller, small_unit in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min")):
        if seconds >= size:
            rest = int(seconds % size // smaller)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {small_unit}" if rest else "")
    rest = int(seconds % _MINUTE)
    return f"{int(seconds // _MINUTE)} min" + (f" {rest} s" if rest else "")


def latency(seconds: float) -> str:
    """Return a duration that may be far below a second."""
    if seconds >= 1.0:
        return duration(seconds)
    ms = seconds * 1000
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"  # noqa: PLR2004


def repeat(show: Callable[[], int], every: float | None) -> int:
    """Run a command's display once, or every ``every`` seconds until Ctrl-C; return the last exit code."""
    code = show()
    while every is not None:
        time.sleep(every)
        if sys.stdout.isatty():
            print("\x1b[H\x1b[2J", end="")
        code = show()
    return code
