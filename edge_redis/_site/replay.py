"""The events of one node in a recording: its readings, and the checks between them.

Verdicts follow the recording's clock and not the wall clock: a process that is late by a few
milliseconds, which are seconds of a recording replayed fast, changes no verdict. A node is checked

- with every reading, right after its heartbeat;
- when the heartbeat timeout has passed since a reading without another one, which is the last
  moment at which the node is still healthy. A reading at that very moment comes first.

So an unhealthy spell is a gap longer than the timeout between two readings of a node, or between
its last reading and the end of the recording, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from edge_redis._site.recording import Reading
from edge_redis.models import from_timestamp

SPELL_RULE: Final = (
    "an unhealthy spell is a gap longer than the heartbeat timeout between two consecutive readings of a node, "
    "or between its last reading and the end of the recording, by the recording's clock"
)


@dataclass(frozen=True, slots=True)
class TimeoutCheck:
    """A check of a node whose heartbeat timeout has passed."""

    at_us: int


Event: TypeAlias = Reading | TimeoutCheck


def iterate_events(readings: Iterable[Reading], *, timeout_seconds: float, end_us: int) -> Iterator[Event]:
    """Yield one node's readings and timeout checks, in the order of their times."""
    last: Reading | None = None
    for reading in readings:
        if last is not None:
            yield from _check_after(last, reading.at_us, timeout_seconds)
        yield reading
        last = reading
    if last is not None:
        yield from _check_after(last, end_us, timeout_seconds)


def _check_after(last: Reading, until_us: int, timeout_seconds: float) -> Iterator[TimeoutCheck]:
    if until_us - last.at_us > timeout_seconds * 1e6:
        # Heartbeats are stored in whole milliseconds: rounding must not make the age shorter than the timeout.
        yield TimeoutCheck((last.at_us // 1000 + math.ceil(timeout_seconds * 1000)) * 1000)


@dataclass(frozen=True, slots=True)
class Pace:
    """A mapping from recorded time to real time."""

    starts_at: float
    """Unix time in seconds at which the recording's first moment is replayed; the same in all processes."""
    first_us: int
    speed: float

    def due(self, at_us: int) -> float:
        """Return the real Unix time in seconds of a recorded moment."""
        return self.starts_at + (at_us - self.first_us) / 1e6 / self.speed

    def recorded_at(self, now: float) -> datetime:
        """Return the recorded moment that is replayed at a real Unix time in seconds."""
        return from_timestamp(self.first_us / 1e6 + max(0.0, now - self.starts_at) * self.speed)
