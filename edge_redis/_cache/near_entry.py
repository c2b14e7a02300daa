"""The entries of a near cache, and the reads under way that may add one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from edge_redis._cache.access_buffer import Access
from edge_redis._cache.entry import decode_body, is_older

MISSING: Final = object()
"""Returned where there is no entry; None is a value."""

_IMMUTABLE: Final = frozenset({str, int, float, bool, bytes, type(None), Decimal, UUID, date, datetime, timedelta})


class FoundEntry(NamedTuple):
    """An entry that was read, with the times by which a caller decides whether to compute it anew."""

    value: Any
    ttl: float
    """Seconds until it expires in Redis; infinity if it never does."""
    cost_ms: int | None
    """The cost of computing it, if known."""
    stale_ms: int
    """The part at the end of its TTL during which it is stale."""


class NearEntry:
    """An entry of a near cache."""

    __slots__ = (
        "access",
        "copy",
        "cost_ms",
        "expires",
        "generation",
        "is_used",
        "record",
        "redis_expires",
        "stale_ms",
        "value",
    )

    expires: float
    """When the near cache stops serving it, by this process's clock: seconds."""
    redis_expires: float
    """When it expires in Redis, by this process's clock: seconds."""
    generation: int
    cost_ms: int | None
    stale_ms: int
    value: Any
    copy: Callable[[], Any] | None
    """Makes a copy for a caller; None where the value is immutable."""
    access: Access
    record: Callable[[Access], object]
    """Records a hit."""
    is_used: bool
    """Whether it was read since the last eviction that spared it."""


class PendingFill:
    """Reads of one key that are under way, any number at once."""

    __slots__ = ("is_valid", "newest", "readers")

    def __init__(self) -> None:
        self.readers = 0
        self.is_valid = True
        """False once the key was written: the results of these reads may be older than the write."""
        self.newest: int | None = None
        """The newest generation that this process has seen meanwhile."""

    def record_generation(self, generation: int) -> bool:
        """Record a generation that was seen; return whether no newer one was seen before."""
        if self.newest is not None and is_older(generation, self.newest):
            return False
        self.newest = generation
        return True


def _is_flat(values: Any) -> bool:
    return all(type(value) in _IMMUTABLE for value in values)


def snapshot(value: Any, body: bytes, decode: Callable[[bytes], Any]) -> tuple[Any, Callable[[], Any] | None]:
    """Return the value to keep of ``value``, which its caller may change, and a function that copies it for others.

    A nested value is not kept: its copies are decoded from ``body``, its encoding.
    """
    kind = type(value)
    if kind in _IMMUTABLE or (kind in (tuple, frozenset) and _is_flat(value)):
        return value, None
    if (kind is dict and _is_flat(value.values())) or (kind in (list, set) and _is_flat(value)):
        own = value.copy()
        return own, own.copy
    return None, partial(decode_body, body, decode)
