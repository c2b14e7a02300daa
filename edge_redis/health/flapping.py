"""Whether a node goes up and down: rules over its verdicts, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

FLAPPING_TRANSITIONS: Final = 3
"""With this many transitions in the window a node is flapping."""


def transitions(verdicts: Sequence[bool]) -> int:
    """Return how often neighbouring verdicts differ."""
    return sum(before != after for before, after in pairwise(verdicts))


def is_flapping(verdicts: Sequence[bool], window: int) -> bool:
    """Whether the last ``window`` verdicts hold three or more transitions."""
    return transitions(verdicts[-window:]) >= FLAPPING_TRANSITIONS
