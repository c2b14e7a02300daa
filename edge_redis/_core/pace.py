"""How long repeated work pauses after each round. Pure: the loop that repeats the work waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of ``seconds``. A wake-up ends it, but not before ``least`` seconds."""

    seconds: float
    least: float = 0.0
    renews_listening: bool = False
    """Whether to make the listening connections anew: something came that should have been reported."""


@dataclass(frozen=True, slots=True)
class Round:
    """A round that has ended without an error."""

    handled: object
    """What it returned: true where it did something."""
    was_woken: bool
    """Whether a wake-up began it."""
    is_listening: bool
    """Whether everything that may bring work wakes it."""


class Pace(Protocol):
    """Decides the pause after each round."""

    def after(self, ended: Round) -> Pause:
        """Return the pause after a round."""

    def after_error(self) -> Pause:
        """Return the pause after a round that failed."""


class FixedPace:
    """The same pause after every round."""

    def __init__(self, seconds: float) -> None:
        self._pause = Pause(seconds, seconds)

    def after(self, ended: Round) -> Pause:  # noqa: ARG002 -- of every round
        """Return the pause after a round."""
        return self._pause

    def after_error(self) -> Pause:
        """Return the pause after a round that failed."""
        return self._pause
