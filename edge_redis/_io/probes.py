"""Probes suspected nodes by a function of the user, within a time limit.

A probe that takes longer than one call continues, and a later call returns its result. Probes run
in daemon threads, so that one that never returns does not keep the process alive.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from edge_redis._io.user_functions import is_coroutine_function
from edge_redis.errors import InvalidTypeError

_log = logging.getLogger("edge_redis")

MAX_CONCURRENCY: Final = 16
"""Nodes that are probed at the same time."""

PROBE_SECONDS: Final = 10.0
"""How long a probe may take. After that the node counts as not answering."""

MAX_ABANDONED: Final = 64
"""Probes that have not returned in time, at most. Past that none is started, and nodes count as not answering."""


class _Result(NamedTuple):
    thread: threading.Thread
    at: float
    value: object
    error: BaseException | None


class BlockingProbe:
    """Probes nodes with ``confirm(node_id)``, in threads."""

    def __init__(self, confirm: Callable[[str], object], *, limit_seconds: float = PROBE_SECONDS) -> None:
        self._confirm = confirm
        self._limit = limit_seconds
        self._running: dict[str, tuple[threading.Thread, float]] = {}
        self._abandoned: list[threading.Thread] = []
        self._results: queue.SimpleQueue[tuple[str, _Result]] = queue.SimpleQueue()

    def __call__(self, node_ids: Sequence[str], seconds: float) -> dict[str, bool]:
        """Return whether each node confirmed; nodes whose probes take longer than ``seconds`` are left out."""
        deadline = time.monotonic() + seconds
        answers: dict[str, bool] = {}
        self._collect(answers, 0.0)
        answers = {node_id: answer for node_id, answer in answers.items() if node_id in node_ids}
        waiting = [node_id for node_id in node_ids if node_id not in self._running and node_id not in answers]
        while any(node_id not in answers for node_id in node_ids):
            self._abandon_overdue(answers)
            while waiting and len(self._running) < MAX_CONCURRENCY:
                self._start(waiting.pop(0), answers)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            self._collect(answers, min(remaining, self._limit / 10))
        return {node_id: answers[node_id] for node_id in node_ids if node_id in answers}

    def close(self) -> None:
        """Ignore the results of the probes that still run."""
        self._running.clear()

    def _start(self, node_id: str, answers: dict[str, bool]) -> None:
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        if len(self._abandoned) >= MAX_ABANDONED:
            _log.warning("node %r was not probed: %d probes have not returned", node_id, len(self._abandoned))
            answers[node_id] = False
            return
        thread = threading.Thread(target=self._probe, args=(node_id,), name="edge-redis-probe", daemon=True)
        self._running[node_id] = thread, time.monotonic()
        thread.start()

    def _probe(self, node_id: str) -> None:
        value, error = None, None
        try:
            value = self._confirm(node_id)
        except BaseException as raised:  # noqa: BLE001 -- an error counts as a node that does not answer
            error = raised
        self._results.put((node_id, _Result(threading.current_thread(), time.monotonic(), value, error)))

    def _collect(self, answers: dict[str, bool], seconds: float) -> None:
        """Wait for a result, then take all results that have arrived. A result older than the limit is dropped."""
        wait = seconds
        while True:
            try:
                node_id, result = self._results.get(timeout=wait) if wait > 0 else self._results.get_nowait()
            except queue.Empty:
                return
            wait = 0.0
            running = self._running.get(node_id)
            if running is None or running[0] is not result.thread:
                continue
            del self._running[node_id]
            if time.monotonic() - result.at <= self._limit:
                answers[node_id] = _has_confirmed(result.value, result.error, node_id)

    def _abandon_overdue(self, answers: dict[str, bool]) -> None:
        now = time.monotonic()
        overdue = [node_id for node_id, (_, begun) in self._running.items() if now - begun >= self._limit]
        for node_id in overdue:
            self._abandoned.append(self._running.pop(node_id)[0])
            _log.warning("probe of node %r did not return within %g s", node_id, self._limit)
            answers[node_id] = False


class AsyncProbe:
    """Probes nodes with ``confirm(node_id)``, in tasks, or in threads where ``confirm`` is not a coroutine function."""

    def __init__(self, confirm: Callable[[str], object], *, limit_seconds: float = PROBE_SECONDS) -> None:
        self._confirm = confirm
        self._limit = limit_seconds
        self._threads = None if is_coroutine_function(confirm) else BlockingProbe(confirm, limit_seconds=limit_seconds)
        self._tasks: dict[str, asyncio.Task[object]] = {}
        self._places = asyncio.Semaphore(MAX_CONCURRENCY)

    async def __call__(self, node_ids: Sequence[str], seconds: float) -> dict[str, bool]:
        """Return whether each node confirmed; nodes whose probes take longer than ``seconds`` are left out."""
        if self._threads is not None:
            return await asyncio.to_thread(self._threads, node_ids, seconds)
        self._drop_tasks_of_other_loops()
        for node_id in node_ids:
            if node_id not in self._tasks:
                self._tasks[node_id] = asyncio.ensure_future(self._probe(node_id))
        wanted = {self._tasks[node_id]: node_id for node_id in node_ids}
        finished, _ = await asyncio.wait(wanted, timeout=seconds)
        for node_id in [node_id for node_id, task in self._tasks.items() if task.done()]:
            task = self._tasks.pop(node_id)
            if task not in finished and not task.cancelled():
                task.exception()  # read, so that asyncio does not log an exception that no round waits for
        return {
            wanted[task]: _has_confirmed(None if task.exception() else task.result(), task.exception(), wanted[task])
            for task in finished
            if not task.cancelled()
        }

    async def _probe(self, node_id: str) -> object:
        async with self._places, asyncio.timeout(self._limit):
            answer: object = await self._confirm(node_id)  # type: ignore[misc]
            return answer

    def _drop_tasks_of_other_loops(self) -> None:
        loop = asyncio.get_running_loop()
        if any(task.get_loop() is not loop for task in self._tasks.values()):
            self._tasks.clear()
            self._places = asyncio.Semaphore(MAX_CONCURRENCY)

    def close(self) -> None:
        """Cancel the probes that run."""
        for task in self._tasks.values():
            if not task.get_loop().is_closed():
                task.cancel()
        self._tasks.clear()


def _has_confirmed(value: object, error: BaseException | None, node_id: str) -> bool:
    if inspect.iscoroutine(value):
        value.close()
        raise InvalidTypeError("confirm returned an awaitable: use a coroutine function, and edge_redis.aio")
    if error is None:
        return bool(value)
    _log.warning("probe of node %r failed: %r", node_id, error)
    return False
