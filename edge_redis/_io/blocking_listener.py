"""Listens for messages in daemon threads."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from redis.backoff import NoBackoff
from redis.retry import Retry

from edge_redis._core.session import Send, Session, SessionEnded, SessionStep
from edge_redis._io.background import BackgroundThread
from edge_redis._io.clients import BlockingClient, is_cluster
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis._io.handshake import connect
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

_SLICE_SECONDS: Final = 0.02
"""How long to wait at a time for a message of an in-process server, which cannot be interrupted."""


def _can_be_shut(connection: Any) -> bool:
    return isinstance(connection._sock, socket.socket)  # noqa: SLF001 -- an in-process server has none


class _ThreadSession:
    """A session on a blocking client: a connection to each master, until one fails."""

    def __init__(self, client: BlockingClient, new_session: Callable[[], Session], *, of_any_node: bool) -> None:
        self._client = client
        self._new_session = new_session
        self._names = find_master_names(client)
        pools = find_pools(client, of_any_node=of_any_node)
        self._connections = [make_connection(pool, Retry(NoBackoff(), 0)) for pool in pools]
        self._has_ended = False
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()  # an Event has a lock: see BackgroundThread
        self._failures: list[Exception] = []

    def __len__(self) -> int:
        return len(self._connections)

    def run(self) -> None:
        """Run the session. It always ends by raising an error."""
        if not is_cluster(self._client):
            self._read_one(self._connections[0])
        else:
            self._read_all()
        raise self._failures[0] if self._failures else StoreUnavailableError("the masters of the cluster have changed")

    def end(self) -> None:
        """Wake the threads that read. A socket that a thread reads from can be shut down safely, but not closed."""
        self._set_ended()
        for connection in self._connections:
            if _can_be_shut(connection):
                with contextlib.suppress(OSError):
                    connection._sock.shutdown(socket.SHUT_RDWR)  # noqa: SLF001 -- the library has no other way

    def _set_ended(self) -> None:
        self._has_ended = True
        self._wake_ups.put(None)

    def _read_all(self) -> None:
        threads = [threading.Thread(target=self._read_one, args=(each,), daemon=True) for each in self._connections]
        for thread in threads:
            thread.start()
        while not self._has_ended and find_master_names(self._client) == self._names:
            with contextlib.suppress(queue.Empty):
                self._wake_ups.get(timeout=TOPOLOGY_SECONDS)
        self.end()
        for thread in threads:
            thread.join()

    def _read_one(self, connection: Any) -> None:
        try:
            connect(connection)
            session = self._new_session()
            step = session.send(None)
            while not self._has_ended:
                try:
                    answer = self._perform(connection, step)
                except LIBRARY_ERRORS as error:
                    step = session.throw(translate(error, "listening"))
                else:
                    step = session.send(answer)
        except Exception as error:  # noqa: BLE001 -- raised again by run, in the thread that began the session
            self._failures.append(error)
        finally:
            self._set_ended()
            connection.disconnect()

    def _perform(self, connection: Any, step: SessionStep) -> Any:
        if isinstance(step, Send):
            return connection.send_command(*step.args, check_health=False)
        return self._receive(connection, step.seconds)

    def _receive(self, connection: Any, seconds: float) -> Any:
        """Return the server's next message, or None when none comes in time."""
        deadline = time.monotonic() + seconds
        while not self._has_ended and (left := deadline - time.monotonic()) > 0:
            if connection.can_read(timeout=left if _can_be_shut(connection) else min(left, _SLICE_SECONDS)):
                return connection.read_response()
        return None


class ThreadListener(BackgroundThread):
    """Runs sessions with the masters, one after another."""

    name = "edge-redis-listener"

    def __init__(
        self,
        client: BlockingClient,
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
        self._session: _ThreadSession | None = None

    def retire(self) -> None:
        """End once the session ends by itself, or at once where there is none."""
        self._stopped = True
        self._wake_ups.put(None)

    def after_fork(self) -> None:
        """Reset state in a forked child, where no thread runs; it can be started again."""
        super().after_fork()
        self._session = None

    def renew(self) -> None:
        """End the session: another one follows, after a pause."""
        self._wake()

    def _wake(self) -> None:
        session = self._session
        if session is not None:
            session.end()

    def _work(self) -> None:
        pause = ReconnectPause(self._reconnecting)
        while not self._stopped:
            began = time.monotonic()
            try:
                with translating_errors():
                    self._run_session()
            except SessionEnded:
                """The listener was retired: there is no next session."""
            except Exception as error:  # noqa: BLE001 -- the next session is due after any error
                self._listener.on_disconnected(None if self._stopped else error)
                if not self._stopped:
                    self._wait(pause.after(error, time.monotonic() - began))
        self._listener.on_disconnected()

    def _run_session(self) -> None:
        self._session = session = _ThreadSession(self._client, self._new_session, of_any_node=self._of_any_node)
        if not self._stopped:  # stopped meanwhile: stop() did not see this session
            self._listener.reset(len(session))
            session.run()
