"""Lets the threads and tasks of a process write to one scope in turn.

A write that depends on the present state is a compare-and-set: of several writers at once one succeeds, and the others
read the new state and try again. In the queue each writer tries once. The queue is fair, and waiting in it is bounded:
a writer that has waited too long tries beside the others, which is slower and as correct.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from edge_redis._core.operation import Future, Wait

MAX_WAIT_SECONDS: Final = 5.0
"""How long a writer waits for the one before it, which may hang on a connection."""


class QueuePlace:
    """The place of one writer in the queue of a scope."""

    __slots__ = ("before", "future", "is_done")

    def __init__(self, before: QueuePlace | None) -> None:
        self.before = before
        self.future: Future | None = None
        self.is_done = False


class WriteQueue:
    """The queues of a namespace's scopes in this process. Safe for threads, tasks and forks."""

    def __init__(
        self, new_mutex: Callable[[], AbstractContextManager[object]], new_future: Callable[[], Future]
    ) -> None:
        self._new_mutex = new_mutex
        self._new_future = new_future
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._mutex = self._new_mutex()
        self._last: dict[str, QueuePlace] = {}

    def enter(self, scope: str) -> QueuePlace:
        """Return a place at the end of the scope's queue."""
        if self._pid != os.getpid():  # a forked child has none of its parent's writers
            self._reset()
        with self._mutex:
            place = self._last[scope] = QueuePlace(self._last.get(scope))
        return place

    async def wait(self, place: QueuePlace) -> None:
        """Wait until the writer before has left, for a few seconds at most."""
        before, place.before = place.before, None
        if before is None:
            return
        with self._mutex:
            if before.is_done:
                return
            before.future = before.future or self._new_future()
        await Wait(before.future, MAX_WAIT_SECONDS)

    def leave(self, scope: str, place: QueuePlace) -> None:
        """Let the next writer go on."""
        with self._mutex:
            place.is_done = True
            if self._last.get(scope) is place:
                del self._last[scope]
        if place.future is not None:
            place.future.set_result(None)
