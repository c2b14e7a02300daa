"""Repeats a service's work until it is stopped, by a call or by SIGTERM or SIGINT.

Idle, it waits 20 ms to 500 ms, twice as long each time. An error of a store is waited out
in the same way, so work resumes by itself. A stop lets the round under way come to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Final

from edge_redis.errors import EdgeRedisError

_log = logging.getLogger("edge_redis")

LEAST_PAUSE: Final = 0.02
MOST_PAUSE: Final = 0.5
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class _Pace:
    """How long to wait after each round, and what to say of errors: once, not twice a second."""

    def __init__(self) -> None:
        self._pause = LEAST_PAUSE
        self._failing = False

    def after(self, done: int) -> float:
        if self._failing:
            _log.warning("the store answers again")
            self._failing = False
        return self._next(idle=not done)

    def after_error(self, error: EdgeRedisError) -> float:
        _log.log(logging.DEBUG if self._failing else logging.WARNING, "will go on trying: %s", error)
        self._failing = True
        return self._next(idle=True)

    def _next(self, *, idle: bool) -> float:
        if not idle:
            self._pause = LEAST_PAUSE
            return 0.0
        pause, self._pause = self._pause, min(self._pause * 2, MOST_PAUSE)
        return pause


class BlockingLoop:
    """InvokeAll ``work`` again and again in the thread that calls ``run``. Once stopped it stays so."""

    def __init__(self, work: Callable[[], int]) -> None:
        self._work = work
        # The one thing of the library that a signal handler may set while its thread waits for it.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopped = False
        self._running = threading.RLock()

    def stop(self) -> None:
        """End ``run`` after the round under way. Safe in a signal handler and from any thread."""
        self._stopped = True
        self._bell.put(None)

    def end(self) -> None:
        """Stop, and wait until the round under way has come to its end."""
        self.stop()
        with self._running:
            pass

    def run(self) -> None:
        """Work until stopped."""
        pace = _Pace()
        with self._running, _signals_to(self.stop):
            while not self._stopped:
                try:
                    pause = pace.after(self._work())
                except EdgeRedisError as error:
                    pause = pace.after_error(error)
                if pause and not self._stopped:
                    with contextlib.suppress(queue.Empty):
                        self._bell.get(timeout=pause)


@contextlib.contextmanager
def _signals_to(stop: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return

    def handler(_number: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class AsyncLoop:
    """Awaits ``work`` again and again in the task that awaits ``run``. Once stopped it stays so."""

    def __init__(self, work: Callable[[], Awaitable[int]]) -> None:
        self._work = work
        self._stopped = asyncio.Event()
        self._running = asyncio.Lock()

    def stop(self) -> None:
        """End ``run`` after the round under way. To be called on the loop's own thread."""
        self._stopped.set()

    async def end(self) -> None:
        """Stop, and wait until the round under way has come to its end."""
        self.stop()
        async with self._running:
            pass

    async def run(self) -> None:
        """Work until stopped."""
        pace = _Pace()
        async with self._running:
            with _loop_signals_to(self.stop):
                while not self._stopped.is_set():
                    try:
                        pause = pace.after(await self._work())
                    except EdgeRedisError as error:
                        pause = pace.after_error(error)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopped.wait(), pause or 1e-9)


@contextlib.contextmanager
def _loop_signals_to(stop: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, previous in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, previous)
