"""Operations that are repeated in the background while a function of the user runs."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import Any, Final

from edge_redis._core.operation import InvokeRenewing, Operation
from edge_redis.errors import EdgeRedisError


class _Renewal:
    """One repeated operation."""

    def __init__(self, step: InvokeRenewing[Any], perform: Callable[[Operation[bool]], Any]) -> None:
        self.step = step
        self.perform = perform
        self.left = step.max_renewals
        self.is_over = False


class ThreadRenewals:
    """Repeats operations in one daemon thread of the process, which starts when the first one is due."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """Start afresh in a forked child, which has no such thread."""
        self._condition = threading.Condition()
        self._due: list[tuple[float, int, _Renewal]] = []
        self._numbers = count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def repeat(self, step: InvokeRenewing[Any], perform: Callable[[Operation[bool]], Any]) -> Iterator[None]:
        """Perform ``step.renew()`` every ``step.seconds`` until the end of the block."""
        renewal = _Renewal(step, perform)
        self._push(renewal)
        try:
            yield
        finally:
            renewal.is_over = True

    def _push(self, renewal: _Renewal) -> None:
        due = time.monotonic() + renewal.step.seconds
        with self._condition:
            heapq.heappush(self._due, (due, next(self._numbers), renewal))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="edge-redis-renewals", daemon=True)
                self._thread.start()
            elif self._due[0][2] is renewal:
                self._condition.notify()

    def _run(self) -> None:
        while True:
            renewal = self._next()
            with contextlib.suppress(EdgeRedisError):
                renewal.is_over = renewal.is_over or not renewal.perform(renewal.step.renew())
            renewal.left -= 1
            if not renewal.is_over and renewal.left > 0:
                self._push(renewal)

    def _next(self) -> _Renewal:
        """Return the next renewal when it is due; those that are over are dropped."""
        with self._condition:
            while True:
                while self._due and self._due[0][2].is_over:
                    heapq.heappop(self._due)
                if not self._due:
                    self._condition.wait()
                    continue
                wait = self._due[0][0] - time.monotonic()
                if wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._condition.wait(wait)


thread_renewals: Final = ThreadRenewals()
"""Of all blocking services of the process."""

os.register_at_fork(after_in_child=thread_renewals.after_fork)


async def repeat_in_task(step: InvokeRenewing[Any], perform: Callable[[Operation[bool]], Awaitable[Any]]) -> None:
    """Perform ``step.renew()`` now and every ``step.seconds``, until the task is cancelled."""
    for _ in range(step.max_renewals):
        with contextlib.suppress(EdgeRedisError):
            if not await perform(step.renew()):
                return
        await asyncio.sleep(step.seconds)
