"""Rules for flapping, which is a node that alternates between healthy and unhealthy. Verdicts come oldest first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from edge_redis._core import validation
from edge_redis._health.spells import HEALTHY, UNHEALTHY, UNKNOWN, NodeHistory, Spell
from edge_redis.errors import InvalidArgumentError

FLAPPING_CHANGES: Final = 3
"""A node with this many changes of verdict in the window is flapping."""

FLAPPING_WINDOW: Final = 10
"""Checks in the window, unless the caller names another."""

_OLDEST_WEIGHT: Final = 0.8
_NEWEST_WEIGHT: Final = 1.2
_FULL: Final = 100.0


def count_changes(verdicts: Sequence[bool]) -> int:
    """Return how often neighbouring verdicts differ."""
    return sum(before != after for before, after in pairwise(verdicts))


def is_flapping(verdicts: Sequence[bool], window: int) -> bool:
    """Return whether the last ``window`` verdicts hold three or more changes."""
    return count_changes(verdicts[-window:]) >= FLAPPING_CHANGES


def describe_changes(verdicts: Sequence[bool], window: int) -> str:
    """Return the finding of ``is_flapping`` as text."""
    found = count_changes(verdicts[-window:])
    return f"{found} changes of verdict in the last {window} checks, flapping from {FLAPPING_CHANGES}"


@dataclass(frozen=True, slots=True)
class FlapThresholds:
    """A rule for flapping with one threshold to start and a lower one to stop (hysteresis).

    Of the last ``window`` checks, the changes of verdict are counted in percent of those possible, the
    newest weighing 1.2, the oldest 0.8, linear in between. Flapping starts at ``start_percent`` and ends
    below ``stop_percent``. This is the rule of Nagios ("Detection and Handling of State Flapping", Nagios
    Core documentation) over a longer window: on real checks, Nagios's 21 checks with 50% and 20% missed sites
    that went down and up for weeks (docs/how-to/watch-nodes.md has the figures).

    Args:
        window: checks that are looked at, the newest ones.
        start_percent: flapping starts when this share of the possible changes is reached.
        stop_percent: flapping ends below this share; it must be below ``start_percent``.

    """

    window: int = 41
    start_percent: float = 17.5
    stop_percent: float = 5.0

    def __post_init__(self) -> None:
        validation.check_integer("window", self.window, least=3)
        validation.check_positive("start_percent", self.start_percent)
        validation.check_non_negative("stop_percent", self.stop_percent)
        if not self.stop_percent < self.start_percent <= _FULL:
            msg = f"stop_percent ({self.stop_percent}) must be below start_percent ({self.start_percent}), at most 100"
            raise InvalidArgumentError(msg)

    def change_percent(self, verdicts: Sequence[bool]) -> float:
        """Return the weighted share of changes in the last ``window`` verdicts, 0 to 100."""
        changes = [before != after for before, after in pairwise(verdicts[-self.window :])]
        possible = self.window - 1
        oldest = possible - len(changes)  # missing checks count as unchanged
        step = (_NEWEST_WEIGHT - _OLDEST_WEIGHT) / (possible - 1)
        weight = sum(_OLDEST_WEIGHT + step * place for place, changed in enumerate(changes, oldest) if changed)
        return weight / possible * _FULL

    def states(self, verdicts: Sequence[bool]) -> list[bool]:
        """Return for each verdict whether the node was flapping then; before the first it was not."""
        found: list[bool] = []
        flapping = False
        for end in range(1, len(verdicts) + 1):
            percent = self.change_percent(verdicts[max(0, end - self.window) : end])
            flapping = percent >= (self.stop_percent if flapping else self.start_percent)
            found.append(flapping)
        return found

    def is_flapping(self, verdicts: Sequence[bool], *, was: bool | None = None) -> bool:
        """Return whether a node with these verdicts, all that are known, is flapping now.

        ``was``: whether it was flapping before the last of them; None: judged from the verdicts too.
        """
        if was is not None:
            return self.change_percent(verdicts) >= (self.stop_percent if was else self.start_percent)
        return bool(verdicts) and self.states(verdicts)[-1]

    def reason(self, verdicts: Sequence[bool]) -> str:
        """Return the thresholds' finding as text."""
        return (
            f"{self.change_percent(verdicts):.1f}% of the last {self.window} checks changed the verdict (weighted), "
            f"flapping from {self.start_percent:g}% until below {self.stop_percent:g}%"
        )


@dataclass(frozen=True, slots=True)
class FlapRate:
    """A rule of flapping over time: ``changes`` changes of verdict or more within ``within_seconds``.

    It finds flapping that is slower than a window of checks.

    Args:
        changes: changes of verdict from which a node is flapping; a failure and its recovery are two.
        within_seconds: the time in which they are counted.
        failures_apart_seconds: a failure that comes sooner after the last counted one is not counted, nor the
            recovery from it; None: the heartbeat timeout.

    """

    changes: int
    within_seconds: float
    failures_apart_seconds: float | None = 0.0

    def __post_init__(self) -> None:
        validation.check_integer("changes", self.changes, least=2)
        validation.check_positive("within_seconds", self.within_seconds)
        if self.failures_apart_seconds is not None:
            validation.check_non_negative("failures_apart_seconds", self.failures_apart_seconds)

    def count(self, spells: Sequence[Spell], now_ms: int, apart_ms: float) -> int:
        """Return how many changes count, of a node's changes of verdict, oldest first."""
        begin_ms = now_ms - self.within_seconds * 1000
        counted, failed_ms, counts, was = 0, -math.inf, False, ""
        for spell in spells:
            if spell.mark not in (HEALTHY, UNHEALTHY):
                was = was if spell.mark == UNKNOWN else ""
                continue
            if spell.mark == UNHEALTHY and was == HEALTHY:
                counts = spell.at_ms - failed_ms >= apart_ms
                failed_ms = spell.at_ms if counts else failed_ms
            counted += counts and bool(was) and spell.mark != was and spell.at_ms > begin_ms
            was = spell.mark
        return counted


DEFAULT_FLAP_RATE: Final = FlapRate(changes=6, within_seconds=1800.0, failures_apart_seconds=None)
"""Three failures with their recoveries in half an hour."""


class FlapDetector:
    """Decides whether a node flaps: by thresholds or by changes in a window, and by the rate of changes."""

    def __init__(
        self, detector: FlapThresholds | FlapRate | None, rate: FlapRate | None, timeout_seconds: float
    ) -> None:
        self._thresholds = detector if isinstance(detector, FlapThresholds) else None
        self._rate = detector if isinstance(detector, FlapRate) else rate
        self._apart_ms = timeout_seconds * 1000
        if self._rate is not None and self._rate.failures_apart_seconds is not None:
            self._apart_ms = self._rate.failures_apart_seconds * 1000

    def is_flapping(self, history: NodeHistory, window: int = FLAPPING_WINDOW) -> bool:
        """Return whether a node with this history flaps."""
        verdicts = [check.healthy for check in history.checks]
        if self._thresholds:
            # The finding of the leading watch is kept for longer than the history.
            was = history.is_flapping if history.is_led else None
            by_checks = self._thresholds.is_flapping(verdicts, was=was)
        else:
            by_checks = is_flapping(verdicts, window)
        return by_checks or self._is_over_rate(history)

    def _is_over_rate(self, history: NodeHistory) -> bool:
        rate = self._rate
        return rate is not None and rate.count(history.spells, history.now_ms, self._apart_ms) >= rate.changes

    def describe(self, history: NodeHistory) -> str:
        """Return the finding as text, for the reason of a transition."""
        rate = self._rate
        if rate is not None and self._is_over_rate(history):
            count = rate.count(history.spells, history.now_ms, self._apart_ms)
            return f"{count} changes of verdict in {rate.within_seconds:g} s, flapping from {rate.changes}"
        verdicts = [check.healthy for check in history.checks]
        if self._thresholds:
            return self._thresholds.reason(verdicts)
        return describe_changes(verdicts, FLAPPING_WINDOW)
