"""Listens for messages in a task of the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from edge_redis._core.session import Send, Session, SessionEnded, SessionStep
from edge_redis._io.background import BackgroundTask, is_cancelled
from edge_redis._io.clients import AsyncClient, is_cluster
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis._io.handshake import connect_async
from edge_redis._io.listener import (
    DEFAULT_RECONNECTING,
    TOPOLOGY_SECONDS,
    Reconnecting,
    ReconnectPause,
    SessionOwner,
    find_master_names,
    find_pools,
    make_connection,
    translating_errors,
)
from edge_redis.errors import StoreUnavailableError


class TaskListener(BackgroundTask):
    """Runs sessions with the masters, one after another."""

    name = "edge-redis-listener"

    def __init__(
        self,
        client: AsyncClient,
        new_session: Callable[[], Session],
        listener: SessionOwner,
        *,
        of_any_node: bool = False,
        reconnecting: Reconnecting = DEFAULT_RECONNECTING,
    ) -> None:
        super().__init__()
        self._client = client
        self._new_session = new_session
        self._listener = listener
        self._of_any_node = of_any_node
        self._reconnecting = reconnecting
        self._is_ending = False
        self._is_retired = False

    def renew(self) -> None:
        """End the session within TOPOLOGY_SECONDS: another one follows, after a pause."""
        self._is_ending = True

    def ensure_running(self) -> None:
        """Start a task on the running loop, unless one runs there already or it is retired."""
        if not self._is_retired:
            super().ensure_running()

    def retire(self) -> None:
        """End once the session ends by itself, or before the next."""
        self._is_retired = True

    def stop(self) -> set[asyncio.Task[None]]:
        """Disconnect, cancel the task, and return it if its loop is open."""
        self._listener.on_disconnected()
        return super().stop()

    async def _work(self) -> None:
        pause = ReconnectPause(self._reconnecting)
        while not is_cancelled() and not self._is_retired:
            began = time.monotonic()
            try:
                with translating_errors():
                    await self._run_session()
            except SessionEnded:
                """The listener was retired: there is no next session."""
            except Exception as error:  # noqa: BLE001 -- the next session is due after any error
                self._listener.on_disconnected(error)
                await asyncio.sleep(pause.after(error, time.monotonic() - began))
            finally:
                self._listener.on_disconnected()

    async def _run_session(self) -> None:
        """Run a session with every master. It always ends by raising an error."""
        if is_cluster(self._client):
            await self._client.initialize()  # before this, the client knows no nodes
        names, pools = find_master_names(self._client), find_pools(self._client, of_any_node=self._of_any_node)
        self._listener.reset(len(pools))
        self._is_ending = False
        readers = [
            asyncio.ensure_future(self._read_one(make_connection(pool, Retry(NoBackoff(), 0)))) for pool in pools
        ]
        try:
            done: set[Any] = set()
            while not (done or self._is_ending) and find_master_names(self._client) == names:
                done, _ = await asyncio.wait(readers, timeout=TOPOLOGY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for reader in readers:
                reader.cancel()
            ends = await asyncio.gather(*readers, return_exceptions=True)
        failures = [end for end in ends if isinstance(end, Exception)]
        raise failures[0] if failures else StoreUnavailableError("the masters of the cluster have changed")

    async def _read_one(self, connection: Any) -> None:
        try:
            await connect_async(connection)
            session = self._new_session()
            step = session.send(None)
            while not is_cancelled():
                try:
                    answer = await self._perform(connection, step)
                except LIBRARY_ERRORS as error:
                    step = session.throw(translate(error, "listening"))
                else:
                    step = session.send(answer)
        finally:
            await connection.disconnect(nowait=True)

    async def _perform(self, connection: Any, step: SessionStep) -> Any:
        if isinstance(step, Send):
            return await connection.send_command(*step.args, check_health=False)
        return await connection.read_response(timeout=step.seconds, disconnect_on_error=False)
