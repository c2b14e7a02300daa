"""Listens for invalidation messages in the background, on connections of its own.

A *session* has one connection to each master. When one fails, all are closed, the listener's
``on_disconnected`` is called, and a new session begins after a pause, which grows from 50 ms to 2 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from edge_redis._core.session import Send, Session, SessionStep
from edge_redis._io.clients import AsyncClient, BlockingClient, is_cluster
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis.errors import StoreUnavailableError

_log = logging.getLogger("edge_redis")

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
_TOPOLOGY_SECONDS: Final = 1.0
_SLICE_SECONDS: Final = 0.1
_TIMEOUT_SECONDS: Final = 5.0


class InvalidationListener(Protocol):
    """The object that is notified when connections are made and lost: the near cache."""

    def reset(self, connections: int) -> None:
        """Expect this number of connections, which are about to be made."""

    def on_disconnected(self) -> None:
        """Handle the loss of a connection; the others are closed."""


def _master_names(client: Any) -> list[str]:
    """Return the names of a cluster's masters, as its client knows them; none where the server is not a cluster."""
    return sorted(str(node.name) for node in client.get_primaries()) if is_cluster(client) else []


def _master_pools(client: Any) -> list[Any]:
    """Return the pools whose options connections get: the client's, or one for each master of a cluster."""
    if not is_cluster(client):
        return [client.connection_pool]
    nodes = client.get_primaries()
    if not nodes:
        raise StoreUnavailableError("no master of the cluster is known")
    if isinstance(client, redis.RedisCluster):
        return [client.get_redis_connection(node).connection_pool for node in nodes]
    return list(nodes)  # an asyncio node has what is used of a pool


def _make_connection(pool: Any, retry: object) -> Any:
    """Make a connection with the pool's options, in RESP2, without retries and health checks."""
    options = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith("maint_")}
    options |= {"protocol": 2, "retry": retry, "health_check_interval": 0}
    for name in ("socket_timeout", "socket_connect_timeout"):
        options[name] = options.get(name) or _TIMEOUT_SECONDS
    return pool.connection_class(**options)


def _can_be_shut(connection: Any) -> bool:
    return isinstance(connection._sock, socket.socket)  # noqa: SLF001 -- an in-process server has none


class _Pause:
    """The pause before the next session; logs the first of several failures as a warning."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE
        self._has_warned = False

    def after(self, error: Exception, lasted: float) -> float:
        if lasted > LONGEST_PAUSE:
            self._next, self._has_warned = FIRST_PAUSE, False
        _log.log(
            logging.DEBUG if self._has_warned else logging.WARNING,
            "near cache off until it can listen again: %s",
            error,
        )
        self._has_warned = True
        pause, self._next = self._next, min(2 * self._next, LONGEST_PAUSE)
        return pause


@contextlib.contextmanager
def _translating_errors() -> Iterator[None]:
    try:
        yield
    except LIBRARY_ERRORS as error:
        raise translate(error, "listening") from error


class _ThreadSession:
    """A session on a blocking client: a connection to each master, until one fails."""

    def __init__(self, client: BlockingClient, new_session: Callable[[], Session]) -> None:
        self._client = client
        self._new_session = new_session
        self._names = _master_names(client)
        self._connections = [_make_connection(pool, Retry(NoBackoff(), 0)) for pool in _master_pools(client)]
        self._ended = threading.Event()
        self._failures: list[Exception] = []

    def __len__(self) -> int:
        return len(self._connections)

    def run(self) -> None:
        """Run the session. It ends by raising an error, in any case."""
        if not is_cluster(self._client):
            self._read_one(self._connections[0])
        else:
            self._read_all()
        raise self._failures[0] if self._failures else StoreUnavailableError("the masters of the cluster have changed")

    def end(self) -> None:
        """Wake the threads that read. A socket that a thread reads from can be shut down safely, but not closed."""
        self._ended.set()
        for connection in self._connections:
            if _can_be_shut(connection):
                with contextlib.suppress(OSError):
                    connection._sock.shutdown(socket.SHUT_RDWR)  # noqa: SLF001 -- the library has no other way

    def _read_all(self) -> None:
        threads = [threading.Thread(target=self._read_one, args=(each,), daemon=True) for each in self._connections]
        for thread in threads:
            thread.start()
        while not self._ended.wait(_TOPOLOGY_SECONDS) and _master_names(self._client) == self._names:
            pass
        self.end()
        for thread in threads:
            thread.join()

    def _read_one(self, connection: Any) -> None:
        try:
            connection.connect()
            session = self._new_session()
            step = session.send(None)
            while not self._ended.is_set():
                try:
                    answer = self._perform(connection, step)
                except LIBRARY_ERRORS as error:
                    step = session.throw(translate(error, "listening"))
                else:
                    step = session.send(answer)
        except Exception as error:  # noqa: BLE001 -- raised again by run, in the thread that began the session
            self._failures.append(error)
        finally:
            self._ended.set()
            connection.disconnect()

    def _perform(self, connection: Any, step: SessionStep) -> Any:
        if isinstance(step, Send):
            return connection.send_command(*step.args, check_health=False)
        return self._receive(connection, step.seconds)

    def _receive(self, connection: Any, seconds: float) -> Any:
        """Return the server's next message, or None when none comes in time."""
        deadline = time.monotonic() + seconds
        while not self._ended.is_set() and (left := deadline - time.monotonic()) > 0:
            if connection.can_read(timeout=left if _can_be_shut(connection) else min(left, _SLICE_SECONDS)):
                return connection.read_response()
        return None


class ThreadListener:
    """Runs sessions in daemon threads, from the first ``ensure`` until ``stop``."""

    def __init__(
        self, client: BlockingClient, new_session: Callable[[], Session], listener: InvalidationListener
    ) -> None:
        self._client = client
        self._new_session = new_session
        self._listener = listener
        self.after_fork()

    def after_fork(self) -> None:
        """Reset state in a forked child, where no thread runs; it can be started again."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopped = threading.Event()
        self._session: _ThreadSession | None = None

    def ensure(self) -> None:
        """Start, unless it runs already."""
        if self._thread is None:
            with self._starting:
                if self._thread is None and not self._stopped.is_set():
                    self._thread = threading.Thread(target=self._run, name="edge-redis-listener", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        """Stop, and wait until the thread has ended."""
        self._stopped.set()
        session, thread = self._session, self._thread
        if session is not None:
            session.end()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        pause = _Pause()
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                with _translating_errors():
                    self._run_session()
            except Exception as error:  # noqa: BLE001 -- after any error, the near cache must serve nothing
                self._listener.on_disconnected()
                if not self._stopped.is_set():
                    self._stopped.wait(pause.after(error, time.monotonic() - began))
        self._listener.on_disconnected()

    def _run_session(self) -> None:
        self._session = session = _ThreadSession(self._client, self._new_session)
        if not self._stopped.is_set():  # stopped meanwhile: stop() did not see this session
            self._listener.reset(len(session))
            session.run()


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
        pause = _Pause()
        task = asyncio.current_task()
        # A client may swallow the cancellation that reaches it in the middle of a call.
        while task is not None and not task.cancelling():
            began = time.monotonic()
            try:
                with _translating_errors():
                    await self._session()
            except Exception as error:  # noqa: BLE001 -- as above
                self._listener.on_disconnected()
                await asyncio.sleep(pause.after(error, time.monotonic() - began))
            finally:
                self._listener.on_disconnected()

    async def _session(self) -> None:
        """Run a session with every master. It ends by raising an error, in any case."""
        if is_cluster(self._client):
            await self._client.initialize()  # before this, it knows no nodes
        names, pools = _master_names(self._client), _master_pools(self._client)
        self._listener.reset(len(pools))
        readers = [
            asyncio.ensure_future(self._read_one(_make_connection(pool, AsyncRetry(NoBackoff(), 0)))) for pool in pools
        ]
        try:
            done: set[Any] = set()
            while not done and _master_names(self._client) == names:
                done, _ = await asyncio.wait(readers, timeout=_TOPOLOGY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
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
