"""Rows of the suite: as a table at the terminal, in JSON, as a chart, and compared with an earlier run."""

from __future__ import annotations

import math
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from pathlib import Path
from typing import Any, Final, TypedDict

from redis.utils import HIREDIS_AVAILABLE

from _alternation import Measurement
from edge_redis.embedded import EmbeddedServer

TOLERANCE: Final = 0.05
PEERS: Final = ("redis", "cachetools", "theine", "cashews", "aiocache", "dogpile.cache", "prometheus_client")


class Row(TypedDict):
    """A figure of the suite."""

    name: str
    part: str
    unit: str
    ours: float
    theirs: float | None
    figure: float
    low: float
    high: float
    turns: int
    bar: float | None
    is_rate: bool
    is_reached: bool


def row_of(part: str, measurement: Measurement) -> Row:
    """Return the row of a measurement."""
    low, high = measurement.interval
    return {
        "name": measurement.name,
        "part": part,
        "unit": measurement.unit,
        "ours": round(statistics.median(measurement.ours), 4),
        "theirs": round(statistics.median(measurement.theirs), 4) if measurement.theirs else None,
        "figure": round(measurement.figure, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "turns": len(measurement.ours),
        "bar": measurement.bar,
        "is_rate": measurement.is_rate,
        "is_reached": measurement.is_reached,
    }


def describe_run(server: EmbeddedServer, form: str) -> dict[str, Any]:
    """Return what a run was made on."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "form": form,
        "began_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.release()}",
            "load": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "python": platform.python_version(),
            "server": f"{server.kind} {server.version}",
            "hiredis": metadata.version("hiredis") if HIREDIS_AVAILABLE else None,
            **{name: metadata.version(name) for name in PEERS},
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def describe(value: float | None, unit: str) -> str:
    """Return a value with its unit."""
    if value is None:
        return ""
    decimals = 0 if value >= 1000 or value == round(value) else 1 if value >= 10 else 2  # noqa: PLR2004 -- digits
    return f"{value:,.{decimals}f} {unit}"


def describe_figure(row: Row) -> str:
    """Return the figure of a row: a ratio, or a value with its unit."""
    return f"{row['figure']:.2f}" if row["theirs"] is not None else describe(row["figure"], row["unit"])


def describe_bar(row: Row) -> str:
    """Return the bar of a row; empty where it has none."""
    if row["bar"] is None:
        return ""
    sign = ">=" if row["is_rate"] else "<="
    return f"{sign} {row['bar']:g}" + ("" if row["theirs"] is not None else f" {row['unit']}")


def show_row(row: Row) -> None:
    """Print a row."""
    unit = row["unit"]
    interval = f"{row['low']:.2f} to {row['high']:.2f}"
    mark = "" if row["is_reached"] else "  not reached"
    ours, theirs = describe(row["ours"], unit), describe(row["theirs"], unit)
    print(
        f"{row['name']:68} {ours:>13} {theirs:>13} {row['figure']:9.2f}  {interval:>18} {describe_bar(row):>12}{mark}",
        flush=True,
    )


def find_worse(rows: Sequence[Row], earlier: Mapping[str, Any], tolerance: float = TOLERANCE) -> list[str]:
    """Return a line for each figure that is worse than in an earlier run by more than its noise."""
    before: dict[str, Row] = {row["name"]: row for row in earlier["measurements"]}
    pairs = [(row, before[row["name"]]) for row in rows if row["name"] in before]
    return [
        f"worse: {row['name']}: {row['figure']:.2f} ({row['low']:.2f} to {row['high']:.2f}), was {old['figure']:.2f}"
        f" ({old['low']:.2f} to {old['high']:.2f})"
        for row, old in pairs
        if _is_worse(row, old, tolerance)
    ]


def _is_worse(row: Row, old: Row, tolerance: float) -> bool:
    if row["is_rate"]:
        return row["high"] < old["low"] and row["figure"] < old["figure"] * (1 - tolerance)
    return row["low"] > old["high"] and row["figure"] > old["figure"] * (1 + tolerance)


_WIDTH: Final = 980
_LEFT: Final = 470
_RIGHT: Final = 60
_STEP: Final = 22
_TOP: Final = 56
_SPAN: Final = 8.0
"""The chart goes from an eighth of the bar to eight times it."""


def draw_chart(rows: Sequence[Row]) -> str:
    """Return an SVG of each figure beside its bar, on a logarithmic scale; left of the bar is better."""
    shown = [row for row in rows if row["bar"]]
    height = _TOP + _STEP * len(shown) + 16
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif"'
            ' font-size="12" role="img">'
        ),
        "<title>Each figure of the benchmark suite beside its bar</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for factor, name in (
        (0.25, "4x better"),
        (0.5, "2x better"),
        (1.0, "the bar"),
        (2.0, "2x worse"),
        (4.0, "4x worse"),
    ):
        at = _position(factor)
        color = "#333" if factor == 1.0 else "#ddd"
        parts.append(f'<line x1="{at:.1f}" y1="{_TOP - 14}" x2="{at:.1f}" y2="{height - 12}" stroke="{color}"/>')
        parts.append(f'<text x="{at:.1f}" y="{_TOP - 22}" text-anchor="middle" fill="#555">{name}</text>')
    for index, row in enumerate(shown):
        parts += _draw_row(row, _TOP + _STEP * index)
    return "\n".join([*parts, "</svg>", ""])


def _draw_row(row: Row, top: int) -> list[str]:
    middle, color = top + 5, "#2a7a4b" if row["is_reached"] else "#b3541e"
    low, value, high = sorted(_factor(row, row[key]) for key in ("low", "figure", "high"))
    return [
        f'<text x="{_LEFT - 12}" y="{middle + 4}" text-anchor="end" fill="#222">{escape(row["name"])}</text>',
        (
            f'<line x1="{_position(low):.1f}" y1="{middle}" x2="{_position(high):.1f}" y2="{middle}" stroke="{color}"'
            ' stroke-width="3" stroke-opacity="0.45"/>'
        ),
        f'<circle cx="{_position(value):.1f}" cy="{middle}" r="4.5" fill="{color}"/>',
        f'<text x="{_position(high) + 9:.1f}" y="{middle + 4}" fill="{color}">{describe_figure(row)}</text>',
    ]


def _factor(row: Row, value: float) -> float:
    """Return how many times a value is its bar, turned so that less is better."""
    bar = row["bar"] or 1.0
    return bar / max(value, 1e-9) if row["is_rate"] else value / bar


def _position(factor: float) -> float:
    within = min(max(factor, 1 / _SPAN), _SPAN)
    share = (math.log(within) + math.log(_SPAN)) / (2 * math.log(_SPAN))
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
