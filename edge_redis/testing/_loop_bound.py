"""An asyncio EdgeRedis that is closed in the event loop that used it, whichever way a test runs its loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from edge_redis._services.aio.bundle import EdgeRedis


class LoopBoundEdgeRedis(EdgeRedis):
    """Closes its services and its client when the loop ends in which they were first used.

    ``asyncio.run``, anyio and pytest-asyncio all close the asynchronous generators of a loop before they close the
    loop. One such generator closes this bundle. A later loop finds new services.
    """

    def __init__(self, client: Any, **options: Any) -> None:
        self._ending: AsyncGenerator[None, None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(client, **options)
        self._owns_client = True
        self._note_connections(client.connection_pool.connection_kwargs)

    @property
    def client(self) -> Any:
        """The asyncio client. Each service is made by a look at it."""
        self._close_with_loop()
        return self._client

    @client.setter
    def client(self, client: Any) -> None:
        self._client = client

    def _note_connections(self, options: dict[str, Any]) -> None:
        """Note the loop of each new connection: services may be made before it runs."""
        introduce = options.get("redis_connect_func")
        if introduce is None:  # fakeredis, whose connections have no sockets
            return

        async def connect(connection: Any) -> None:
            self._close_with_loop()
            await introduce(connection)

        options["redis_connect_func"] = connect

    def _close_with_loop(self) -> None:
        if self._ending is not None:
            return
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # a test without a loop, so far
            return
        self._ending = self._wait_for_end()
        with suppress(StopIteration):
            self._ending.asend(None).send(None)  # runs to its ``yield``, and is known to the loop from now on

    async def _wait_for_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the services and the client; what is used afterwards is made anew."""
        await super().close()
        for name in ("cache", "health", "metrics"):
            self.__dict__.pop(name, None)
        self._ending = None

    def close_after_test(self) -> None:
        """Close what the test's loop did not: one that is kept for several tests, or that ended without a use."""
        loop = self._loop
        if self._ending is not None and loop is not None and not loop.is_closed() and not loop.is_running():
            loop.run_until_complete(self.close())
        elif self._ending is None and not {"cache", "health", "metrics"}.isdisjoint(self.__dict__):
            asyncio.run(self.close())
