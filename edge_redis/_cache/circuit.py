"""A circuit breaker (Nygard, "Release It!") for calls to a server that may be unavailable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FAILURE_THRESHOLD: Final = 3
"""Failures in a row that open the circuit."""

FIRST_PAUSE_SECONDS: Final = 0.5
MAX_PAUSE_SECONDS: Final = 15.0
"""How long the circuit stays open; doubled at each failed trial call."""


class CircuitBreaker:
    """Decides whether to call the server. While the circuit is open, one trial call is allowed per pause."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._open_until = 0.0
        self._is_trying = False

    @property
    def is_open(self) -> bool:
        """Whether calls are not sent to the server."""
        return self._failures >= FAILURE_THRESHOLD

    def allow_call(self) -> bool:
        """Return whether to call the server now; a trial call starts the next pause."""
        if not self.is_open:
            return True
        now = self._clock()
        if now < self._open_until:
            return False
        self._open_until, self._is_trying = now + self._pause, True
        return True

    def record_failure(self) -> None:
        """Record a failed call."""
        self._failures += 1
        if self._is_trying:
            self._is_trying = False
            self._pause = min(2 * self._pause, MAX_PAUSE_SECONDS)
        elif self._failures != FAILURE_THRESHOLD:  # the circuit is still closed, or several calls failed at once
            return
        self._open_until = self._clock() + self._pause

    def record_listener_failure(self, *, is_hung: bool) -> None:
        """Record a failure that the listener of a near cache saw.

        A server that accepts a connection and does not answer opens the circuit at once: each call would wait
        for its whole timeout. While the circuit is open, trial calls alone decide.
        """
        if self.is_open:
            return
        if is_hung:
            self._failures = FAILURE_THRESHOLD - 1
        self.record_failure()

    def record_success(self) -> None:
        """Record a call that was answered: the circuit closes."""
        self._failures, self._pause, self._is_trying = 0, FIRST_PAUSE_SECONDS, False
