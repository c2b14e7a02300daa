"""Charts as SVG, without text in them: labels are HTML around, so that they stay legible at any width."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from markupsafe import Markup

from edge_redis._site.node_state import Spell

WIDTH: Final = 600.0
HEIGHT: Final = 120.0
_SPARK_WIDTH: Final = 90.0
_SPARK_HEIGHT: Final = 20.0
_BAR_HEIGHT: Final = 20.0


def bars(values: Sequence[float], errors: Sequence[float]) -> Markup:
    """Return bars of ``values``, the part that are errors in another colour."""
    most = max(values, default=0.0) or 1.0
    step = WIDTH / max(len(values), 1)
    good, bad = [], []
    for at, (value, wrong) in enumerate(zip(values, errors, strict=True)):
        height = value / most * HEIGHT
        failed = min(height, max(wrong / most * HEIGHT, 2.0 if wrong else 0.0))
        if height > failed:
            good.append(_box(at * step, HEIGHT - height, step * 0.8, height - failed))
        if failed:
            bad.append(_box(at * step, HEIGHT - failed, step * 0.8, failed))
    return _svg("plot", WIDTH, HEIGHT, f'<path class="bar" d="{"".join(good)}"/><path class="bad" d="{"".join(bad)}"/>')


def lines(xs: Sequence[float], series: Sequence[Sequence[float]], *, most: float | None = None) -> Markup:
    """Return lines through the points of each series; ``xs`` are from 0 to 1."""
    top = most or max((value for values in series for value in values), default=0.0) or 1.0
    paths = [
        f'<path class="line s{at}" d="{_path([x * WIDTH for x in xs], [_y(value, top) for value in values])}"/>'
        for at, values in enumerate(series)
    ]
    return _svg("plot", WIDTH, HEIGHT, "".join(paths))


def sparkline(values: Sequence[float]) -> Markup:
    """Return a small line, for a row of a table."""
    if not any(values):
        return Markup('<span class="dim">-</span>')
    most = max(values)
    step = _SPARK_WIDTH / max(len(values) - 1, 1)
    points = [_SPARK_HEIGHT - 1 - value / most * (_SPARK_HEIGHT - 2) for value in values]
    path = _path([at * step for at in range(len(values))], points)
    return _svg("spark", _SPARK_WIDTH, _SPARK_HEIGHT, f'<path class="line s0" d="{path}"/>')


def spell_bar(spells: Sequence[Spell], start: datetime, end: datetime) -> Markup:
    """Return a bar of a node's states over time."""
    span = (end - start).total_seconds() or 1.0
    boxes = []
    for spell in spells:
        x = (spell.start - start).total_seconds() / span * WIDTH
        width = max((spell.end - spell.start).total_seconds() / span * WIDTH, 1.5)
        boxes.append(f'<path class="state {state_class(spell.state)}" d="{_box(x, 0, width, 20)}"/>')
    return _svg("spells", WIDTH, _BAR_HEIGHT, "".join(boxes))


def check_bar(healthy: Sequence[bool]) -> Markup:
    """Return a bar with a box for each check."""
    step = WIDTH / max(len(healthy), 1)
    boxes = "".join(
        f'<path class="state {"ok" if good else "bad"}" d="{_box(at * step, 0, step * 0.8, 20)}"/>'
        for at, good in enumerate(healthy)
    )
    return _svg("spells", WIDTH, _BAR_HEIGHT, boxes)


def state_class(state: str) -> str:
    """Return the class of a state: good, bad, a warning, maintenance, or unknown."""
    return _CLASSES.get(state, "unknown")


_CLASSES: Final = {
    "healthy": "ok",
    "recovered": "ok",
    "mass_outage_over": "ok",
    "unhealthy": "bad",
    "mass_outage": "bad",
    "suspected": "warn",
    "flapping": "warn",
    "removed": "warn",
    "deregistered": "warn",
    "transitions_lost": "warn",
    "maintenance": "info",
}


def _svg(css: str, width: float, height: float, content: str) -> Markup:
    """Return an image. ``content`` is made of numbers and of classes that are named here."""
    return Markup(  # noqa: S704
        f'<svg class="{css}" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none" aria-hidden="true">'
        f"{content}</svg>"
    )


def _box(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z"


def _path(xs: Sequence[float], ys: Sequence[float]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True)) if xs else ""


def _y(value: float, most: float) -> float:
    return HEIGHT - 1 - min(value / most, 1.0) * (HEIGHT - 2)
