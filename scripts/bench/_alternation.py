"""What the benchmarks of EdgeCache share: sides that take turns, and the lines of the table.

Each turn lets every side do the same number of calls, one side after the other. A ratio is the
median of the turns' own ratios, so that what else the machine does falls on both sides alike.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from edge_redis._core import codec

VALUE: Final = {"id": 12345, "name": "x" * 40, "price": 9.99}
BODY: Final = codec.encode(VALUE)
KEYS: Final = 1000
TURNS: Final = 31
CALLS: Final = 200

Side: TypeAlias = Callable[[Sequence[Any]], float]
"""Does one call for each item and returns the seconds that took."""


class Line(NamedTuple):
    """A line of the table: what was measured, the ratio (or figure), and what it may be at most."""

    what: str
    ours: str
    theirs: str
    ratio: float
    bar: float | None
    is_least: bool = False
    """Whether the bar is what the ratio must reach rather than what it must not pass."""

    @property
    def is_met(self) -> bool:
        """Whether the figure keeps to its bar."""
        if self.bar is None:
            return True
        return self.ratio >= self.bar if self.is_least else self.ratio <= self.bar


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


def zipf(calls: int, prefix: str = "") -> list[str]:
    """Return keys by Zipf's law: the n-th most popular comes 1/n times as often as the first."""
    weights = [1 / (rank + 1) for rank in range(KEYS)]
    return [f"{prefix}{rank}" for rank in random.choices(range(KEYS), weights, k=calls)]  # noqa: S311 -- no secret


def in_turns(
    sides: Sequence[Side], items: Callable[[int], Sequence[Any]], calls: int = CALLS, turns: int = TURNS
) -> list[list[float]]:
    """Return the microseconds of a call, a list a side, in the order of the turns. The first turn warms up."""
    found: list[list[float]] = [[] for _ in sides]
    for turn in range(turns + 1):
        for side, times in zip(sides, found, strict=True):
            given = items(calls)
            spent = side(given) / calls * 1e6
            if turn:
                times.append(spent)
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the turns' own ratios."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def micros(times: Sequence[float]) -> str:
    """Return the median of times, to be read."""
    return f"{statistics.median(times):.2f} us"


def line(what: str, ours: Sequence[float], theirs: Sequence[float], bar: float | None) -> Line:
    """Return the line that compares two sides."""
    return Line(what, micros(ours), micros(theirs), ratio(ours, theirs), bar)


def times_faster(what: str, ours: Sequence[float], theirs: Sequence[float], bar: float | None) -> Line:
    """Return the line that says how many times as fast as theirs ours is."""
    return Line(what, micros(ours), micros(theirs), ratio(theirs, ours), bar, is_least=True)


def versus(
    what: str,
    ours: Side,
    theirs: Side,
    bar: float | None,
    items: Callable[[int], Sequence[Any]] = zipf,
    calls: int = CALLS,
) -> Line:
    """Let two sides take turns and compare them."""
    our_times, their_times = in_turns([ours, theirs], items, calls)
    return line(what, our_times, their_times, bar)
