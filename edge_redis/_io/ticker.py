"""Calls a function every so often: in a daemon thread where it is blocking, else in a task.

An error does not stop it: what could not be flushed is kept and sent with the next tick.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

from edge_redis.errors import EdgeRedisError

_log = logging.getLogger("edge_redis")


class ThreadTicker:
    """Calls ``target`` every ``seconds`` in a daemon thread, from the first ``ensure`` until ``stop``."""

    def __init__(self, seconds: float, target: Callable[[], object]) -> None:
        self._seconds = seconds
        self._target = target
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._starting = threading.Lock()

    def ensure(self) -> None:
        """Start the thread, unless it runs already."""
        if self._thread is None:
            with self._starting:
                if self._thread is None and not self._stopped.is_set():
                    thread = threading.Thread(target=self._loop, name="edge-redis-ticker", daemon=True)
                    thread.start()
                    self._thread = thread  # only now: a call interrupted before must not leave one that never started

    def _loop(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._target()
            except EdgeRedisError as error:
                _log.warning("will try again in %s s: %s", self._seconds, error)
            except Exception:  # noqa: BLE001 -- the next tick is due whatever it is
                _log.exception("will try again in %s s, after an unexpected error", self._seconds)

    def stop(self) -> None:
        """Stop, and wait for a tick that is under way, unless this is called inside it."""
        self._stopped.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def after_fork(self) -> None:
        """Reset state in a forked child, where no thread runs; it can be started again."""
        self._thread = None
        self._stopped = threading.Event()
        self._starting = threading.Lock()


class TaskTicker:
    """Awaits ``target`` every ``seconds`` in a task of the running loop, from ``ensure`` until ``stop``."""

    def __init__(self, seconds: float, target: Callable[[], Awaitable[object]]) -> None:
        self._seconds = seconds
        self._target = target
        self._task: asyncio.Task[None] | None = None

    def ensure(self) -> None:
        """Start a task on the running loop, unless one runs there already."""
        task = self._task
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.get_running_loop().create_task(self._loop(), name="edge-redis-ticker")

    async def _loop(self) -> None:
        task = asyncio.current_task()
        # A client may swallow the cancellation that reaches it in the middle of a call.
        while task is not None and not task.cancelling():
            await asyncio.sleep(self._seconds)
            try:
                await self._target()
            except EdgeRedisError as error:
                _log.warning("will try again in %s s: %s", self._seconds, error)
            except Exception:  # noqa: BLE001 -- the next tick is due whatever it is
                _log.exception("will try again in %s s, after an unexpected error", self._seconds)

    def stop(self) -> asyncio.Task[None] | None:
        """Stop ticking, and return the task, unless its loop is closed.

        A tick under way is cancelled; what it was sending stays in the buffer.
        """
        task, self._task = self._task, None
        if task is None or task.get_loop().is_closed():
            return None
        task.cancel()
        return task

    def after_fork(self) -> None:
        """Reset state in a forked child, where the parent's task does not run."""
        self._task = None
