"""The socket of a blocking call: replies, errors, and whether the connection can be used again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis import exceptions

from edge_redis._io.wire import Wire, find_wire, open_wire
from support.servers import Backend


class Ends:
    """A connection of redis-py and the server's end of its socket."""

    def __init__(self) -> None:
        make: Any = redis.Connection
        self.connection = make(socket_timeout=0.05)
        self.connection._sock, self.server = socket.socketpair()
        self.connection._sock.settimeout(0.05)
        wire = open_wire(self.connection)
        assert wire is not None
        self.wire: Wire = wire


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.connection.disconnect()
    made.server.close()


def test_replies_come_in_order_and_an_error_reply_is_raised(ends: Ends) -> None:
    ends.wire.send(b"*1\r\n$4\r\nPING\r\n")
    assert ends.server.recv(100) == b"*1\r\n$4\r\nPING\r\n"
    ends.server.sendall(b"+one\r\n-NOSCRIPT no\r\n>1\r\n+push\r\n:3\r\n")
    assert ends.wire.read() == b"one"
    with pytest.raises(exceptions.NoScriptError):
        ends.wire.read()
    assert ends.wire.read() == 3
    assert ends.wire.is_fresh()


@pytest.mark.parametrize("sent", [b"+asked\r\n+not asked\r\n", b"+asked\r\n+ha"], ids=["a reply", "a part of one"])
def test_a_connection_with_something_that_nobody_asked_for_is_not_used_again(ends: Ends, sent: bytes) -> None:
    ends.server.sendall(sent)
    assert ends.wire.read() == b"asked"
    assert not ends.wire.is_fresh()


def test_a_connection_that_the_server_has_closed_is_not_used_again(ends: Ends) -> None:
    assert ends.wire.is_fresh()
    ends.server.close()
    assert not ends.wire.is_fresh()


def test_a_reply_that_is_cut_off_or_does_not_come_is_an_error_of_redis_py(ends: Ends) -> None:
    with pytest.raises(exceptions.TimeoutError):
        ends.wire.read()
    ends.server.sendall(b"$5\r\nhal")
    ends.server.close()
    with pytest.raises(exceptions.ConnectionError):
        ends.wire.read()


def test_a_connection_that_was_made_anew_has_another_wire(valkey: Backend) -> None:
    with valkey.client() as client:
        connection: Any = client.connection_pool.get_connection()
        first = open_wire(connection)
        assert first is not None
        assert open_wire(connection) is first
        connection.disconnect()
        assert find_wire(connection) is None
        connection.connect()
        assert open_wire(connection) is not first
        client.connection_pool.release(connection)
