"""Background sessions with a server, each on a connection of its own.

A *session* is one connection to every master there is. When one fails, all are closed, the
callbacks of their users run, and a new session begins after a pause, which grows from 50 ms to 2 s.
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
    """The object that the sessions serve: it is called when connections are made and lost."""

    def reset(self, connections: int) -> None:
        """Expect so many connections: they are about to be made."""

    def on_disconnected(self) -> None:
        """A connection was lost, and the others are closed."""


def _names(client: Any) -> list[str]:
    """Return the masters of a cluster, as far as its client knows them; nothing where there is no cluster."""
    return sorted(str(node.name) for node in client.get_primaries()) if is_cluster(client) else []


def _pools(client: Any) -> list[Any]:
    """Return what connections are made like: the client's pool, or for each master of a cluster what serves as one."""
    if not is_cluster(client):
        return [client.connection_pool]
    nodes = client.get_primaries()
    if not nodes:
        raise StoreUnavailableError("no master of the cluster is known")
    if isinstance(client, redis.RedisCluster):
        return [client.get_redis_connection(node).connection_pool for node in nodes]
    return list(nodes)  # the asyncio half's nodes make connections themselves


def _connection(pool: Any, retry: object) -> Any:
    """Make a connection like the pool's own, in RESP2, that tries nothing by itself."""
    options = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith("maint_")}
    options |= {"protocol": 2, "retry": retry, "health_check_interval": 0}
    for name in ("socket_timeout", "socket_connect_timeout"):
        options[name] = options.get(name) or _TIMEOUT_SECONDS
    return pool.connection_class(**options)


def _can_be_shut(connection: Any) -> bool:
    return isinstance(connection._sock, socket.socket)  # noqa: SLF001 -- an in-process server has none


class _Pause:
    """How long to wait until the next session."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE
        self._said = False

    def after(self, error: Exception, lasted: float) -> float:
        if lasted > LONGEST_PAUSE:
            self._next, self._said = FIRST_PAUSE, False
        _log.log(
            logging.DEBUG if self._said else logging.WARNING, "near cache off until it can listen again: %s", error
        )
        self._said = True
        pause, self._next = self._next, min(2 * self._next, LONGEST_PAUSE)
        return pause


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except LIBRARY_ERRORS as error:
        raise translate(error, "listening") from error


class _ThreadSession:
    """One connection to every master, each with its conversation, until one of these ends."""

    def __init__(self, client: BlockingClient, new_session: Callable[[], Session]) -> None:
        self._client = client
        self._new_session = new_session
        self._names = _names(client)
        self._connections = [_connection(pool, Retry(NoBackoff(), 0)) for pool in _pools(client)]
        self._over = threading.Event()
        self._failures: list[Exception] = []

    def __len__(self) -> int:
        return len(self._connections)

    def run(self) -> None:
        """Run the session until it ends, which is always by an error."""
        if not is_cluster(self._client):
            self._talk(self._connections[0])
        else:
            self._talk_to_all()
        raise self._failures[0] if self._failures else StoreUnavailableError("the masters of the cluster have changed")

    def end(self) -> None:
        """Wake those who listen: closing a socket under them would not be safe, shutting it down is."""
        self._over.set()
        for connection in self._connections:
            if _can_be_shut(connection):
                with contextlib.suppress(OSError):
                    connection._sock.shutdown(socket.SHUT_RDWR)  # noqa: SLF001 -- the library has no other way

    def _talk_to_all(self) -> None:
        threads = [threading.Thread(target=self._talk, args=(each,), daemon=True) for each in self._connections]
        for thread in threads:
            thread.start()
        while not self._over.wait(_TOPOLOGY_SECONDS) and _names(self._client) == self._names:
            """All are listened to."""
        self.end()
        for thread in threads:
            thread.join()

    def _talk(self, connection: Any) -> None:
        try:
            connection.connect()
            talk = self._new_session()
            step = talk.send(None)
            while not self._over.is_set():
                try:
                    answer = self._performed(connection, step)
                except LIBRARY_ERRORS as error:
                    step = talk.throw(translate(error, "listening"))
                else:
                    step = talk.send(answer)
        except Exception as error:  # noqa: BLE001 -- raised again by run, in the thread that began the session
            self._failures.append(error)
        finally:
            self._over.set()
            connection.disconnect()

    def _performed(self, connection: Any, step: SessionStep) -> Any:
        if isinstance(step, Send):
            return connection.send_command(*step.args, check_health=False)
        return self._heard(connection, step.seconds)

    def _heard(self, connection: Any, seconds: float) -> Any:
        """Return what the server says next, None where nothing came in time."""
        till = time.monotonic() + seconds
        while not self._over.is_set() and (left := till - time.monotonic()) > 0:
            if connection.can_read(timeout=left if _can_be_shut(connection) else min(left, _SLICE_SECONDS)):
                return connection.read_response()
        return None


class ThreadListener:
    """Converses in daemon threads, from the first ``ensure`` until ``stop``."""

    def __init__(
        self, client: BlockingClient, new_session: Callable[[], Session], listener: InvalidationListener
    ) -> None:
        self._client = client
        self._new_session = new_session
        self._listener = listener
        self.after_fork()

    def after_fork(self) -> None:
        """Be startable again in a forked child, where no thread came along."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopped = threading.Event()
        self._session: _ThreadSession | None = None

    def ensure(self) -> None:
        """Begin where it has not begun."""
        if self._thread is None:
            with self._starting:
                if self._thread is None and not self._stopped.is_set():
                    self._thread = threading.Thread(target=self._run, name="edge-redis-listener", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        """End, and wait for it."""
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
                with _translated():
                    self._run_session()
            except Exception as error:  # noqa: BLE001 -- whatever it is, who does not listen must hold nothing
                self._listener.on_disconnected()
                if not self._stopped.is_set():
                    self._stopped.wait(pause.after(error, time.monotonic() - began))
        self._listener.on_disconnected()

    def _run_session(self) -> None:
        self._session = session = _ThreadSession(self._client, self._new_session)
        if not self._stopped.is_set():  # else nobody would end it
            self._listener.reset(len(session))
            session.run()


class TaskListener:
    """Converses in a task of the running loop, from ``ensure`` until ``stop``."""

    def __init__(self, client: AsyncClient, new_session: Callable[[], Session], listener: InvalidationListener) -> None:
        self._client = client
        self._new_session = new_session
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    def after_fork(self) -> None:
        """Forget the parent's task."""
        self._task = None

    def ensure(self) -> None:
        """Begin where no task does on the running loop."""
        task = self._task
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="edge-redis-listener")

    def stop(self) -> None:
        """End."""
        task, self._task = self._task, None
        self._listener.on_disconnected()
        if task is not None and not task.get_loop().is_closed():
            task.cancel()

    async def _run(self) -> None:
        pause = _Pause()
        task = asyncio.current_task()
        # A client may swallow the cancellation that reaches it in the middle of a call.
        while task is not None and not task.cancelling():
            began = time.monotonic()
            try:
                with _translated():
                    await self._session()
            except Exception as error:  # noqa: BLE001 -- as above
                self._listener.on_disconnected()
                await asyncio.sleep(pause.after(error, time.monotonic() - began))
            finally:
                self._listener.on_disconnected()

    async def _session(self) -> None:
        """Converse with every master until one conversation ends, as each does by an error."""
        if is_cluster(self._client):
            await self._client.initialize()  # which knows its nodes only then
        names, pools = _names(self._client), _pools(self._client)
        self._listener.reset(len(pools))
        talks = [asyncio.ensure_future(self._talk(_connection(pool, AsyncRetry(NoBackoff(), 0)))) for pool in pools]
        try:
            done: set[Any] = set()
            while not done and _names(self._client) == names:
                done, _ = await asyncio.wait(talks, timeout=_TOPOLOGY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for talk in talks:
                talk.cancel()
            ends = await asyncio.gather(*talks, return_exceptions=True)
        failures = [end for end in ends if isinstance(end, Exception)]
        raise failures[0] if failures else StoreUnavailableError("the masters of the cluster have changed")

    async def _talk(self, connection: Any) -> None:
        try:
            await connection.connect()
            talk = self._new_session()
            step = talk.send(None)
            task = asyncio.current_task()
            while task is not None and not task.cancelling():  # see _run
                try:
                    answer = await self._performed(connection, step)
                except LIBRARY_ERRORS as error:
                    step = talk.throw(translate(error, "listening"))
                else:
                    step = talk.send(answer)
        finally:
            await connection.disconnect(nowait=True)

    async def _performed(self, connection: Any, step: SessionStep) -> Any:
        if isinstance(step, Send):
            return await connection.send_command(*step.args, check_health=False)
        return await connection.read_response(timeout=step.seconds, disconnect_on_error=False)
