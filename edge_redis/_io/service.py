"""The base classes of the public services: a component on a client, until it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import CoroutineType, TracebackType
from typing import Generic, NoReturn, Self, TypeVar

from edge_redis._core.component import Component
from edge_redis._io import shutdown
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.background import BackgroundTask, BackgroundThread
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.clients import AsyncClient, BlockingClient
from edge_redis._io.engine import LAST_ROUND_SECONDS, AsyncEngine, BlockingEngine
from edge_redis.errors import ServiceClosedError

C = TypeVar("C", bound=Component)
T = TypeVar("T")


class BlockingService(Generic[C]):
    """A component on a blocking client. Safe to use from many threads."""

    def __init__(self, client: BlockingClient, component: C, listener: BackgroundThread | None = None) -> None:
        self._runner = BlockingRunner(client)
        self._component = component
        self._closed = False
        self._engine = BlockingEngine(self._runner, component, listener)
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
            each.ensure_running()

    def _repeat(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        """Perform ``work`` in the background every ``seconds``, from now on until ``close``."""
        self._background = (*self._background, self._engine.add_ticker(seconds, work))
        self._start_background()

    def close(self) -> None:
        """Flush what is buffered and stop the background work. The client stays open.

        Closing again does nothing. Where the flush fails, its error is raised and the service
        stays open with its buffer whole, so that ``close`` can be called again.
        """
        if not self._closed:
            self._engine.flush()
            shutdown.warn_of_unflushed(self._component)
            self._closed = True
        self._engine.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncService(Generic[C]):
    """A component on an asyncio client. Safe to use from many tasks of one loop."""

    def __init__(self, client: AsyncClient, component: C, listener: BackgroundTask | None = None) -> None:
        self._runner = AsyncRunner(client)
        self._component = component
        self._closed = False
        self._engine = AsyncEngine(self._runner, component, listener)
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
            each.ensure_running()

    def _repeat(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        """Perform ``work`` in the background every ``seconds``, from now on until ``close``."""
        self._background = (*self._background, self._engine.add_ticker(seconds, work))
        self._start_background()

    async def close(self) -> None:
        """Flush what is buffered and stop the background work. The client stays open.

        Closing again does nothing. Where the flush fails, its error is raised and the service
        stays open with its buffer whole, so that ``close`` can be called again.
        """
        if not self._closed:
            await self._engine.flush()
            shutdown.warn_of_unflushed(self._component)
            self._closed = True
        loop, current = asyncio.get_running_loop(), asyncio.current_task()
        ending = {task for task in self._engine.stop() if task.get_loop() is loop and task is not current}
        if ending:  # a task that is still connecting would leave its connection open if the client is closed now
            await asyncio.wait(ending, timeout=LAST_ROUND_SECONDS)

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
