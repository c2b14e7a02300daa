"""What a near cache holds: an entry at hand, and the reads that may bring one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

from edge_redis._cache.envelope import GENERATIONS, value_of

NOTHING: Final = object()
"""What is returned where nothing is held; None is a value."""

_ATOMS: Final = frozenset({str, int, float, bool, bytes, type(None), Decimal, UUID, date, datetime, timedelta})
_HALF: Final = GENERATIONS // 2


class Held:
    """An entry at hand."""

    __slots__ = ("cost_ms", "ends", "expires", "fresh", "generation", "note", "noted", "used", "value")

    expires: float
    """When it is held no longer, by this process's clock: seconds."""
    ends: float
    """When its time in Redis is up, by this process's clock: seconds."""
    generation: int
    cost_ms: int | None
    value: Any
    fresh: Callable[[], Any] | None
    """Makes a copy for a caller; None where the value cannot be changed."""
    note: tuple[str, int]
    noted: Callable[[tuple[str, int]], object]
    used: bool
    """Whether it was read since it was last passed over for eviction."""


class Fill:
    """Reads of one key under way, any number at once."""

    __slots__ = ("live", "readers", "seen")

    def __init__(self) -> None:
        self.readers = 0
        self.live = True
        self.seen: int | None = None
        """The newest generation that this process has seen meanwhile."""

    def has_seen_newer(self, generation: int) -> bool:
        """Whether this generation is older than one that was seen; it counts as seen from now on."""
        if self.seen is not None and is_older(generation, self.seen):
            return True
        self.seen = generation
        return False


def _is_flat(values: Any) -> bool:
    return all(type(value) in _ATOMS for value in values)


def kept(value: Any, raw: bytes) -> tuple[Any, Callable[[], Any] | None]:
    """Return what to hold of ``value``, which ``raw`` holds and a caller has, and what makes a copy of it."""
    kind = type(value)
    if kind in _ATOMS or (kind in (tuple, frozenset) and _is_flat(value)):
        return value, None
    if (kind is dict and _is_flat(value.values())) or (kind in (list, set) and _is_flat(value)):
        own = value.copy()
        return own, own.copy
    return None, partial(value_of, raw)


def is_older(one: int, other: int) -> bool:
    """Whether one generation comes before another, as they come round (RFC 1982)."""
    return 0 < (other - one) % GENERATIONS < _HALF
