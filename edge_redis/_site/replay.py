"""What a recording makes of one node: its readings, and the moments when a monitor looks at it.

The recording's clock judges, not the wall's: a process that is late by a few milliseconds, which
are seconds of a recording played fast, changes nothing. A node is looked at

- with every reading, right after its heartbeat;
- when the timeout has passed since a reading and the next one has not come: the end of the
  longest silence that is still tolerated. A reading at that very moment comes first.

So an unhealthy spell is a silence longer than the timeout between two readings of a node, or
between its last reading and the end of the recording, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from edge_redis._site.recording import Reading

SPELL_RULE: Final = (
    "an unhealthy spell is a silence longer than the heartbeat timeout between two consecutive readings of a node, "
    "or between its last reading and the end of the recording, by the recording's clock"
)


@dataclass(frozen=True, slots=True)
class Look:
    """A monitor's look at a node that has been silent for the timeout."""

    at_us: int


Event: TypeAlias = Reading | Look


def events(readings: Iterable[Reading], *, timeout_seconds: float, end_us: int) -> Iterator[Event]:
    """Yield one node's readings with the looks between them, in the order of their times."""
    last: Reading | None = None
    for reading in readings:
        if last is not None:
            yield from _looks(last, reading.at_us, timeout_seconds)
        yield reading
        last = reading
    if last is not None:
        yield from _looks(last, end_us, timeout_seconds)


def _looks(last: Reading, until_us: int, timeout_seconds: float) -> Iterator[Look]:
    if until_us - last.at_us > timeout_seconds * 1e6:
        # Heartbeats are kept in whole milliseconds: the age must not come out short of the timeout.
        yield Look((last.at_us // 1000 + math.ceil(timeout_seconds * 1000)) * 1000)


@dataclass(frozen=True, slots=True)
class Pace:
    """Where a recorded moment lies in real time."""

    starts_at: float
    """Real Unix time, in seconds, of the recording's first moment: the same for all processes."""
    first_us: int
    speed: float

    def due(self, at_us: int) -> float:
        """Return the real Unix time of a recorded moment."""
        return self.starts_at + (at_us - self.first_us) / 1e6 / self.speed
