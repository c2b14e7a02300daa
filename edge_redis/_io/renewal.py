"""Renewals: operations that are repeated while a call runs, such as extending a lease while a function computes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
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
    It has no lock, which an exception that a signal handler raises might leave held: callers add
    their use, then see whether a thread runs; the thread does so in the opposite order when it ends.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._uses: set[_Use] = set()
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        """The thread that performs renewals; any other one ends."""
        self._pid = os.getpid()  # last: until it is set, each thread of a forked child resets

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
        use, uses = _Use(renewal, perform), self._uses
        try:
            uses.add(use)
            self._wake_ups.put(None)
            thread = self._thread
            if thread is None or not thread.is_alive():
                threading.Thread(target=self._work, name="edge-redis-renewal", daemon=True).start()
            yield
        finally:
            uses.discard(use)
            self._wake_ups.put(None)  # else the thread keeps the use, and with it the client, until it is due

    def _work(self) -> None:
        self._thread = threading.current_thread()
        while uses := self._wait():
            for use in uses:
                result: object = True
                try:
                    result = use.perform(use.renewal.make())
                except EdgeRedisError as error:  # the next renewal may still come before the lease expires
                    _log.debug("a renewal failed: %s", error)
                except Exception:  # noqa: BLE001 -- the next renewal is due whatever it is
                    _log.exception("a renewal failed, with an unexpected error")
                if not use.count(result):
                    self._uses.discard(use)

    def _wait(self) -> list[_Use]:
        """Wait for renewals that are due and plan their next time; return none where the thread is to end."""
        while self._thread is threading.current_thread():
            now = time.monotonic()
            uses = tuple(self._uses)
            ready = [use for use in uses if use.due <= now]
            for use in ready:
                use.due = now + use.renewal.seconds
            if ready:
                return ready
            seconds = min(use.due for use in uses) - now if uses else _LINGER_SECONDS
            try:
                self._wake_ups.get(timeout=seconds)
            except queue.Empty:
                if not uses and self._has_ended():
                    break
        return []

    def _has_ended(self) -> bool:
        """Let this thread end, unless a use was added meanwhile, whose caller may have seen it alive."""
        thread, self._thread = self._thread, None
        if not self._uses:
            return True
        self._thread = thread
        return False


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
