"""How much is transferred at once, and how fast: by the measured speed of the link, and by a limit that a user sets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds since any moment."""

TRANSFER_SECONDS: Final = 2.0
"""How long one transfer should take at most: well below the time-out of a socket (``connect``: 5 s)."""

URGENT_SECONDS: Final = 0.25
"""The same of a worker that has urgent scopes: so long do they wait for a transfer under way."""

FIRST_BYTES: Final = 16 * 1024
"""Bytes of the first transfer, and of the first after an outage: so many pass in that time at 64 kbit/s."""

_LEAST_PART: Final = 0.5
"""A transfer grows after one that was at least this part of what was allowed."""

_GROWTH: Final = 4
"""How many times as large a transfer may be as the one before."""

_FAST_SECONDS: Final = 0.25
"""A transfer that took less is followed by the next at once."""


def no_clock() -> float:
    """Return always the same time: nothing is measured, and everything counts as fast."""
    return 0.0


class TransferSize:
    """How much one transfer may have: it grows while transfers are fast, and is small after a failure.

    The unit is bytes, or anything that has some: ``max_bytes`` bounds a transfer by its bytes as well.
    """

    def __init__(
        self,
        first: int,
        most: int,
        clock: Clock,
        *,
        size: int | None = None,
        max_bytes: int | None = None,
        count_bytes: Callable[[int], None] | None = None,
        seconds: float = TRANSFER_SECONDS,
    ) -> None:
        self._seconds = seconds
        self._first = min(first, most)
        self._most = most
        self._clock = clock
        self._max_bytes = max_bytes
        self._count_bytes = count_bytes
        self._began = 0.0
        self.is_fast = False
        """Whether the last transfer took little time, and none is limited."""
        self.size = self._first if size is None else size
        """What the next transfer may have."""

    def begin(self) -> None:
        """Begin a transfer."""
        self._began = self._clock()

    def end(self, size: int, transferred: int) -> None:
        """Record that the transfer has ended, how much it had, and its bytes."""
        if self._count_bytes is not None:
            self._count_bytes(transferred)
        seconds = self._clock() - self._began
        self.is_fast = seconds < _FAST_SECONDS and self._max_bytes is None
        most = self._most if seconds <= 0 else min(self._most, int(size * self._seconds / seconds))
        if self._max_bytes is not None and transferred:
            most = min(most, size * self._max_bytes // transferred)
        if size > most:
            self.size = max(1, min(self.size, most))
        elif size >= self.size * _LEAST_PART:
            self.size = max(1, min(_GROWTH * self.size, most))

    def fail(self) -> None:
        """Record that the transfer failed: the next is small, and smaller still where this one was."""
        self.size, self.is_fast = max(1, min(self._first, self.size // 2)), False


class TokenBucket:
    """A limit of bytes a second. More than is there may be taken; the debt is then waited out."""

    def __init__(
        self,
        bytes_per_second: float,
        clock: Clock,
        burst_seconds: float = 1.0,
        new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._most = bytes_per_second * burst_seconds
        self._level = self._most
        self._at = clock()
        self._mutex = new_mutex()

    def take(self, count: int) -> None:
        """Take bytes that were sent or received."""
        with self._mutex:
            self._fill()
            self._level -= count

    def seconds_left(self) -> float:
        """Return how long to wait until the debt is paid."""
        with self._mutex:
            self._fill()
            return max(0.0, -self._level / self._rate)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
