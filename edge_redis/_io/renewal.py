"""Renewals: operations that are repeated while a call runs, such as extending a lease while a function computes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, TypeAlias

from edge_redis._core.operation import Batch, Operation, Renewal
from edge_redis.errors import EdgeRedisError

_Perform: TypeAlias = Callable[[Operation[bool] | Batch[Any]], Any]

_log = logging.getLogger("edge_redis")

_LINGER_SECONDS: Final = 1.0
"""How long the thread waits for another call before it ends."""


class _Use:
    """A renewal during one call."""

    __slots__ = ("due", "left", "perform", "renewal")

    def __init__(self, renewal: Renewal, perform: _Perform) -> None:
        self.renewal = renewal
        self.perform = perform
        self.left = renewal.max_count
        self.due = time.monotonic() + renewal.seconds

    def count(self, result: object) -> bool:
        """Count one renewal, and return whether another follows."""
        if self.left is not None:
            self.left -= 1
        return bool(result) and self.left != 0


class ThreadRenewer:
    """Performs renewals of blocking calls on one thread, which runs only while there are any.

    It keeps no reference to the runner: a cycle would keep a dropped client's sockets open.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._uses: set[_Use] = set()
        self._is_running = False

    @contextlib.contextmanager
    def during(
        self, renewal: Renewal | None, perform: Callable[[Operation[bool] | Batch[Any]], object]
    ) -> Iterator[None]:
        """Perform ``renewal`` at its interval until the end of the context."""
        if renewal is None:
            yield
            return
        if self._pid != os.getpid():  # the parent's thread does not run in its child
            self._reset()
        use = _Use(renewal, perform)
        with self._changed:
            self._uses.add(use)
            if self._is_running:
                self._changed.notify()
            else:
                self._is_running = True
                threading.Thread(target=self._work, name="edge-redis-renewal", daemon=True).start()
        try:
            yield
        finally:
            with self._changed:
                self._uses.discard(use)

    def _work(self) -> None:
        while uses := self._wait():
            for use in uses:
                result: object = True
                try:
                    result = use.perform(use.renewal.make())
                except EdgeRedisError as error:  # the next renewal may still come before the lease expires
                    _log.debug("a renewal failed: %s", error)
                if not use.count(result):
                    with self._changed:
                        self._uses.discard(use)

    def _wait(self) -> list[_Use]:
        """Wait for renewals that are due and plan their next time; return none where the thread is to end."""
        with self._changed:
            while True:
                now = time.monotonic()
                ready = [use for use in self._uses if use.due <= now]
                for use in ready:
                    use.due = now + use.renewal.seconds
                if ready:
                    return ready
                if self._uses:
                    self._changed.wait(min(use.due for use in self._uses) - now)
                elif not self._changed.wait(_LINGER_SECONDS) and not self._uses:
                    self._is_running = False
                    return []


@contextlib.asynccontextmanager
async def renew_during(renewal: Renewal | None, perform: _Perform) -> AsyncIterator[None]:
    """Perform ``renewal`` at its interval, in a task of the loop, until the end of the context."""
    if renewal is None:
        yield
        return
    tasks: list[asyncio.Task[None]] = []  # most calls end before a task is needed
    timer = asyncio.get_running_loop().call_later(
        renewal.seconds, lambda: tasks.append(asyncio.create_task(_repeat(_Use(renewal, perform))))
    )
    try:
        yield
    finally:
        timer.cancel()
        for task in tasks:
            task.cancel()


async def _repeat(use: _Use) -> None:
    result: object = True
    while True:
        try:
            result = await use.perform(use.renewal.make())
        except EdgeRedisError as error:  # the next renewal may still come before the lease expires
            _log.debug("a renewal failed: %s", error)
        if not use.count(result):
            return
        await asyncio.sleep(use.renewal.seconds)
