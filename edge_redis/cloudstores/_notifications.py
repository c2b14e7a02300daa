"""Notifications of PostgreSQL: every change of a namespace is notified on a channel, on which workers listen.

A notification is a hint, as ``_sync.hints`` describes them: the cursor of the change, the store of the edge that wrote
it (empty where that edge has to read it as well), and the scope up to its first slash, a space between each. It is sent
by the commit of the change. psycopg alone lets a thread wait for one: with other drivers, and on SQLite, workers poll.
"""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import time
from typing import Any, Final

import sqlalchemy as sa

from edge_redis._core.error_text import describe_error
from edge_redis._io.background import BackgroundThread
from edge_redis._io.listener import Reconnecting, ReconnectPause
from edge_redis._sync.cloud_store import FeedReader
from edge_redis._sync.decision import Decision, ScopeDocument
from edge_redis._sync.fields import is_merged
from edge_redis._sync.hints import is_past
from edge_redis._sync.origin import store_of
from edge_redis.errors import StoreUnavailableError

_RECONNECTING: Final = Reconnecting(
    first_pause=1.0, longest_pause=30.0, is_spread=True, consequence="polling, since the database is not listened to"
)
_TEST_SECONDS: Final = 30.0
"""Time without a notification after which the connection is tested."""


def channel_of(namespace: str) -> str:
    """Return the name of the namespace's channel, a hash: PostgreSQL allows 63 bytes."""
    return f"edge_redis_{hashlib.sha256(namespace.encode()).hexdigest()[:16]}"


def writer_of(before: ScopeDocument | None, decision: Decision) -> str:
    """Return the store of the edge that need not read the change that it wrote, "" where every edge has to."""
    state = decision.document.state
    is_other = before is None or (state.stamp, state.origin) != (before.state.stamp, before.state.origin)
    writer = store_of(state.origin) if is_other and not is_merged(state.body) else ""
    return "" if " " in writer else writer


class NoNotifications:
    """The listener of a database that cannot be listened to: a worker polls it."""

    is_listening: Final = False

    def start(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Notifications(BackgroundThread):
    """Listens to a namespace, on a connection of its own, from its start until it is closed."""

    name = "edge-redis-notifications"
    join_seconds = 1.0

    def __init__(self, engine: sa.Engine, namespace: str, reader: FeedReader) -> None:
        super().__init__()
        self._engine = engine
        self._channel = channel_of(namespace)
        self._reader = reader
        self._waker: socket.socket | None = None
        self.is_listening = False
        """Whether the reader is woken of every change now."""

    def start(self) -> None:
        """Begin to listen."""
        self.ensure_running()

    def close(self) -> None:
        """Stop listening."""
        self.stop()

    def _wake(self) -> None:
        if self._waker is not None:
            with contextlib.suppress(OSError):  # the thread has ended
                self._waker.send(b"x")

    def _work(self) -> None:
        woken, self._waker = socket.socketpair()
        with woken, self._waker:
            pause = ReconnectPause(_RECONNECTING)
            while not self._stopped:
                began = time.monotonic()
                try:
                    self._listen(woken)
                except Exception as error:  # noqa: BLE001 -- the driver's own, of whatever kind
                    failure = StoreUnavailableError(f"listening: {describe_error(error)}")
                    self._wait(0.0 if self._stopped else pause.after(failure, time.monotonic() - began))
                finally:
                    self.is_listening = False

    def _listen(self, woken: socket.socket) -> None:
        with self._engine.connect() as pooled:
            connection = pooled.execution_options(isolation_level="AUTOCOMMIT")
            driver: Any = connection.connection.driver_connection
            connection.detach()  # the pool's connections are for calls
            connection.exec_driver_sql(f'LISTEN "{self._channel}"')
            # The driver hands over what comes with the reply to a command.
            driver.add_notify_handler(lambda found: self._pass_on(found.payload))
            self.is_listening = True
            self._reader.wake()
            with selectors.DefaultSelector() as selector:
                for each in (driver, woken):
                    selector.register(each, selectors.EVENT_READ)
                while not self._stopped:
                    if not selector.select(_TEST_SECONDS):
                        connection.exec_driver_sql("SELECT 1")
                    driver.pgconn.consume_input()
                    while (found := driver.pgconn.notifies()) is not None:
                        self._pass_on(found.extra.decode(errors="replace"))

    def _pass_on(self, text: str) -> None:
        position, writer, segment = (*text.split(" ", 2), "", "")[:3]
        segments = self._reader.segments
        is_carried = segments is None or segment in segments
        if is_carried and (not writer or writer not in self._reader.store_id.split(",")):
            self._reader.wake(lambda cursor: is_past(position, cursor))
