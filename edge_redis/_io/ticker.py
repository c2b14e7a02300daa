"""Calls a service's function at intervals: on threads that all blocking services share, in tasks of an event loop.

An error does not stop it: what could not be flushed is kept and sent with the next tick.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, NamedTuple

from edge_redis._io.threads import LockFreeFuture, wait_for
from edge_redis._io.ticker_task import ticker_task_of
from edge_redis._io.ticker_threads import ticker_threads
from edge_redis.errors import EdgeRedisError

_log = logging.getLogger("edge_redis")

_LONG_SECONDS: Final = 3600.0


def _always() -> bool:
    return True


class _Call(NamedTuple):
    """A call under way: a stop waits for its end without a lock, which an interruption could leave held."""

    thread_id: int
    ended: LockFreeFuture


class ThreadTicker:
    """Calls ``target`` every ``seconds``, where ``is_due`` is true by then.

    Tickers with an equal ``lane`` (those of one server) share a thread, unless a call takes long.
    """

    def __init__(
        self,
        seconds: float,
        target: Callable[[], object],
        *,
        is_due: Callable[[], bool] = _always,
        lane: Hashable = None,
    ) -> None:
        self.seconds = seconds
        self.is_due = is_due
        self.lane = lane
        self.next_at = float("inf")
        """When the next call is due, in the seconds of the monotonic clock."""
        self._target = target
        self.after_fork()

    def after_fork(self) -> None:
        """Reset state in a forked child, where no thread runs; it can be started again."""
        self.is_waiting = False
        """Whether a call was handed to a thread that has not ended it."""
        self._is_running = False
        self._stopped = False
        self._call: _Call | None = None

    def ensure_running(self) -> None:
        """Start to tick, unless it does or was stopped."""
        if not self._is_running and not self._stopped:
            ticker_threads.add(self)
            self._is_running = True
            self._remove_if_stopped()  # by another thread, meanwhile

    def _remove_if_stopped(self) -> None:
        if self._stopped:
            ticker_threads.remove(self)

    def stop(self) -> None:
        """Stop, and wait until a call under way has ended, unless this is called inside it."""
        self._stopped = True
        self._remove_if_stopped()
        call = self._call  # after _stopped was set: a call that begins later does nothing
        if call is not None and call.thread_id != threading.get_ident():
            while not call.ended.done():
                wait_for(call.ended, _LONG_SECONDS)
        ticker_threads.join_unused()

    def call(self) -> None:
        """Call the target, in whatever thread."""
        self._call = call = _Call(threading.get_ident(), LockFreeFuture())
        try:
            if not self._stopped:
                self._target()
        except BaseException as error:  # noqa: BLE001 -- also a SystemExit: the thread is not only this service's
            _log_error(error, self.seconds)
        finally:
            self._call, self.is_waiting = None, False
            call.ended.set_result(None)


class TaskTicker:
    """Awaits ``target`` every ``seconds``, in a task of the running loop, where ``is_due`` is true by then."""

    def __init__(
        self, seconds: float, target: Callable[[], Awaitable[object]], *, is_due: Callable[[], bool] = _always
    ) -> None:
        self.seconds = seconds
        self.is_due = is_due
        self.next_at = float("inf")
        self._target = target
        self.after_fork()

    def after_fork(self) -> None:
        """Reset state in a forked child, where the parent's loop does not run."""
        self._shared: asyncio.Task[None] | None = None
        self._call: asyncio.Task[None] | None = None

    def ensure_running(self) -> None:
        """Start to tick on the running loop, unless it does already."""
        shared = self._shared
        if shared is None or shared.done() or shared.get_loop() is not asyncio.get_running_loop():
            self._shared = ticker_task_of(asyncio.get_running_loop()).add(self)

    @property
    def is_waiting(self) -> bool:
        """Whether a call is under way."""
        return self._call is not None and not self._call.done()

    def begin_call(self) -> asyncio.Task[None]:
        """Begin a call, in a task of its own, and return that."""
        self._call = call = asyncio.get_running_loop().create_task(self._await_target(), name="edge-redis-tick")
        return call

    async def _await_target(self) -> None:
        try:
            await self._target()
        except Exception as error:  # noqa: BLE001 -- the next tick is due after any error
            _log_error(error, self.seconds)

    def stop(self) -> set[asyncio.Task[None]]:
        """Stop; cancel a call under way, what it was sending stays buffered; return the tasks that are about to end."""
        shared, call = self._shared, self._call
        self._shared = self._call = None
        ending: set[asyncio.Task[None]] = set()
        if shared is not None and not shared.get_loop().is_closed():
            ending |= ticker_task_of(shared.get_loop()).remove(self)
        if call is not None and not call.get_loop().is_closed():
            call.cancel()
            ending.add(call)
        return ending


def _log_error(error: BaseException, seconds: float) -> None:
    with contextlib.suppress(Exception):  # of a handler of the application: the thread is not only this service's
        if isinstance(error, EdgeRedisError):
            _log.warning("will try again in %s s: %s", seconds, error)
        else:
            _log.error("will try again in %s s, after an unexpected error", seconds, exc_info=error)
