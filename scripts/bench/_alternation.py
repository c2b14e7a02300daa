"""What the benchmarks share: sides that take turns, and measurements.

Each turn lets every side do the same number of calls, one side after the other. A ratio is the
median of the turns' own ratios, so that what else the machine does falls on both sides alike.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from edge_redis._core import codec

VALUE: Final = {"id": 12345, "name": "x" * 40, "price": 9.99}
BODY: Final = codec.encode(VALUE)
KEYS: Final = 1000
TURNS: Final = 31
CALLS: Final = 200
WHOLE_UNITS: Final = ("1/s", "B", "errors", "threads")
_DRAWS: Final = 1000

_limits = {"turns": 1_000_000}

Side: TypeAlias = Callable[[Sequence[Any]], float]
"""Does one call for each item and returns the seconds that took."""


@dataclass(frozen=True)
class Measurement:
    """What one measurement found: our turns and those of the limit, in one unit, and the bar.

    Without a limit (``theirs`` is empty) the figure is our median itself.
    """

    name: str
    ours: Sequence[float]
    theirs: Sequence[float]
    bar: float | None
    unit: str = "us"
    is_rate: bool = False
    """Whether more is better: the figure must reach the bar rather than not pass it."""

    @property
    def figures(self) -> list[float]:
        """The ratio of each turn, or our figure of each where there is no limit."""
        if not self.theirs:
            return list(self.ours)
        return [one / other for one, other in zip(self.ours, self.theirs, strict=True)]

    @property
    def figure(self) -> float:
        """The median of the turns."""
        return statistics.median(self.figures)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval of the figure: medians of turns that are drawn again (bootstrap)."""
        figures = self.figures
        draw = random.Random(1)  # noqa: S311 -- no secret
        medians = sorted(statistics.median(draw.choices(figures, k=len(figures))) for _ in range(_DRAWS))
        return medians[round(0.025 * _DRAWS)], medians[round(0.975 * _DRAWS) - 1]

    @property
    def is_reached(self) -> bool:
        """Whether the figure keeps to its bar."""
        if self.bar is None:
            return True
        return self.figure >= self.bar if self.is_rate else self.figure <= self.bar

    def describe(self, values: Sequence[float]) -> str:
        """Return the median of one side's turns, to be read."""
        return f"{statistics.median(values):,.{0 if self.unit in WHOLE_UNITS else 2}f} {self.unit}" if values else ""


def blocking(call: Callable[[Any], object]) -> Side:
    """Return the side that calls a function."""

    def side(items: Sequence[Any]) -> float:
        began = time.perf_counter()
        for item in items:
            call(item)
        return time.perf_counter() - began

    return side


def awaited(loop: asyncio.AbstractEventLoop, call: Callable[[Any], Awaitable[object]]) -> Side:
    """Return the side that awaits a coroutine function, one call after the other."""

    async def turn(items: Sequence[Any]) -> float:
        began = time.perf_counter()
        for item in items:
            await call(item)
        return time.perf_counter() - began

    return lambda items: loop.run_until_complete(turn(items))


def in_tasks(loop: asyncio.AbstractEventLoop, call: Callable[[Any], Awaitable[object]], tasks: int) -> Side:
    """Return the side that awaits a coroutine function in so many tasks at once."""

    async def work(items: Sequence[Any]) -> None:
        for item in items:
            await call(item)

    async def turn(items: Sequence[Any]) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(work(items[task::tasks]) for task in range(tasks)))
        return time.perf_counter() - began

    return lambda items: loop.run_until_complete(turn(items))


def zipf(calls: int, prefix: str = "") -> list[str]:
    """Return keys by Zipf's law: the n-th most popular comes 1/n times as often as the first."""
    weights = [1 / (rank + 1) for rank in range(KEYS)]
    return [f"{prefix}{rank}" for rank in random.choices(range(KEYS), weights, k=calls)]  # noqa: S311 -- no secret


def in_turns(
    sides: Sequence[Side],
    items: Callable[[int], Sequence[Any]],
    calls: int = CALLS,
    turns: int | None = None,
) -> list[list[float]]:
    """Return the microseconds of a call, a list a side, in the order of the turns. The first turn warms up.

    By default there are ``TURNS`` turns, or as many as ``limit_turns`` allows.
    """
    found: list[list[float]] = [[] for _ in sides]
    for turn in range(min(TURNS if turns is None else turns, _limits["turns"]) + 1):
        for side, times in zip(sides, found, strict=True):
            given = items(calls)
            spent = side(given) / calls * 1e6
            if turn:
                times.append(spent)
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the turns' own ratios."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def limit_turns(turns: int) -> None:
    """Let every later ``in_turns`` make this number of turns at most."""
    _limits["turns"] = turns


def times_faster(name: str, ours: Sequence[float], theirs: Sequence[float], bar: float | None) -> Measurement:
    """Return the measurement of how many times as fast as theirs ours is."""
    return Measurement(name, [1e6 / time for time in ours], [1e6 / time for time in theirs], bar, "1/s", is_rate=True)


def versus(
    name: str,
    ours: Side,
    theirs: Side,
    bar: float | None,
    items: Callable[[int], Sequence[Any]] = zipf,
    calls: int = CALLS,
) -> Measurement:
    """Let two sides take turns and compare them."""
    our_times, their_times = in_turns([ours, theirs], items, calls)
    return Measurement(name, our_times, their_times, bar)
