"""Writes and reads on the socket of a redis-py connection that a blocking call owns.

redis-py connects, logs in and checks the connection's health. A call then needs one ``sendall``, one ``recv`` and
the parser of ``resp``: redis-py's own way takes two more system calls and several more layers.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Any, Final

from redis import exceptions as redis_errors
from redis.sentinel import SentinelManagedConnection

from edge_redis._io.handshake import UNREADABLE, unreadable
from edge_redis._io.resp import INCOMPLETE, is_push, make_reader

_ATTRIBUTE: Final = "_edge_redis_wire"
_READ_BYTES: Final = 65536
_LIBRARY_MODULES: Final = ("redis.connection", "redis.sentinel")


class Wire:
    """The socket of a connection, and the replies that arrive on it."""

    __slots__ = ("_connection", "_poll", "_reader", "sock")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.sock: socket.socket = connection._sock  # noqa: SLF001 -- redis-py offers it in no other way
        self._reader = make_reader(type(connection._parser).parse_error)  # noqa: SLF001
        self._poll = select.poll()
        self._poll.register(self.sock, select.POLLIN)

    def is_fresh(self) -> bool:
        """Return whether the server has neither closed the connection nor sent what nobody has asked for."""
        return not self._reader.has_data() and not self._poll.poll(0)

    def send(self, data: bytes) -> None:
        """Send packed commands."""
        connection = self._connection
        if connection.health_check_interval:
            connection.check_health()
        try:
            self.sock.sendall(data)
        except TimeoutError as error:
            raise redis_errors.TimeoutError("Timeout writing to socket") from error
        except OSError as error:
            raise redis_errors.ConnectionError(f"Error while writing to socket: {error}") from error

    def read(self) -> Any:
        """Return the next reply; an error reply is raised."""
        reader = self._reader
        try:
            if not reader.has_data():
                reader.feed(self._receive())
            while (reply := reader.gets()) is INCOMPLETE or is_push(reply):
                if reply is INCOMPLETE:
                    reader.feed(self._receive())
        except UNREADABLE as error:  # hiredis makes maps of any keys
            raise unreadable(error) from error
        connection = self._connection
        if connection.health_check_interval:
            connection.next_health_check = time.monotonic() + connection.health_check_interval
        if isinstance(reply, Exception):
            raise self._explain(reply)
        return reply

    def _receive(self) -> bytes:
        try:
            data = self.sock.recv(_READ_BYTES)
        except TimeoutError as error:
            raise redis_errors.TimeoutError("Timeout reading from socket") from error
        except OSError as error:
            raise redis_errors.ConnectionError(f"Error while reading from socket: {error}") from error
        if not data:
            raise redis_errors.ConnectionError("Connection closed by server.")
        return data

    def _explain(self, error: Exception) -> Exception:
        """Return an error reply; of a master that has become a replica, the error that has the call repeated."""
        connection = self._connection
        if (
            isinstance(error, redis_errors.ReadOnlyError)
            and isinstance(connection, SentinelManagedConnection)
            and connection.connection_pool.is_master
        ):
            return redis_errors.ConnectionError("the previous master is a replica now")
        return error


def find_wire(connection: Any) -> Wire | None:
    """Return the wire of a connection that is still connected as it was; None where there is none."""
    wire: Wire | None = connection.__dict__.get(_ATTRIBUTE)
    return wire if wire is not None and wire.sock is connection._sock else None  # noqa: SLF001


def open_wire(connection: Any) -> Wire | None:
    """Return the wire of a connected connection; None where its class has ways of its own, or it uses TLS."""
    wire = find_wire(connection)
    if wire is not None:
        return wire
    methods = (getattr(type(connection), name, None) for name in ("read_response", "send_packed_command"))
    if not all(getattr(each, "__module__", None) in _LIBRARY_MODULES for each in methods):
        return None
    if type(connection._sock) is not socket.socket:  # noqa: SLF001 -- what a TLS socket has to read, poll does not say
        return None
    made: Wire = connection.__dict__.setdefault(_ATTRIBUTE, Wire(connection))
    if made.sock is not connection._sock:  # noqa: SLF001
        made = connection.__dict__[_ATTRIBUTE] = Wire(connection)
    return made
