"""The engine of a service: a component with its runner and background work.

An engine outlives a service that is dropped with something in its buffer (see ``shutdown``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from edge_redis._core.component import Component
from edge_redis._io import shutdown
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.background import BackgroundTask, BackgroundThread
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.exit_flush import run_in_new_loop
from edge_redis._io.loop import AsyncLoop, BlockingLoop
from edge_redis._io.shared import server_identity
from edge_redis._io.ticker import TaskTicker, ThreadTicker

LAST_ROUND_SECONDS: Final = 2.0
"""How long ``close``, and the end of the process, wait for background work that is under way."""


class BlockingEngine:
    """Drives a component on a blocking client."""

    def __init__(self, runner: BlockingRunner, component: Component, listener: BackgroundThread | None) -> None:
        self.runner = runner
        self.component = component
        self.dropped = False
        """Whether the service is gone: the next tick makes the last flush."""
        self.is_running = False
        """Whether the service is open and its background work was started: all that a call has to check."""
        self.loop: BlockingLoop | None = None
        seconds = component.tick_seconds
        self.buffers = seconds is not None
        """Whether the component has something to flush."""
        self._lane = server_identity(runner.client)
        ticker = None if seconds is None else ThreadTicker(seconds, self._tick, is_due=self._is_due, lane=self._lane)
        self.background: list[ThreadTicker | BackgroundThread] = [
            each for each in (ticker, listener) if each is not None
        ]
        component.mutex = shutdown.new_mutex()

    def add_ticker(self, seconds: float, work: Callable[[], Awaitable[object]]) -> ThreadTicker:
        """Return a ticker that performs ``work`` every ``seconds`` once it runs; ``stop`` stops it."""
        ticker = ThreadTicker(seconds, lambda: self.runner.run(work()), lane=self._lane)
        self.background.append(ticker)
        return ticker

    def _is_due(self) -> bool:
        return self.dropped or self.component.is_tick_due()

    def _tick(self) -> None:
        self.runner.run(self.component.tick())
        if self.dropped:
            self.flush()
            if self.component.has_flushed:
                self.stop()

    def flush(self) -> None:
        """Run the component's ``closing``: its last flush."""
        self.is_running = False
        self.runner.run(self.component.closing())

    def stop(self) -> None:
        """Stop the background work. If this is interrupted, calling it again finishes it."""
        self.is_running = False  # a call under way may have set it again
        for each in self.background:
            each.stop()
        self.background.clear()  # these refer back to the engine: the cycle would keep the client's socket open
        shutdown.forget(self)

    def at_exit(self) -> None:
        """Flush at the end of the process, unless a round of work does not end in time."""
        if self.loop is None or self.loop.end(LAST_ROUND_SECONDS):
            self.flush()
            self.stop()

    def after_fork(self) -> None:
        """Reset state in a forked child."""
        self.is_running = False
        self.component.mutex = shutdown.new_mutex()
        self.component.after_fork()
        if self.loop is not None:
            self.loop.after_fork()
        for each in self.background:
            each.after_fork()


class AsyncEngine:
    """Drives a component on an asyncio client."""

    is_running = False
    """Always false, so that each call checks: the service may be used on a second loop, which has no ticker yet."""

    def __init__(self, runner: AsyncRunner, component: Component, listener: BackgroundTask | None) -> None:
        self.runner = runner
        self.component = component
        self.dropped = False
        self.loop: AsyncLoop | None = None
        seconds = component.tick_seconds
        self.buffers = seconds is not None
        ticker = None if seconds is None else TaskTicker(seconds, self._tick, is_due=self._is_due)
        self.background: list[TaskTicker | BackgroundTask] = [each for each in (ticker, listener) if each is not None]

    def add_ticker(self, seconds: float, work: Callable[[], Awaitable[object]]) -> TaskTicker:
        """Return a ticker that performs ``work`` every ``seconds`` once it runs; ``stop`` stops it."""
        ticker = TaskTicker(seconds, lambda: self.runner.run(work()))
        self.background.append(ticker)
        return ticker

    def _is_due(self) -> bool:
        return self.dropped or self.component.is_tick_due()

    async def _tick(self) -> None:
        await self.runner.run(self.component.tick())
        if self.dropped:
            await self.flush()
            if self.component.has_flushed:
                self.stop()

    async def flush(self) -> None:
        """Run the component's ``closing``: its last flush."""
        await self.runner.run(self.component.closing())

    def stop(self) -> set[asyncio.Task[None]]:
        """Stop the background work, and return its tasks. If this is interrupted, calling it again finishes it."""
        tasks = {task for each in self.background for task in each.stop()}
        self.background.clear()  # these refer back to the engine: the cycle would keep the client's socket open
        shutdown.forget(self)
        return tasks

    def at_exit(self) -> None:
        """Flush at the end of the process, when the engine's loop and its connections have ended."""
        if self.buffers or self.loop is not None:
            run_in_new_loop(self.runner.client, self.component.closing())

    def after_fork(self) -> None:
        """Reset state in a forked child."""
        self.component.after_fork()
        if self.loop is not None:
            self.loop.after_fork()
        for each in self.background:
            each.after_fork()
