"""Background work of a service: in a daemon thread of a blocking service, in a task of an asyncio service."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import Final

_FIRST: Final = "first"


class BackgroundThread:
    """Work in a daemon thread, from the first ``ensure_running`` until ``stop``."""

    name: str
    """Of the thread."""

    join_seconds: float | None = None
    """How long ``stop`` waits for the end of the work; None: however long it takes."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._first: dict[str, threading.Thread] = {}
        self._stopped = False
        # Unlike an Event, a SimpleQueue has no lock that an interrupted ``stop`` could leave held.
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ensure_running(self) -> None:
        """Start the thread, unless it runs or was stopped."""
        if self._thread is None and not self._stopped:
            threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def _run(self) -> None:
        """Work, unless another thread was started as well: by a caller at the same time, or after an interruption."""
        current = threading.current_thread()
        if self._first.setdefault(_FIRST, current) is current:
            self._thread = current
            self._work()

    def stop(self) -> None:
        """Stop the work, and wait until it has ended, unless this is called inside it."""
        self._stopped = True
        self._wake_ups.put(None)
        self._wake()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(self.join_seconds)

    def after_fork(self) -> None:
        """Reset state in a forked child, where no thread runs; it can be started again."""
        self._reset()

    def _work(self) -> None:
        """Work until ``_stopped`` is true."""
        raise NotImplementedError

    def _wait(self, seconds: float) -> bool:
        """Wait; return whether to go on, at once where it is stopped."""
        with contextlib.suppress(queue.Empty):
            self._wake_ups.get(timeout=seconds)
        return not self._stopped

    def _wake(self) -> None:
        """Make ``_work`` look at ``_stopped``, if it waits for something else."""


class BackgroundTask:
    """Work in a task of the running loop, from ``ensure_running`` until ``stop``."""

    name: str
    """Of the task."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def ensure_running(self) -> None:
        """Start a task on the running loop, unless one runs there already."""
        task = self._task
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.get_running_loop().create_task(self._work(), name=self.name)

    def stop(self) -> set[asyncio.Task[None]]:
        """Cancel the task, and return it if its loop is open: it may still be closing a connection."""
        task, self._task = self._task, None
        if task is None or task.get_loop().is_closed():
            return set()
        task.cancel()
        return {task}

    def after_fork(self) -> None:
        """Reset state in a forked child, where the parent's task does not run."""
        self._task = None

    async def _work(self) -> None:
        """Work until ``is_cancelled``."""
        raise NotImplementedError


def is_cancelled() -> bool:
    """Return whether the current task was cancelled. A client may swallow a cancellation in the middle of a call."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
