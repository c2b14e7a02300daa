"""What the services share: a client, a room, an end.

A service's methods are bound to its room by ``bind``; this is the rest.
"""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Self, TypeVar

from edge_redis.core.subject import Subject
from edge_redis.runtime import lifetime
from edge_redis.runtime.runner import AsyncClient, AsyncRunner, BlockingClient, BlockingRunner, run_once_in_a_new_loop
from edge_redis.runtime.ticker import TaskTicker, ThreadTicker
from edge_redis.services.bind import closed

R = TypeVar("R", bound=Subject)


class Service(Generic[R]):
    """A subject on a blocking client. Safe to use from many threads."""

    def __init__(self, client: BlockingClient, room: R) -> None:
        self._runner = BlockingRunner(client)
        self._room = room
        self._closed = False
        self._ticker: ThreadTicker | None = None
        room.mutex = lifetime.new_mutex()
        if room.tick_seconds is not None:
            self._ticker = ThreadTicker(room.tick_seconds, self._tick)
        lifetime.watch(self)

    @property
    def _open_room(self) -> R:
        if self._closed:
            raise closed(self)
        if self._ticker is not None:
            self._ticker.ensure()
        return self._room

    def _tick(self) -> None:
        self._runner.run(self._room.tick())

    def close(self) -> None:
        """Flush what is buffered and stop what runs in the background. The client stays open.

        Closing again does nothing. Where the flush fails, its error is raised and the service
        stays open with its buffer whole, so that ``close`` can be called again.
        """
        if self._closed:
            return
        self._runner.run(self._room.closing())
        self._closed = True
        if self._ticker is not None:
            self._ticker.stop()
        lifetime.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _at_exit(self) -> None:
        self.close()

    def _after_fork(self) -> None:
        self._room.mutex = lifetime.new_mutex()
        self._room.after_fork()
        if self._ticker is not None:
            self._ticker.after_fork()


class AsyncService(Generic[R]):
    """A subject on an asyncio client. Safe to use from many tasks of one loop."""

    def __init__(self, client: AsyncClient, room: R) -> None:
        self._runner = AsyncRunner(client)
        self._room = room
        self._closed = False
        self._ticker: TaskTicker | None = None
        if room.tick_seconds is not None:
            self._ticker = TaskTicker(room.tick_seconds, self._tick)
        lifetime.watch(self)

    @property
    def _open_room(self) -> R:
        if self._closed:
            raise closed(self)
        if self._ticker is not None:
            self._ticker.ensure()
        return self._room

    async def _tick(self) -> None:
        await self._runner.run(self._room.tick())

    async def close(self) -> None:
        """Flush what is buffered and stop what runs in the background. The client stays open.

        Closing again does nothing. Where the flush fails, its error is raised and the service
        stays open with its buffer whole, so that ``close`` can be called again.
        """
        if self._closed:
            return
        await self._runner.run(self._room.closing())
        self._closed = True
        if self._ticker is not None:
            self._ticker.stop()
        lifetime.forget(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _at_exit(self) -> None:
        # The loop this service lived on has ended, and its connections with it.
        run_once_in_a_new_loop(self._runner.client, self._room.closing())

    def _after_fork(self) -> None:
        self._room.after_fork()
        if self._ticker is not None:
            self._ticker.after_fork()
