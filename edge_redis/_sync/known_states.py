"""The states that a store object knows its cloud to hold: the bases of splices, up and down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from edge_redis._sync.change import Change
from edge_redis._sync.splice import MIN_BODY_BYTES

KNOWN_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the bodies that one store object keeps at most."""


class KnownStates:
    """The newest state of each scope that went up or came down, bounded in bytes; the least recently used goes first.

    A state here is a hint: another edge may have replaced it in the cloud. So its checksum goes with everything that
    is made of it, and an end that holds another body refuses. Safe for threads and tasks.
    """

    def __init__(
        self,
        max_bytes: int = KNOWN_BYTES,
        new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._max_bytes = max_bytes
        self._new_mutex = new_mutex
        self._mutex = new_mutex()
        self._states: dict[str, Change] = {}  # the most recently used is last
        self.bytes = 0
        """Bytes of all bodies that are kept."""

    def __len__(self) -> int:
        return len(self._states)

    def get(self, scope: str) -> Change | None:
        """Return the state that the cloud held last, as far as is known."""
        with self._mutex:
            state = self._states.pop(scope, None)
            if state is not None:
                self._states[scope] = state
            return state

    def takes(self, state: Change) -> bool:
        """Return whether a state is neither too small nor too large to be kept."""
        return MIN_BODY_BYTES <= len(state.body) <= self._max_bytes

    def put(self, scope: str, state: Change) -> None:
        """Keep the state that the cloud holds now. One that is too small or too large to be spliced is not kept."""
        size = len(state.body)
        with self._mutex:
            before = self._states.pop(scope, None)
            self.bytes -= 0 if before is None else len(before.body)
            if not self.takes(state):
                return
            self._states[scope] = state
            self.bytes += size
            while self.bytes > self._max_bytes:
                self._remove(next(iter(self._states)))

    def remove(self, scope: str) -> None:
        """Forget what the cloud held."""
        with self._mutex:
            self._remove(scope)

    def after_fork(self) -> None:
        """Forget all states in a forked child, and make another mutex: a thread of the parent may hold this one."""
        self._mutex = self._new_mutex()
        with self._mutex:
            self._states, self.bytes = {}, 0

    def _remove(self, scope: str) -> None:
        state = self._states.pop(scope, None)
        if state is not None:
            self.bytes -= len(state.body)
