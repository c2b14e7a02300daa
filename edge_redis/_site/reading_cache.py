"""A cache of what a SiteReader has read, so that many views share one reading."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

T = TypeVar("T")

SECONDS: Final[Mapping[str, float]] = {
    "fleet": 0.5,
    "snapshot": 0.5,
    "summary": 0.5,
    "transitions": 0.5,
    "actions": 0.5,
    "cache": 0.5,
    "sync": 0.5,
    "functions": 2.0,
    "minutes": 5.0,
    "function minutes": 15.0,
    "minute totals": 10.0,
    "function": 2.0,
    "node": 1.0,
    "scope": 1.0,
    "dead_letters": 1.0,
    "pairs": 10.0,
    "keys": 5.0,
    "availability": 60.0,
}
"""For how many seconds each reading is used again."""

MAX_SECONDS: Final[Mapping[str, float]] = {
    "snapshot": 8.0,
    "functions": 12.0,
    "sync": 3.0,
    "function": 5.0,
    "pairs": 60.0,
}
"""The readings that grow with the site, and for how many seconds each is used again at most."""

_MAX_SHARE: Final = 0.005
"""A reading that grows takes about this share of a CPU: one that takes 10 ms is used again for two seconds."""

_MAX_READINGS: Final = 2000


class ReadingCache:
    """Readings by their names. The first part of a name says for how long the reading is used again.

    Args:
        clock: a monotonic clock in seconds.
        cpu_clock: the CPU time of this process in seconds.

    """

    def __init__(self, clock: Callable[[], float], cpu_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._readings: dict[tuple[str, ...], tuple[float, Any]] = {}

    async def get_or_read(self, read: Callable[[], Awaitable[T]], *name: str) -> T:
        """Return a reading that is young enough, or read anew.

        A costly reading is used again for longer, so that large sites do not cost more CPU than small ones.
        """
        now = self._clock()
        until, cached = self._readings.get(name, (now, None))
        if now < until:
            found: T = cached
            return found
        before = self._cpu_clock()
        made = await read()
        cost = self._cpu_clock() - before
        if len(self._readings) >= _MAX_READINGS:
            self._readings.clear()
        seconds = max(SECONDS[name[0]], min(cost / _MAX_SHARE, MAX_SECONDS.get(name[0], 0.0)))
        self._readings[name] = (now + seconds, made)
        return made

    def drop(self, *name: str) -> None:
        """Drop one reading."""
        self._readings.pop(name, None)

    def clear(self) -> None:
        """Drop all readings, after an action that changed what they show."""
        self._readings.clear()
