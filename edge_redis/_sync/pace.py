"""How long a worker pauses after a round: it waits for hints, and polls what gives none."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from edge_redis._core.pace import Pause, Round

READ_SECONDS: Final = 60.0
"""About how often a worker reads without a hint: so late is a change at most whose hint was lost."""

_READ_SPREAD: Final = 0.25
"""By what part of it that interval varies, so that workers that began together do not read together."""

FIRST_SECONDS: Final = 0.02
"""The first pause before a worker looks again, doubled each time."""

_FIRST_LEAST: Final = 0.01
_MOST_LEAST: Final = 1.0
"""After many hints without a change, the worker reads at most this often, in seconds."""

FIRST_RETRY_SECONDS: Final = 0.1
LONGEST_RETRY_SECONDS: Final = 30.0


class WorkerPace:
    """The pauses of one worker.

    After a failure it is a random part of a time that doubles ("full jitter"): edges that lost their cloud together
    come back apart. A hint does not shorten that pause.
    """

    def __init__(
        self,
        poll_seconds: float,
        claim_seconds: float,
        has_waiting: Callable[[], bool],
        seconds_in_debt: Callable[[], float] = lambda: 0.0,
        may_have_more: Callable[[], bool] = lambda: True,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._poll_seconds = poll_seconds
        self._claim_seconds = claim_seconds
        self._has_waiting = has_waiting
        self._seconds_in_debt = seconds_in_debt
        self._may_have_more = may_have_more
        self._draw = draw
        self._idle_rounds = 0
        self._empty_hints = 0
        self._failures = 0
        self._waits_for_hints = False

    def after(self, ended: Round) -> Pause:
        """Return the pause after a round."""
        self._failures = 0
        # What came meanwhile without a hint: the connection to a node that was replaced may be open, and silent.
        has_missed = self._waits_for_hints and bool(ended.handled) and not ended.was_woken and ended.is_listening
        self._waits_for_hints = False
        pause, debt = self._after(ended), self._seconds_in_debt()
        if not (debt or has_missed):
            return pause
        return Pause(max(pause.seconds, debt), max(pause.least, debt), has_missed)

    def _after(self, ended: Round) -> Pause:
        if ended.handled:
            self._idle_rounds = self._empty_hints = 0
            if not ended.is_listening or self._may_have_more():
                return Pause(0.0)
        self._empty_hints = self._empty_hints + 1 if ended.was_woken and not ended.handled else 0
        seconds = self._seconds(is_listening=ended.is_listening)
        self._idle_rounds += 1
        return Pause(seconds, self._least())

    def _seconds(self, *, is_listening: bool) -> float:
        again = _double(FIRST_SECONDS, self._idle_rounds, READ_SECONDS)
        if not is_listening:
            return min(again, self._poll_seconds)
        if self._has_waiting():  # changes that failed, or that another worker has leased, which may die
            return min(again, self._claim_seconds)
        self._waits_for_hints = True
        return READ_SECONDS * (1 + _READ_SPREAD * (2 * self._draw() - 1))

    def _least(self) -> float:
        return _double(_FIRST_LEAST, self._empty_hints - 1, _MOST_LEAST) if self._empty_hints else 0.0

    def after_error(self) -> Pause:
        """Return the pause after a round that failed."""
        self._failures += 1
        self._waits_for_hints = False
        seconds = self._draw() * _double(FIRST_RETRY_SECONDS, self._failures, LONGEST_RETRY_SECONDS)
        return Pause(seconds, seconds)


def _double(first: float, times: int, most: float) -> float:
    return min(first * 2.0 ** min(times, 30), most)
