"""Listens for invalidation messages in a task of the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from edge_redis._core.session import Send, Session, SessionStep
from edge_redis._io.clients import AsyncClient, is_cluster
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis._io.listener import (
    TOPOLOGY_SECONDS,
    InvalidationListener,
    ReconnectPause,
    find_master_names,
    find_master_pools,
    make_connection,
    translating_errors,
)
from edge_redis.errors import StoreUnavailableError


class TaskListener:
    """Runs sessions in a task of the running loop, from ``ensure`` until ``stop``."""

    def __init__(self, client: AsyncClient, new_session: Callable[[], Session], listener: InvalidationListener) -> None:
        self._client = client
        self._new_session = new_session
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    def after_fork(self) -> None:
        """Reset state in a forked child, where the parent's task does not run."""
        self._task = None

    def ensure(self) -> None:
        """Start a task on the running loop, unless one runs there already."""
        task = self._task
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="edge-redis-listener")

    def stop(self) -> asyncio.Task[None] | None:
        """Cancel the task, and return it, unless its loop is closed."""
        task, self._task = self._task, None
        self._listener.on_disconnected()
        if task is None or task.get_loop().is_closed():
            return None
        task.cancel()
        return task

    async def _run(self) -> None:
        pause = ReconnectPause()
        task = asyncio.current_task()
        # A client may swallow the cancellation that reaches it in the middle of a call.
        while task is not None and not task.cancelling():
            began = time.monotonic()
            try:
                with translating_errors():
                    await self._session()
            except Exception as error:  # noqa: BLE001 -- the next session is due whatever it is
                self._listener.on_disconnected(error)
                await asyncio.sleep(pause.after(error, time.monotonic() - began))
            finally:
                self._listener.on_disconnected()

    async def _session(self) -> None:
        """Run a session with every master. It ends by raising an error, in any case."""
        if is_cluster(self._client):
            await self._client.initialize()  # before this, it knows no nodes
        names, pools = find_master_names(self._client), find_master_pools(self._client)
        self._listener.reset(len(pools))
        readers = [
            asyncio.ensure_future(self._read_one(make_connection(pool, Retry(NoBackoff(), 0)))) for pool in pools
        ]
        try:
            done: set[Any] = set()
            while not done and find_master_names(self._client) == names:
                done, _ = await asyncio.wait(readers, timeout=TOPOLOGY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for reader in readers:
                reader.cancel()
            ends = await asyncio.gather(*readers, return_exceptions=True)
        failures = [end for end in ends if isinstance(end, Exception)]
        raise failures[0] if failures else StoreUnavailableError("the masters of the cluster have changed")

    async def _read_one(self, connection: Any) -> None:
        try:
            await connection.connect()
            session = self._new_session()
            step = session.send(None)
            task = asyncio.current_task()
            while task is not None and not task.cancelling():  # see _run
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
