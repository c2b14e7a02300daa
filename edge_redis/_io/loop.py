"""Repeats a service's work until it is stopped: in the foreground, or in the background.

An error of a store is logged and waited out, so that work resumes by itself. A stop lets the round
under way end. Work that was started in the background goes on until its service is closed,
even when nothing else refers to the service: the thread or task does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from edge_redis._io.signals import stop_on_signals
from edge_redis.errors import EdgeRedisError

_log = logging.getLogger("edge_redis")

_tasks: set[asyncio.Task[None]] = set()
"""Background tasks, kept here because an event loop refers to its tasks only weakly."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Seconds to pause after a round.

    ``busy`` after a round that did something; otherwise ``idle``, doubled after each idle round up to ``idle_most``.
    """

    busy: float
    idle: float
    idle_most: float


WORKER_INTERVAL: Final = Interval(busy=0.0, idle=0.02, idle_most=0.5)


def every(seconds: float) -> Interval:
    """Return the interval of work that is done every ``seconds``."""
    return Interval(seconds, seconds, seconds)


class _Pace:
    """The pause after each round. Logs an outage once when it begins and once when it is over."""

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._pause = interval.idle
        self._is_failing = False

    def after(self, done: object) -> float:
        """Return the pause after a round that returned ``done``."""
        if self._is_failing:
            _log.warning("the store answers again")
            self._is_failing = False
        if done:
            self._pause = self._interval.idle
            return self._interval.busy
        return self._next()

    def after_error(self, error: BaseException) -> float:
        """Return the pause after a round that failed."""
        if isinstance(error, EdgeRedisError):
            _log.log(logging.DEBUG if self._is_failing else logging.WARNING, "will go on trying: %s", error)
        else:
            _log.error("will go on trying, after an unexpected error", exc_info=error)
        self._is_failing = True
        return self._next()

    def _next(self) -> float:
        pause, self._pause = self._pause, min(self._pause * 2, self._interval.idle_most)
        return pause


class BlockingLoop:
    """Calls ``work`` again and again, in the thread that calls ``run`` or in one of its own."""

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._reset()

    def _reset(self) -> None:
        # A SimpleQueue, unlike an Event, may be put to by a signal handler whose thread is waiting for it.
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopped = False
        self._running = threading.RLock()
        self._thread: threading.Thread | None = None

    def stop(self) -> None:
        """End ``run`` after the round under way. Safe in a signal handler and from any thread."""
        self._stopped = True
        self._wake_ups.put(None)

    def end(self, timeout: float | None = None) -> bool:
        """Stop; return whether the round under way has ended within ``timeout`` seconds (None: however long it takes).

        From inside that round it returns at once.
        """
        self.stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        ended = self._running.acquire(timeout=-1 if timeout is None else timeout)
        if ended:
            self._running.release()
        return ended

    def run(self, work: Callable[[], object], *, handle_signals: bool) -> None:
        """Work until stopped; return at once where a stop came before."""
        with stop_on_signals(self.stop) if handle_signals else contextlib.nullcontext(), self._running:
            self._repeat(work, EdgeRedisError)

    def start(self, work: Callable[[], object]) -> None:
        """Work in a daemon thread until stopped; do nothing where that runs already.

        It takes no lock, which an interrupted call might leave taken. If two threads are started at once,
        the second works when the first has ended.
        """
        thread = self._thread
        if thread is not None and thread.is_alive():
            if not self._stopped or thread is threading.current_thread():
                self._stopped = False
                return
            thread.join()
        self._stopped = False
        thread = threading.Thread(target=self._work, args=(work,), name="edge-redis-loop", daemon=True)
        thread.start()
        self._thread = thread  # only now: a thread that was never started cannot be joined

    def _work(self, work: Callable[[], object]) -> None:
        with self._running:
            self._repeat(work, BaseException)  # else a SystemExit of the work would end the thread without a report

    def _repeat(self, work: Callable[[], object], waited_out: type[BaseException]) -> None:
        pace = _Pace(self._interval)
        while not self._stopped:
            try:
                pause = pace.after(work())
            except waited_out as error:
                pause = pace.after_error(error)
            if pause and not self._stopped:
                with contextlib.suppress(queue.Empty):
                    self._wake_ups.get(timeout=pause)

    def after_fork(self) -> None:
        """Reset state in a forked child, where no thread runs; it can be started again."""
        self._reset()


class AsyncLoop:
    """Awaits ``work`` again and again, in the task that awaits ``run`` or in one of its own."""

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._reset()

    def _reset(self) -> None:
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake_up = asyncio.Event()
        self._running = asyncio.Lock()
        self._runner: asyncio.Task[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End ``run`` after the round under way. Safe in a signal handler and from any thread."""
        self._stopped = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # that loop is closed
                self._loop.call_soon_threadsafe(self._wake_up.set)

    async def end(self) -> None:
        """Stop, and wait until the round under way has ended, unless this is called inside it."""
        self.stop()
        if self._loop is asyncio.get_running_loop() and self._runner is not asyncio.current_task():
            async with self._running:
                pass

    async def run(self, work: Callable[[], Awaitable[object]], *, handle_signals: bool) -> None:
        """Work until stopped; return at once where a stop came before."""
        self._use_running_loop()
        with stop_on_signals(self.stop) if handle_signals else contextlib.nullcontext():
            await self._repeat(work, EdgeRedisError)

    def start(self, work: Callable[[], Awaitable[object]]) -> None:
        """Work in a task of the running loop until stopped; do nothing where that runs already."""
        self._use_running_loop()
        task = self._task
        if task is not None and not task.done() and not self._stopped:
            return
        self._stopped = False
        self._task = asyncio.get_running_loop().create_task(self._repeat(work, Exception), name="edge-redis-loop")
        _tasks.add(self._task)
        self._task.add_done_callback(_tasks.discard)

    def _use_running_loop(self) -> None:
        """On another loop than before, make a new event and lock: they belong to one loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._wake_up, self._running, self._task = asyncio.Event(), asyncio.Lock(), None
            self._loop = loop

    async def _repeat(self, work: Callable[[], Awaitable[object]], waited_out: type[Exception]) -> None:
        pace = _Pace(self._interval)
        async with self._running:
            self._runner = task = asyncio.current_task()
            cancelled_before = task.cancelling() if task else 0
            try:
                while not self._stopped:
                    try:
                        pause = pace.after(await work())
                    except asyncio.CancelledError as error:
                        if task is None or task.cancelling() > cancelled_before:
                            raise
                        pause = pace.after_error(error)  # of a user's store: nobody has cancelled this task
                    except waited_out as error:
                        pause = pace.after_error(error)
                    # The client library swallows some cancellations that arrive in the middle of a call.
                    if task and task.cancelling() > cancelled_before:
                        raise asyncio.CancelledError
                    await self._pause(pause)
            finally:
                self._runner = None

    async def _pause(self, seconds: float) -> None:
        self._wake_up.clear()
        if self._stopped or not seconds:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake_up.wait()

    def after_fork(self) -> None:
        """Reset state in a forked child, where the parent's task does not run."""
        _tasks.clear()
        self._reset()
