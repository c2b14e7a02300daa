"""Going on without a store: what a cache does that would rather miss than raise.

A circuit breaker (Nygard, "Release It!"): after some failures in a row nothing is asked for a
while; then one call tries, and its success closes the circuit. What could not be written or
removed is *owed*: a key that may hold an old value. It is removed before anything else is asked,
and until then it is a miss, so no one here reads what he has overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

FAILURES: Final = 3
"""Failures in a row after which the circuit opens."""

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 15.0
"""Seconds for which it stays open, doubled at each failed try."""

MAX_OWED: Final = 10_000
"""Keys owed, at most; past that a write raises."""


class Breaker:
    """Whether the store is to be asked, and what it is owed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._open_until = 0.0
        self._trying = False
        self._refused_until = float("-inf")
        self.answered_for = 0
        """InvokeAll that were answered without the store."""
        self.owed: dict[str, object] = {}
        """Each with a mark of its own for every time that it came to be owed."""

    @property
    def is_open(self) -> bool:
        """Whether the store is not asked for the time being."""
        return self._failures >= FAILURES

    def admits(self) -> bool:
        """Whether to ask the store now. Where the circuit is open one caller may try, once a pause."""
        if not self.is_open:
            return True
        now = self._clock()
        if now < self._open_until:
            return False
        self._open_until, self._trying = now + self._pause, True
        return True

    def failed(self) -> None:
        """Know that the store did not answer."""
        self._failures += 1
        if self._trying:
            self._trying = False
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        elif self._failures != FAILURES:  # one of several that were under way when the circuit opened, or before
            return
        self._open_until = self._clock() + self._pause

    def succeeded(self) -> None:
        """Know that it did."""
        self._failures, self._pause, self._trying = 0, FIRST_PAUSE, False

    def refused(self) -> None:
        """Know that the store takes no removals for the time being."""
        self._refused_until = self._clock() + FIRST_PAUSE

    @property
    def was_refused(self) -> bool:
        """Whether the store took no removals just now: those whom that does not concern need not try."""
        return self._clock() < self._refused_until

    def has_room_for(self, keys: Iterable[str]) -> bool:
        """Whether these keys can be owed as well."""
        return len(self.owed.keys() | keys) <= MAX_OWED

    def owe(self, keys: Iterable[str]) -> None:
        """Remember keys that may hold an old value."""
        self.owed.update((key, object()) for key in keys)

    def paid(self, owed: Mapping[str, object]) -> None:
        """Forget keys that were removed, unless they have come to be owed again meanwhile."""
        for key, mark in owed.items():
            if self.owed.get(key) is mark:
                del self.owed[key]
