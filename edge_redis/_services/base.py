"""What the services share: a client, a room, an end.

A service's methods are bound to its room by ``bind``; this is the rest. The service itself is
what users hold; its *engine* (runner, room, ticker) outlives it where it is dropped with
something in its buffer (see ``runtime.lifetime``).
"""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from edge_redis._core.component import Component
from edge_redis._io import shutdown
from edge_redis._io.runner import AsyncClient, AsyncRunner, BlockingClient, BlockingRunner, run_once_in_a_new_loop
from edge_redis._io.ticker import TaskTicker, ThreadTicker
from edge_redis._services.bind import closed

R = TypeVar("R", bound=Component)


class Background(Protocol):
    """What works in the background of a service: a ticker, or one who listens."""

    def ensure(self) -> None:
        """Begin where it has not begun."""

    def stop(self) -> None:
        """End."""

    def after_fork(self) -> None:
        """Be startable again in a forked child."""


class _Engine:
    """Drives a room on a blocking client."""

    def __init__(self, runner: BlockingRunner, room: Component, listener: Background | None) -> None:
        self.runner = runner
        self.room = room
        self.dropped = False
        self.live = False
        """Whether the service is open and its ticker runs: what a call in a hurry asks."""
        self.buffers = room.tick_seconds is not None
        ticker = None if room.tick_seconds is None else ThreadTicker(room.tick_seconds, self._tick)
        self.background = [each for each in (ticker, listener) if each is not None]
        room.mutex = shutdown.new_mutex()

    def _tick(self) -> None:
        self.runner.run(self.room.tick())
        if self.dropped:
            self.end()

    def end(self) -> None:
        """Send what is left, then stop. An error leaves all as it is."""
        self.live = False
        self.runner.run(self.room.closing())
        shutdown.forget(self)
        for each in self.background:
            each.stop()
        self.background.clear()  # what refers back here: a cycle would keep the client's socket

    def at_exit(self) -> None:
        """Send what is left: the process ends."""
        self.end()

    def after_fork(self) -> None:
        """Be new in a forked child."""
        self.live = False
        self.room.mutex = shutdown.new_mutex()
        self.room.after_fork()
        for each in self.background:
            each.after_fork()


class Service(Generic[R]):
    """A subject on a blocking client. Safe to use from many threads."""

    _ticks_from_first_use = True
    """What buffers must; what has a ``start`` does not."""

    def __init__(self, client: BlockingClient, room: R, listener: Background | None = None) -> None:
        self._runner = BlockingRunner(client)
        self._component = room
        self._closed = False
        self._engine = _Engine(self._runner, room, listener)
        self._background = tuple(self._engine.background)
        shutdown.watch(self, self._engine)

    @property
    def _open_component(self) -> R:
        self._check_open()
        if self._ticks_from_first_use:
            self._tick_on()
            self._engine.live = True
            self._check_open()  # it may have been closed meanwhile, by another thread
        return self._component

    def _check_open(self) -> None:
        if self._closed:
            self._engine.live = False
            raise closed(self)

    def _tick_on(self) -> None:
        """Do in the background what is due there, from now on."""
        for each in self._background:
            each.ensure()

    def close(self) -> None:
        """Flush what is buffered and stop what runs in the background. The client stays open.

        Closing again does nothing. Where the flush fails, its error is raised and the service
        stays open with its buffer whole, so that ``close`` can be called again.
        """
        if not self._closed:
            self._engine.end()
            self._closed = True
            self._engine.live = False  # which a call under way may have set again

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _AsyncEngine:
    """Drives a room on an asyncio client."""

    def __init__(self, runner: AsyncRunner, room: Component, listener: Background | None) -> None:
        self.runner = runner
        self.room = room
        self.dropped = False
        self.buffers = room.tick_seconds is not None
        ticker = None if room.tick_seconds is None else TaskTicker(room.tick_seconds, self._tick)
        self.background = [each for each in (ticker, listener) if each is not None]

    async def _tick(self) -> None:
        await self.runner.run(self.room.tick())
        if self.dropped:
            await self.end()

    async def end(self) -> None:
        """Send what is left, then stop. An error leaves all as it is."""
        await self.runner.run(self.room.closing())
        shutdown.forget(self)
        for each in self.background:
            each.stop()
        self.background.clear()  # what refers back here: a cycle would keep the client's socket

    def at_exit(self) -> None:
        """Send what is left: the loop of this engine has ended, and its connections with it."""
        run_once_in_a_new_loop(self.runner.client, self.room.closing())

    def after_fork(self) -> None:
        """Be new in a forked child."""
        self.room.after_fork()
        for each in self.background:
            each.after_fork()


class AsyncService(Generic[R]):
    """A subject on an asyncio client. Safe to use from many tasks of one loop."""

    _ticks_from_first_use = True
    """What buffers must; what has a ``start`` does not."""

    def __init__(self, client: AsyncClient, room: R, listener: Background | None = None) -> None:
        self._runner = AsyncRunner(client)
        self._component = room
        self._closed = False
        self._engine = _AsyncEngine(self._runner, room, listener)
        self._background = tuple(self._engine.background)
        shutdown.watch(self, self._engine)

    @property
    def _open_component(self) -> R:
        if self._closed:
            raise closed(self)
        if self._ticks_from_first_use:
            self._tick_on()
        return self._component

    def _tick_on(self) -> None:
        """Do in the background what is due there, from now on."""
        for each in self._background:
            each.ensure()

    async def close(self) -> None:
        """Flush what is buffered and stop what runs in the background. The client stays open.

        Closing again does nothing. Where the flush fails, its error is raised and the service
        stays open with its buffer whole, so that ``close`` can be called again.
        """
        if not self._closed:
            await self._engine.end()
            self._closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
