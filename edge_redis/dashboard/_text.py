"""Numbers, durations and values as text."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any, Final

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_UNITS: Final = ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min"), (_MINUTE, "min", 1.0, "s"))
_MAX_VALUE_CHARS: Final = 2000
_WHOLE_FROM: Final = 100.0


def duration(seconds: float) -> str:
    """Return a duration in two units at most, such as ``3 h 20 min``; the page's script writes the same."""
    whole = int(seconds)
    for size, unit, smaller, small_unit in _UNITS:
        if whole >= size:
            rest = int(whole % size // smaller)
            return f"{int(whole // size)} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def number(value: float) -> str:
    """Return a count with separators, or a fraction with one digit."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def milliseconds(value: float) -> str:
    """Return a latency with its unit, in about three digits."""
    if value >= 1000:  # noqa: PLR2004
        return f"{value / 1000:,.2f} s"
    return f"{value:.0f} ms" if value >= _WHOLE_FROM else f"{value:.1f} ms" if value >= 10 else f"{value:.2f} ms"  # noqa: PLR2004


def percent(value: float | None) -> str:
    """Return a percentage that is 100% only where it is all."""
    if value is None:
        return "unknown"
    if value in (0.0, 100.0):
        return f"{value:.0f}%"
    return f"{min(value, 99.99):.2f}%" if value > 99 else f"{value:.1f}%"  # noqa: PLR2004


def moment(at: datetime) -> str:
    """Return a time in UTC, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def epoch_ms(at: datetime) -> int:
    """Return a time in Unix milliseconds."""
    return round(at.timestamp() * 1000)


def shown(value: Any) -> str:
    """Return a value as JSON where that can carry it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=repr, sort_keys=False)
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[:_MAX_VALUE_CHARS]}… ({len(text):,} characters)"


def row_id(kind: str, name: str) -> str:
    """Return the id of the row of a node, a function, a scope or a field; those of one page differ."""
    key = f"{kind}\n{name}".encode(errors="replace")
    return f"r{hashlib.blake2s(key, digest_size=8).hexdigest()}"
