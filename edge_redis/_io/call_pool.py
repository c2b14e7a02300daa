"""The connections of blocking calls: each call owns one from before it writes until it has read its reply.

If an exception arrives between writing and reading (KeyboardInterrupt, a time limit raised by a signal
handler, a gevent Timeout), redis-py returns the connection to its pool with the reply unread, and the
next caller reads another key's value. Here a call returns its connection only after it has read the
reply. If a call is interrupted anywhere, even in this module, its connection is closed or garbage, and
its place in the pool is free.

No lock is taken: an exception can arrive on the line that would release it, and a forked child
would inherit it locked. Each step that changes shared state is one call of a C function.

The connections are made like those of the client's pool and bounded by its ``max_connections``, but
not taken from it: an interruption inside redis-py's pool loses one of its places.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar
from weakref import ref

import redis
from redis import exceptions as redis_errors
from redis.sentinel import SentinelConnectionPool

from edge_redis._io.connect_retry import make_single_attempt
from edge_redis._io.error_mapping import is_pool_full, pool_full_error
from edge_redis._io.handshake import connect
from edge_redis._io.wire import Wire, find_wire

WAIT_SECONDS: Final = 10.0
"""How long a call waits for a connection, unless the client's pool has a timeout."""

_POLL_SECONDS: Final = 0.05
"""How often the first call that waits looks for a place that was freed without waking it."""

_LONG_POLL_SECONDS: Final = 1.0
"""How often the others look whether they are the first."""

_ATTRIBUTE: Final = "_edge_redis_calls"
_TIMEOUTS: Final = ("socket_timeout", "socket_connect_timeout")
_KNOWN_POOLS: Final = (redis.ConnectionPool, redis.BlockingConnectionPool, SentinelConnectionPool)


T = TypeVar("T")


def _first(waiting: Mapping[Any, T]) -> T | None:
    """Return what the first call that waits has; None where none does."""
    while True:
        try:
            return next(iter(waiting.values()), None)
        except RuntimeError:  # another thread has changed it meanwhile
            continue


class BorrowedConnection:
    """One call's hold on one connection. It ends when nothing refers to this object any more, if not before."""

    __slots__ = ("__weakref__", "connection", "is_clean", "place")

    def __init__(self) -> None:
        self.connection: Any = None
        self.is_clean = False
        """Whether all replies on the connection were read."""
        self.place: ref[BorrowedConnection] | None = None


class CallPool:
    """The connections that the services of this process use for the calls of one client."""

    def __init__(self, pool: Any, most_seconds: float | None = None) -> None:
        self._pool = ref(pool)
        self._wait_seconds = _wait_seconds(pool)
        self._most_seconds = most_seconds
        self._follows_sentinels = isinstance(pool, SentinelConnectionPool) and pool.is_master
        self._reset()

    def _reset(self) -> None:
        self._idle: list[Any] = []
        self._in_use: set[ref[BorrowedConnection]] = set()
        self._waiting: dict[ref[BorrowedConnection], SimpleQueue[None]] = {}
        """Calls that wait, in their order, and what wakes each of them."""
        self._pid = os.getpid()  # last: until then, each thread of a forked child resets

    @property
    def in_use(self) -> int:
        """How many calls have a connection now."""
        return len(self._in_use)

    @property
    def waiting(self) -> int:
        """How many calls wait for a connection now."""
        return len(self._waiting)

    def open(self, borrowed: BorrowedConnection) -> None:
        """Give ``borrowed`` a connection that is ready to be written to; wait while all are in use.

        Raises:
            ConnectionPoolFullError: none became free in time.

        """
        if self._pid != os.getpid():
            self._reset()
        pool: Any = self._pool()
        in_use = self._in_use
        borrowed.place = place = ref(borrowed, in_use.discard)
        # A call that comes later must not overtake those that wait: they would wait in vain as long as calls come.
        if self._waiting or not self._take_place(place, pool.max_connections):
            self._wait(borrowed, place, pool.max_connections)
        try:
            borrowed.connection = self._idle.pop()
        except IndexError:
            borrowed.connection = _make_connection(pool, self._most_seconds)
        _prepare(borrowed.connection)

    def _take_place(self, place: ref[BorrowedConnection], limit: int) -> bool:
        """Take a place, unless all are taken: of several calls at once none may get the last one."""
        self._in_use.add(place)
        if len(self._in_use) <= limit:
            return True
        self._in_use.discard(place)
        return False

    def _wait(self, borrowed: BorrowedConnection, place: ref[BorrowedConnection], limit: int) -> None:
        """Wait for a place behind the calls that came before."""
        waiting, wake_ups = self._waiting, SimpleQueue[None]()
        deadline = time.monotonic() + self._wait_seconds
        waiter = ref(borrowed, lambda gone: waiting.pop(gone, None))
        try:
            waiting[waiter] = wake_ups
            while True:
                is_first = _first(waiting) is wake_ups
                if is_first and self._take_place(place, limit):
                    return
                if time.monotonic() > deadline:
                    raise pool_full_error(limit, self._wait_seconds)
                with contextlib.suppress(Empty):
                    wake_ups.get(timeout=_POLL_SECONDS if is_first else _LONG_POLL_SECONDS)
        finally:
            waiting.pop(waiter, None)
            self._wake_first()

    def _wake_first(self) -> None:
        if self._waiting:
            first = _first(self._waiting)
            if first is not None:
                first.put(None)

    def close(self, borrowed: BorrowedConnection) -> None:
        """Take the connection back where its reply was read, close it otherwise, and free the place."""
        try:
            connection = borrowed.connection
            if connection is not None:
                if borrowed.is_clean and self._is_current(connection):
                    self._idle.append(connection)
                else:
                    _disconnect(connection)
            self._free_place(borrowed)
        except BaseException:  # an interruption, whose traceback would keep the connection open and the place taken
            self._free_place(borrowed)
            if borrowed.connection is not None:
                _disconnect(borrowed.connection)
            raise

    def _free_place(self, borrowed: BorrowedConnection) -> None:
        if borrowed.place is not None:
            self._in_use.discard(borrowed.place)
        self._wake_first()

    def _is_current(self, connection: Any) -> bool:
        """Return whether a connection may be used again: not of a parent process, nor of a former master."""
        must_reconnect = getattr(connection, "should_reconnect", bool)  # older releases of redis-py have none
        if connection.pid != os.getpid() or must_reconnect():
            return False
        pool = self._pool()
        if self._follows_sentinels and pool is not None:
            return bool(pool.master_address == (connection.host, connection.port))
        return pool is not None

    def disconnect(self, *_: Any, **__: Any) -> None:
        """Close the idle connections, as the client is being closed."""
        if self._pid != os.getpid():
            return
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            connection.disconnect()


class _Closer:
    """Stands for a connection in the client's pool: closing it with the client closes the idle connections here."""

    pid = 0

    def __init__(self, calls: CallPool) -> None:
        self.disconnect = calls.disconnect

    def __getattr__(self, _: str) -> Any:
        return lambda *_, **__: None


class UnknownPool:
    """Connections of a pool whose class this package does not know: they are taken from it and returned to it."""

    in_use = 0

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def open(self, borrowed: BorrowedConnection) -> None:
        """Give ``borrowed`` a connection of the pool; wait while the pool is full."""
        deadline = time.monotonic() + WAIT_SECONDS
        while borrowed.connection is None:
            try:
                borrowed.connection = self._pool.get_connection()
            except redis_errors.ConnectionError as error:
                if not is_pool_full(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    def close(self, borrowed: BorrowedConnection) -> None:
        """Give the connection back, closed unless its reply was read."""
        if borrowed.connection is not None:
            try:
                if not borrowed.is_clean:
                    _disconnect(borrowed.connection)
            finally:
                self._pool.release(borrowed.connection)


def find_call_pool(pool: Any, most_seconds: float | None = None) -> CallPool | UnknownPool:
    """Return the one call pool of all services on a client with this pool.

    With ``most_seconds`` it is another one, for the calls that make one attempt and wait no longer for a reply.
    """
    attribute = _ATTRIBUTE if most_seconds is None else f"{_ATTRIBUTE}_within_{most_seconds}"
    known = pool.__dict__.get(attribute)
    if known is not None:
        return known  # type: ignore[no-any-return]
    if not any(getattr(pool, "get_connection", None) == each.get_connection.__get__(pool) for each in _KNOWN_POOLS):
        return UnknownPool(pool)
    made: CallPool = pool.__dict__.setdefault(attribute, CallPool(pool, most_seconds))
    in_use = pool.__dict__.get("_in_use_connections")
    if isinstance(in_use, set):
        in_use.add(_Closer(made))
    elif isinstance(connections := pool.__dict__.get("_connections"), list):
        connections.append(_Closer(made))
    return made


def _wait_seconds(pool: Any) -> float:
    seconds: float | None = getattr(pool, "timeout", WAIT_SECONDS)
    return math.inf if seconds is None else seconds


def _make_connection(pool: Any, most_seconds: float | None) -> Any:
    options = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith("maint_")}
    if most_seconds is not None:
        given = {name: options.get(name) or most_seconds for name in _TIMEOUTS}
        options |= {name: min(seconds, most_seconds) for name, seconds in given.items()}
        options["retry"] = make_single_attempt()
    return pool.connection_class(**options)


def _disconnect(connection: Any) -> None:
    """Close a connection; its socket is closed even if this is interrupted."""
    found = getattr(connection, "_sock", None)  # a connection to an in-process server has none
    try:
        connection.disconnect()
    finally:
        if isinstance(found, socket.socket):
            found.close()


def _is_fresh(connection: Any, wire: Wire | None) -> bool:
    try:
        return not connection.can_read() if wire is None else wire.is_fresh()
    except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError):
        return False


def _prepare(connection: Any) -> None:
    """Connect; connect again if the server has closed the connection or unread bytes are waiting."""
    wire = find_wire(connection)
    if wire is None:
        connect(connection)
    if not _is_fresh(connection, wire):
        connection.disconnect()
        connect(connection)
