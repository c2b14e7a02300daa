"""Renewals: operations that are repeated while a call runs, such as extending a lease while a function computes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import queue
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from edge_redis._core.operation import Batch, Operation, Renewal
from edge_redis.errors import EdgeRedisError

_Perform: TypeAlias = Callable[[Operation[bool] | Batch[Any]], Any]

_log = logging.getLogger("edge_redis")

_MAX_WAIT_SECONDS: Final = 1.0
"""How long the thread waits for the next renewal, at most; it ends where there was no call in that time."""


class _Use:
    """A renewal during one call."""

    __slots__ = ("__weakref__", "due", "left", "perform", "renewal")

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

    Most calls end before their renewal is due, so they wake the thread neither at their end nor at their beginning,
    where it wakes early enough by itself.

    It refers weakly to each use, which its caller holds: an interruption at the end of a call may keep it from being
    removed. It keeps no reference to the runner: a cycle would keep a dropped client's sockets open.
    It has no lock, which an exception that a signal handler raises might leave held: callers add
    their use, then see whether a thread runs; the thread does so in the opposite order when it ends.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._uses: set[weakref.ref[_Use]] = set()
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._wakes_at = math.inf
        """When the thread wakes without a wake-up; infinity while it plans, and may miss a use that is added."""
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
        reference = weakref.ref(use)
        try:
            uses.add(reference)
            if use.due < self._wakes_at:
                self._wake_ups.put(None)
            thread = self._thread
            if thread is None or not thread.is_alive():
                threading.Thread(target=self._work, name="edge-redis-renewal", daemon=True).start()
            yield
        finally:
            uses.discard(reference)

    def _work(self) -> None:
        self._thread = threading.current_thread()
        while self._perform_all(self._wait()):  # which leaves no use in a variable of this thread while it waits
            pass

    def _perform_all(self, uses: Sequence[_Use]) -> bool:
        """Perform renewals; return whether there were any."""
        for use in uses:
            result: object = True
            try:
                result = use.perform(use.renewal.make())
            except EdgeRedisError as error:  # the next renewal may still come before the lease expires
                _log.debug("a renewal failed: %s", error)
            except Exception:  # noqa: BLE001 -- the next renewal is due whatever it is
                _log.exception("a renewal failed, with an unexpected error")
            if not use.count(result):
                self._uses.discard(weakref.ref(use))
        return bool(uses)

    def _wait(self) -> Sequence[_Use]:
        """Wait for renewals that are due and plan their next time; return none where the thread is to end."""
        while self._thread is threading.current_thread():
            self._wakes_at = math.inf
            now = time.monotonic()
            ready, seconds = self._plan(now)
            if ready:
                return ready
            self._wakes_at = now + seconds
            try:
                self._wake_ups.get(timeout=seconds)
            except queue.Empty:
                if not self._uses and self._has_ended():
                    break
        return ()

    def _plan(self, now: float) -> tuple[Sequence[_Use], float]:
        """Return the renewals that are due, and the seconds to wait where there are none."""
        uses = []
        for reference in tuple(self._uses):
            use = reference()
            if use is None:
                self._uses.discard(reference)
            else:
                uses.append(use)
        ready = [use for use in uses if use.due <= now]
        for use in ready:
            use.due = now + use.renewal.seconds
        return ready, min([_MAX_WAIT_SECONDS, *(use.due - now for use in uses)])

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
