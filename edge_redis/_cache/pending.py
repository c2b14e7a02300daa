"""Keys that could not be written or removed while the server was unavailable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

MAX_PENDING: Final = 10_000
"""Pending keys, at most; past that a write raises."""

SUSPEND_SECONDS: Final = 0.5
"""How long removal is not tried again after the server refused it."""


class PendingInvalidations:
    """Keys whose entries in Redis may be outdated. They are removed before anything else is read."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys: dict[str, object] = {}
        self._suspended_until = float("-inf")

    def __len__(self) -> int:
        """Return the number of pending keys."""
        return len(self._keys)

    @property
    def is_suspended(self) -> bool:
        """Whether the server refused removals a moment ago, so that reads of other keys need not try."""
        return self._clock() < self._suspended_until

    def suspend(self) -> None:
        """Pause removal: the server refuses it for the time being."""
        self._suspended_until = self._clock() + SUSPEND_SECONDS

    def has_capacity_for(self, keys: Iterable[str]) -> bool:
        """Return whether these keys can be added."""
        return len(self._keys.keys() | keys) <= MAX_PENDING

    def add(self, keys: Iterable[str]) -> None:
        """Add keys. Each addition carries a mark of its own, so that ``clear`` spares a later one."""
        self._keys.update((key, object()) for key in keys)

    def is_disjoint(self, keys: Iterable[str]) -> bool:
        """Return whether none of these keys is pending."""
        return self._keys.keys().isdisjoint(keys)

    def snapshot(self) -> dict[str, object]:
        """Return the pending keys with their marks."""
        return dict(self._keys)

    def clear(self, removed: Mapping[str, object]) -> None:
        """Drop the keys of a snapshot, which were removed in Redis, unless they were added again meanwhile."""
        for key, mark in removed.items():
            if self._keys.get(key) is mark:
                del self._keys[key]
