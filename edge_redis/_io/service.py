"""The base classes of the public services: a client, a component, background work and an end.

A service is what users hold. Its *engine* (runner, component, background work) outlives a service
that is dropped with something in its buffer; see ``shutdown``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import CoroutineType, TracebackType
from typing import Final, Generic, NoReturn, Protocol, Self, TypeVar

from edge_redis._core.component import Component
from edge_redis._io import shutdown
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.clients import AsyncClient, BlockingClient
from edge_redis._io.exit_flush import run_in_new_loop
from edge_redis._io.loop import AsyncLoop, BlockingLoop
from edge_redis._io.ticker import TaskTicker, ThreadTicker
from edge_redis.errors import ServiceClosedError

C = TypeVar("C", bound=Component)
T = TypeVar("T")

_LAST_ROUND_SECONDS: Final = 2.0
"""How long ``close``, and the end of the process, wait for background work that is under way."""


class Background(Protocol):
    """Background work of a service: a ticker, or a listener for invalidations."""

    def ensure(self) -> None:
        """Start, unless it runs already."""

    def stop(self) -> None:
        """Stop."""

    def after_fork(self) -> None:
        """Reset state in a forked child, where it can be started again."""


class AsyncBackground(Protocol):
    """Background work of an asyncio service."""

    def ensure(self) -> None:
        """Start a task on the running loop, unless one runs there already."""

    def stop(self) -> asyncio.Task[None] | None:
        """Cancel the task, and return it if its loop is open: it may still be closing a connection."""

    def after_fork(self) -> None:
        """Reset state in a forked child, where it can be started again."""


class _BlockingEngine:
    """Drives a component on a blocking client."""

    def __init__(self, runner: BlockingRunner, component: Component, listener: Background | None) -> None:
        self.runner = runner
        self.component = component
        self.dropped = False
        self.is_running = False
        """Whether the service is open and its background work was started; the only check of a fast path."""
        self.loop: BlockingLoop | None = None
        seconds = component.tick_seconds
        self.buffers = seconds is not None
        ticker = None if seconds is None else ThreadTicker(seconds, self._tick)
        self.background = [each for each in (ticker, listener) if each is not None]
        component.mutex = shutdown.new_mutex()

    def _tick(self) -> None:
        self.runner.run(self.component.tick())
        if self.dropped:
            self.flush()
            self.stop()

    def flush(self) -> None:
        """Make the component's last flush."""
        self.is_running = False
        self.runner.run(self.component.closing())

    def stop(self) -> None:
        """Stop the background work; again, where a first call was interrupted, finishes it."""
        self.is_running = False  # a call under way may have set it again
        for each in self.background:
            each.stop()
        self.background.clear()  # these refer back to the engine: the cycle would keep the client's socket open
        shutdown.forget(self)

    def at_exit(self) -> None:
        """Flush at the end of the process; without, where a round of work does not end in time."""
        if self.loop is None or self.loop.end(_LAST_ROUND_SECONDS):
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


class BlockingService(Generic[C]):
    """A component on a blocking client. Safe to use from many threads."""

    def __init__(self, client: BlockingClient, component: C, listener: Background | None = None) -> None:
        self._runner = BlockingRunner(client)
        self._component = component
        self._closed = False
        self._engine = _BlockingEngine(self._runner, component, listener)
        self._background = tuple(self._engine.background)
        shutdown.watch(self, self._engine)

    @property
    def namespace(self) -> str:
        """The namespace of this service."""
        return self._component.namespace

    def _run(self, awaitable: Awaitable[T]) -> T:
        """Check that the service is open, start its background work, and perform ``awaitable``."""
        if not self._engine.is_running:
            try:
                self._use()
            except BaseException:
                _discard(awaitable)
                raise
        return self._runner.run(awaitable)

    def _use(self) -> None:
        self._require_open()
        self._start_background()
        self._engine.is_running = True
        self._require_open()  # another thread may have closed it meanwhile

    def _require_open(self) -> None:
        if self._closed:
            self._engine.is_running = False
            _raise_closed(self)

    def _start_background(self) -> None:
        for each in self._background:
            each.ensure()

    def close(self) -> None:
        """Flush what is buffered and stop the background work. The client stays open.

        Closing again does nothing. Where the flush fails, its error is raised and the service
        stays open with its buffer whole, so that ``close`` can be called again.
        """
        if not self._closed:
            self._engine.flush()
            self._closed = True
        self._engine.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _AsyncEngine:
    """Drives a component on an asyncio client."""

    is_running = False
    """Always false, so that each call checks: the service may be used on a second loop, without a ticker yet."""

    def __init__(self, runner: AsyncRunner, component: Component, listener: AsyncBackground | None) -> None:
        self.runner = runner
        self.component = component
        self.dropped = False
        self.loop: AsyncLoop | None = None
        seconds = component.tick_seconds
        self.buffers = seconds is not None
        ticker = None if seconds is None else TaskTicker(seconds, self._tick)
        self.background = [each for each in (ticker, listener) if each is not None]

    async def _tick(self) -> None:
        await self.runner.run(self.component.tick())
        if self.dropped:
            await self.flush()
            self.stop()

    async def flush(self) -> None:
        """Make the component's last flush."""
        await self.runner.run(self.component.closing())

    def stop(self) -> set[asyncio.Task[None]]:
        """Stop the background work; again, where a first call was interrupted, finishes it. Return its tasks."""
        tasks = {task for each in self.background if (task := each.stop()) is not None}
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


class AsyncService(Generic[C]):
    """A component on an asyncio client. Safe to use from many tasks of one loop."""

    def __init__(self, client: AsyncClient, component: C, listener: AsyncBackground | None = None) -> None:
        self._runner = AsyncRunner(client)
        self._component = component
        self._closed = False
        self._engine = _AsyncEngine(self._runner, component, listener)
        self._background = tuple(self._engine.background)
        shutdown.watch(self, self._engine)

    @property
    def namespace(self) -> str:
        """The namespace of this service."""
        return self._component.namespace

    async def _run(self, awaitable: Awaitable[T]) -> T:
        """Check that the service is open, start its background work, and perform ``awaitable``."""
        try:
            self._use()
        except BaseException:
            _discard(awaitable)
            raise
        return await self._runner.run(awaitable)

    def _use(self) -> None:
        self._require_open()
        self._start_background()

    def _require_open(self) -> None:
        if self._closed:
            _raise_closed(self)

    def _start_background(self) -> None:
        for each in self._background:
            each.ensure()

    async def close(self) -> None:
        """Flush what is buffered and stop the background work. The client stays open.

        Closing again does nothing. Where the flush fails, its error is raised and the service
        stays open with its buffer whole, so that ``close`` can be called again.
        """
        if not self._closed:
            await self._engine.flush()
            self._closed = True
        loop, current = asyncio.get_running_loop(), asyncio.current_task()
        ending = {task for task in self._engine.stop() if task.get_loop() is loop and task is not current}
        if ending:  # a task that is still connecting would leave its connection open when the client is closed next
            await asyncio.wait(ending, timeout=_LAST_ROUND_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _discard(awaitable: Awaitable[object]) -> None:
    """Close a coroutine that will not run, which would otherwise warn that it was never awaited."""
    if isinstance(awaitable, CoroutineType):
        awaitable.close()


def _raise_closed(service: object) -> NoReturn:
    raise ServiceClosedError(f"this {type(service).__name__} is closed")
