"""Sends commands on a blocking client, each on a connection that the call owns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from redis import exceptions as redis_errors

from edge_redis._io.call_pool import BorrowedConnection, CallPool, UnknownPool, find_call_pool
from edge_redis._io.command_sender import Args, FinalError, parse_reply
from edge_redis._io.connect_retry import begin_call, continue_call
from edge_redis._io.error_mapping import LIBRARY_ERRORS
from edge_redis._io.handshake import UNREADABLE, connect, unreadable
from edge_redis._io.resp import pack
from edge_redis._io.wire import open_wire

T = TypeVar("T")


def call_on(pool: CallPool | UnknownPool, exchange: Callable[[Any], T]) -> T:
    """Call ``exchange`` with a connection of its own, repeated as the client's retry says."""
    begin_call()
    borrowed = BorrowedConnection()
    try:
        pool.open(borrowed)
        began = time.monotonic()
        try:
            result = exchange(borrowed.connection)
        except Exception as error:  # noqa: BLE001 -- the retry decides which errors it knows
            result = _repeat(borrowed.connection, exchange, error, began)
        borrowed.is_clean = True
    except redis_errors.ResponseError:
        borrowed.is_clean = True
        raise
    finally:
        pool.close(borrowed)
    return result


def _repeat(connection: Any, exchange: Callable[[Any], T], error: Exception, began: float) -> T:
    """Repeat a call whose first attempt has failed with ``error``, as the client's retry says; else raise it."""
    failures = [error]

    def attempt() -> T:
        try:
            if failures:
                raise failures.pop()
            connect(connection)  # a Sentinel connection asks for the master here, and not where it reconnects to write
            return exchange(connection)
        except redis_errors.AuthenticationError as refused:  # to redis-py a ConnectionError, which it would retry
            raise FinalError(refused) from refused

    try:
        with continue_call(began):
            result: T = connection.retry.call_with_retry(attempt, lambda _: connection.disconnect())
    except FinalError as final:
        raise final.error from None
    return result


class OwnedSender:
    """Sends commands on connections of a ``redis.Redis`` that it manages itself (``call_pool``)."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._pool = find_call_pool(client.connection_pool)

    def send(self, args: Args) -> Any:
        """Send one command and return its reply."""
        client = self._client
        if "execute_command" in vars(client):  # patched by a test or a tracer
            return client.execute_command(*args)

        def exchange(connection: Any) -> Any:
            return write(client, connection, [args])(args[0])

        return call_on(self._pool, exchange)

    def send_many(self, commands: Sequence[Args]) -> list[Any]:
        """Send commands in one round trip and return their replies, error replies among them."""
        client = self._client

        def exchange(connection: Any) -> list[Any]:
            read = write(client, connection, commands)
            return [read_or_return_error(read, args) for args in commands]

        return call_on(self._pool, exchange) if commands else []


def write(client: Any, connection: Any, commands: Sequence[Args]) -> Callable[[str], Any]:
    """Send commands; return the function that reads the next reply, given its command's name."""
    wire = None if "parse_response" in vars(client) else open_wire(connection)
    if wire is None:
        connection.send_packed_command(connection.pack_commands(commands))
        return lambda name: _parse_by_library(client, connection, name)
    wire.send(b"".join(map(pack, commands)))
    return lambda name: parse_reply(client, name, wire.read())


def _parse_by_library(client: Any, connection: Any, name: str) -> Any:
    try:
        return client.parse_response(connection, name)
    except UNREADABLE as error:
        raise unreadable(error) from error


def read_or_return_error(read: Callable[[str], Any], args: Args) -> Any:
    """Return the next reply, which is to ``args``; an error reply too."""
    try:
        return read(args[0])
    except redis_errors.ResponseError as error:
        return error


class ClientSender:
    """Sends commands through the client's own methods, where its class or an instrumentation overrides redis-py's."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def send(self, args: Args) -> Any:
        """Send one command and return its reply."""
        try:
            return self._client.execute_command(*args)
        except LIBRARY_ERRORS:
            raise
        except BaseException:
            self._close_idle()
            raise

    def send_many(self, commands: Sequence[Args]) -> list[Any]:
        """Send commands in one round trip and return their replies, error replies among them."""
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for args in commands:
                    pipeline.execute_command(*args)
                return list(pipeline.execute(raise_on_error=False))
        except LIBRARY_ERRORS:
            raise
        except BaseException:
            self._close_idle()
            raise

    def _close_idle(self) -> None:
        """Close the pool's idle connections: redis-py has put the interrupted one there with its reply unread."""
        pool = getattr(self._client, "connection_pool", None)
        if pool is not None:
            pool.disconnect(inuse_connections=False)
