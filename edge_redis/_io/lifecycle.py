"""The base classes of services that repeat a round of work: run, start, stop, close."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Self

from edge_redis._core.pace import Pace
from edge_redis._io.clients import AsyncClient, BlockingClient
from edge_redis._io.loop import AsyncLoop, BlockingLoop
from edge_redis._io.service import AsyncService, BlockingService, C
from edge_redis._io.wake_ups import Listen


class BlockingLoopService(BlockingService[C], Generic[C]):
    """A service whose ``run_once`` is repeated: in the foreground by ``run``, in the background from ``start`` on."""

    run_once: Callable[[], object]

    def __init__(self, client: BlockingClient, component: C, pace: Pace, listen: Listen | None = None) -> None:
        super().__init__(client, component)
        self._loop = self._engine.loop = BlockingLoop(pace, listen)

    def run(self, *, handle_signals: bool = True) -> None:
        """Work until ``stop()`` or, in the main thread, SIGTERM or SIGINT; the round under way is finished.

        While the server or the cloud cannot be reached, this is logged and tried again.

        Args:
            handle_signals: False leaves signals alone. Else handlers that the application has set are called
                as well, and put back afterwards.

        """
        self._loop.run(self._round, handle_signals=handle_signals)

    def start(self) -> Self:
        """Work in the background from now on until ``stop()`` or ``close()``, also if nothing refers to this object.

        Signals are left alone. Errors are logged, and the work is tried again. Starting twice does nothing.
        """
        self._require_open()
        self._loop.start(self._round)
        return self

    def stop(self) -> None:
        """End the work after the round under way; callable from any thread and from a signal handler.

        ``run`` then returns at once, also when it is called later; ``start`` begins again.
        """
        self._loop.stop()

    def close(self) -> None:
        """Stop, wait for the round under way, and let another instance take over at once. The client stays open."""
        self._loop.end()
        super().close()

    def _round(self) -> object:
        return self.run_once()


class AsyncLoopService(AsyncService[C], Generic[C]):
    """A service whose ``run_once`` is repeated: in the foreground by ``run``, in the background from ``start`` on."""

    run_once: Callable[[], Awaitable[object]]

    def __init__(self, client: AsyncClient, component: C, pace: Pace, listen: Listen | None = None) -> None:
        super().__init__(client, component)
        self._loop = self._engine.loop = AsyncLoop(pace, listen)

    async def run(self, *, handle_signals: bool = True) -> None:
        """Work until ``stop()`` or, in the main thread, SIGTERM or SIGINT; the round under way is finished.

        While the server or the cloud cannot be reached, this is logged and tried again. A cancellation of
        the task that awaits this ends it.

        Args:
            handle_signals: False leaves signals alone. Else handlers that the application has set are called
                as well, and put back afterwards.

        """
        await self._loop.run(self._round, handle_signals=handle_signals)

    async def start(self) -> Self:
        """Work in the background from now on until ``stop()`` or ``close()``, also if nothing refers to this object.

        Signals are left alone. Errors are logged, and the work is tried again. Starting twice does nothing.
        """
        self._require_open()
        self._loop.start(self._round)
        return self

    def stop(self) -> None:
        """End the work after the round under way; callable from any thread and from a signal handler.

        ``run`` then returns at once, also when it is called later; ``start`` begins again.
        """
        self._loop.stop()

    async def close(self) -> None:
        """Stop, wait for the round under way, and let another instance take over at once. The client stays open."""
        await self._loop.end()
        await super().close()

    async def _round(self) -> object:
        return await self.run_once()
