"""Threads for code that imports no threading or asyncio: their ids, calls in them, and futures to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from edge_redis._core.operation import Future

P = ParamSpec("P")
T = TypeVar("T")


class LockFreeFuture:
    """A result that threads and tasks wait for.

    It has no lock: an exception that a signal handler raises inside a lock's Python code, as in
    ``concurrent.futures``, leaves the lock held, and everybody else waiting for ever.
    """

    __slots__ = ("_is_done", "_result", "_wake_ups")

    def __init__(self) -> None:
        self._is_done = False
        self._result: Any = None
        self._wake_ups: set[Callable[[], object]] = set()

    def done(self) -> bool:
        """Return whether a result was set."""
        return self._is_done

    def result(self, timeout: float | None = None) -> Any:
        """Return the result, None where none was set."""
        del timeout
        return self._result

    def set_result(self, result: Any) -> None:
        """Set the result, unless there is one, and wake all that wait."""
        if not self._is_done:
            self._result = result
            self._is_done = True
        for wake_up in tuple(self._wake_ups):
            wake_up()

    def add_wake_up(self, wake_up: Callable[[], object]) -> None:
        """Call ``wake_up``, from whatever thread, once there is a result."""
        self._wake_ups.add(wake_up)
        if self._is_done:
            wake_up()

    def remove_wake_up(self, wake_up: Callable[[], object]) -> None:
        """Undo ``add_wake_up``."""
        self._wake_ups.discard(wake_up)


def new_future() -> LockFreeFuture:
    """Return a future that threads and tasks can wait for."""
    return LockFreeFuture()


def wait_for(future: Future, seconds: float) -> None:
    """Wait in this thread until a future is done, for at most ``seconds``."""
    awaited, wake_ups = cast("LockFreeFuture", future), queue.SimpleQueue[None]()
    wake_up = partial(wake_ups.put, None)
    try:
        awaited.add_wake_up(wake_up)
        with contextlib.suppress(queue.Empty):
            wake_ups.get(timeout=seconds)
    finally:
        awaited.remove_wake_up(wake_up)


async def wait_in_task(future: Future, seconds: float) -> None:
    """Wait in this task until a future is done, for at most ``seconds``."""
    awaited, loop = cast("LockFreeFuture", future), asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake_up() -> None:
        with contextlib.suppress(RuntimeError):  # that loop is closed
            loop.call_soon_threadsafe(woken.set)

    try:
        awaited.add_wake_up(wake_up)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await woken.wait()
    finally:
        awaited.remove_wake_up(wake_up)


def current_thread_id() -> int:
    """Return a number that no other running thread has."""
    return threading.get_ident()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function in a thread and return its result; other tasks run meanwhile.

    A task that is cancelled stops waiting; the function still runs to its end.
    """
    return await asyncio.to_thread(function, *args, **kwargs)
