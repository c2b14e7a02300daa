"""Repeats a service's work until it is stopped: in the foreground, or in the background.

An error of a store is logged and waited out, so that work resumes by itself. A stop lets the round
under way end; a wake-up ends the pause. Work that was started in the background goes on until its service is closed,
even when nothing else refers to the service: the thread or task does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from edge_redis._core.pace import FixedPace, Pace, Pause, Round
from edge_redis._io.signals import stop_on_signals
from edge_redis._io.wake_ups import IsNews, Listen, WakeUps
from edge_redis.errors import EdgeRedisError

_log = logging.getLogger("edge_redis")

_CLOSING_SECONDS: Final = 2.0

_tasks: set[asyncio.Task[None]] = set()
"""Background tasks, kept here because an event loop refers to its tasks only weakly."""


def every(seconds: float) -> Pace:
    """Return the pace of work that is done every ``seconds``."""
    return FixedPace(seconds)


class _Outages:
    """Logs an outage once when it begins and once when it is over."""

    def __init__(self) -> None:
        self._is_failing = False

    def end(self) -> None:
        """Record a round that succeeded."""
        if self._is_failing:
            _log.warning("the store answers again")
            self._is_failing = False

    def add(self, error: BaseException) -> None:
        """Record a round that failed."""
        if isinstance(error, EdgeRedisError):
            _log.log(logging.DEBUG if self._is_failing else logging.WARNING, "will go on trying: %s", error)
        else:
            _log.error("will go on trying, after an unexpected error", exc_info=error)
        self._is_failing = True


class _Rounds:
    """The pauses between the rounds of a loop, and its wake-ups."""

    def __init__(self, pace: Pace, wake_ups: WakeUps) -> None:
        self._pace = pace
        self._wake_ups = wake_ups
        self._outages = _Outages()
        self._was_woken = False
        self._pause = Pause(0.0)
        self._ended_at = 0.0

    def begin(self) -> None:
        """Begin a round."""
        self._was_woken = self._wake_ups.take()

    def end(self, handled: object) -> None:
        """Begin the pause after a round that returned ``handled``."""
        self._outages.end()
        self._pause = self._pace.after(Round(handled, self._was_woken, self._wake_ups.is_listening))
        if self._pause.renews_listening:
            self._wake_ups.renew()
        self._ended_at = time.monotonic()

    def fail(self, error: BaseException) -> None:
        """Begin the pause after a round that failed."""
        self._outages.add(error)
        self._pause = self._pace.after_error()
        self._ended_at = time.monotonic()

    def seconds_left(self) -> float:
        """Return how much of the pause is left, as far as is known by now."""
        if not self._pause.seconds:
            return 0.0
        seconds = self._pause.least if self._wake_ups.has_come else self._pause.seconds
        return max(0.0, min(seconds, self._pause.seconds) - (time.monotonic() - self._ended_at))


class BlockingLoop:
    """Calls ``work`` again and again, in the thread that calls ``run`` or in one of its own."""

    def __init__(self, pace: Pace, listen: Listen | None = None) -> None:
        self._pace = pace
        self._wake_ups = WakeUps(listen)
        self._reset()

    def _reset(self) -> None:
        # A SimpleQueue, unlike an Event, may be put to by a signal handler whose thread is waiting for it.
        self._changes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopped = False
        self._running = threading.RLock()
        self._thread: threading.Thread | None = None

    def stop(self) -> None:
        """End ``run`` after the round under way. Safe in a signal handler and from any thread."""
        self._stopped = True
        self._changes.put(None)

    def wake(self, is_news: IsNews | None = None) -> None:
        """End the pause under way, or the next one, where ``is_news`` is true by then. Safe from any thread."""
        self._wake_ups.add(is_news)
        if self._changes.empty():  # else the loop is still to look at the wake-ups
            self._changes.put(None)

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
            self._wake_ups.stop()  # where the end of ``run`` was interrupted, they are still listening
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
        if self._stopped:
            return
        rounds = _Rounds(self._pace, self._wake_ups)
        try:
            self._wake_ups.start(self.wake)
            while not self._stopped:
                rounds.begin()
                try:
                    rounds.end(work())
                except waited_out as error:
                    rounds.fail(error)
                while not self._stopped and (left := rounds.seconds_left()):
                    with contextlib.suppress(queue.Empty):
                        self._changes.get(timeout=left)
        finally:
            self._wake_ups.stop()

    def after_fork(self) -> None:
        """Reset state in a forked child, where no thread runs; it can be started again."""
        self._wake_ups.forget()
        self._reset()


class AsyncLoop:
    """Awaits ``work`` again and again, in the task that awaits ``run`` or in one of its own."""

    def __init__(self, pace: Pace, listen: Listen | None = None) -> None:
        self._pace = pace
        self._wake_ups = WakeUps(listen)
        self._reset()

    def _reset(self) -> None:
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._running = asyncio.Lock()
        self._runner: asyncio.Task[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End ``run`` after the round under way. Safe in a signal handler and from any thread."""
        self._stopped = True
        self._notify()

    def wake(self, is_news: IsNews | None = None) -> None:
        """End the pause under way, or the next one, where ``is_news`` is true by then. Safe from any thread."""
        self._wake_ups.add(is_news)
        if not self._changed.is_set():
            self._notify()

    def _notify(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # that loop is closed
                self._loop.call_soon_threadsafe(self._changed.set)

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
            self._changed, self._running, self._task = asyncio.Event(), asyncio.Lock(), None
            self._loop = loop

    async def _repeat(self, work: Callable[[], Awaitable[object]], waited_out: type[Exception]) -> None:
        async with self._running:
            if self._stopped:
                return
            self._runner = asyncio.current_task()
            try:
                self._wake_ups.start(self.wake)
                await self._repeat_rounds(work, waited_out)
            finally:
                self._runner = None
                ends = [asyncio.ensure_future(each) for each in self._wake_ups.stop()]
                if ends:  # a listener that still connects would leave its connection open if the client is closed now
                    await asyncio.wait(ends, timeout=_CLOSING_SECONDS)

    async def _repeat_rounds(self, work: Callable[[], Awaitable[object]], waited_out: type[Exception]) -> None:
        rounds = _Rounds(self._pace, self._wake_ups)
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        while not self._stopped:
            rounds.begin()
            try:
                rounds.end(await work())
            except asyncio.CancelledError as error:
                if task is None or task.cancelling() > cancelled_before:
                    raise
                rounds.fail(error)  # of a user's store: nobody has cancelled this task
            except waited_out as error:
                rounds.fail(error)
            # The client library swallows some cancellations that arrive in the middle of a call.
            if task and task.cancelling() > cancelled_before:
                raise asyncio.CancelledError
            await self._pause(rounds)

    async def _pause(self, rounds: _Rounds) -> None:
        await asyncio.sleep(0)
        self._changed.clear()
        while not self._stopped and (left := rounds.seconds_left()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
            self._changed.clear()

    def after_fork(self) -> None:
        """Reset state in a forked child, where the parent's task does not run."""
        _tasks.clear()
        self._wake_ups.forget()
        self._reset()
