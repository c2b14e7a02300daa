"""What must hold of a counter that many processes raise and read: it is linearizable, and counts each call once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf


@dataclass(frozen=True, slots=True)
class Raise:
    """One more, counted between these two moments; ``counted`` is infinite where nobody knows whether it was."""

    begun: float
    counted: float = inf


@dataclass(frozen=True, slots=True)
class Reading:
    """What the counter was, at some moment between these two."""

    begun: float
    ended: float
    value: int
    name: str = ""


def count_faults(raises: Sequence[Raise], readings: Iterable[Reading]) -> Iterator[str]:
    """Yield each reading that lacks what was counted before, holds what was not begun, or is below an earlier one."""
    begun = sorted(each.begun for each in raises)
    counted = sorted(each.counted for each in raises)
    ordered = sorted(readings, key=lambda reading: reading.begun)
    for reading in ordered:
        least, most = bisect_left(counted, reading.begun), bisect_left(begun, reading.ended)
        if not least <= reading.value <= most:
            yield f"{reading.name} read {reading.value}, but {least} were counted before it, and {most} begun"
    by_end = sorted(ordered, key=lambda reading: reading.ended)
    ends = [reading.ended for reading in by_end]
    highest = [0, *accumulate((reading.value for reading in by_end), max)]
    for reading in ordered:
        earlier = highest[bisect_left(ends, reading.begun)]
        if reading.value < earlier:
            yield f"{reading.name} read {reading.value} after another had read {earlier}"
