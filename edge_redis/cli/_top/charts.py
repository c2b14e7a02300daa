"""Charts of a few characters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_EMPTY: Final = "·"


def sparkline(values: Sequence[float | None], width: int, *, top: float | None = None) -> str:
    """Return the newest ``width`` values as blocks; a dot where there is no value.

    ``top`` is the value of a whole block; None: the greatest of the values. A value above zero never looks like zero.
    """
    shown = values[-width:] if width > 0 else []
    greatest = top if top is not None else max((value for value in shown if value is not None), default=0.0)
    return "".join(_EMPTY if value is None else _block(value, greatest) for value in shown)


def _block(value: float, greatest: float) -> str:
    if value <= 0 or greatest <= 0:
        return _BLOCKS[0]
    return _BLOCKS[max(1, min(len(_BLOCKS) - 1, round(value / greatest * (len(_BLOCKS) - 1))))]


def rates(totals: Sequence[float]) -> list[float]:
    """Return the growth between each two totals; zero where a total went back, as after a reset."""
    return [max(0.0, later - earlier) for earlier, later in pairwise(totals)]


def meter(percent: float, width: int) -> str:
    """Return a percentage as a bar of ``width`` characters."""
    filled = round(max(0.0, min(100.0, percent)) / 100 * width)
    return "█" * filled + "░" * (width - filled)
