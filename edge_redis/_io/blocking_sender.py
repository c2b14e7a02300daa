"""Sends commands on a blocking client, each on a connection that the call owns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from redis import exceptions as redis_errors

from edge_redis._io.call_pool import BorrowedConnection, CallPool, UnknownPool, find_call_pool
from edge_redis._io.command_sender import Args, FinalError
from edge_redis._io.connect_retry import begin_call
from edge_redis._io.error_mapping import LIBRARY_ERRORS

T = TypeVar("T")


def call_on(pool: CallPool | UnknownPool, exchange: Callable[[Any], T]) -> T:
    """Call ``exchange`` with a connection of its own, repeated as the client's retry says."""
    begin_call()
    borrowed = BorrowedConnection()
    has_failed = False

    def attempt() -> T:
        try:
            if has_failed:  # a Sentinel connection asks for the master here, and not where it reconnects to write
                borrowed.connection.connect()
            return exchange(borrowed.connection)
        except redis_errors.AuthenticationError as error:  # to redis-py a ConnectionError, which it would retry
            raise FinalError(error) from error

    def fail(_: Exception) -> None:
        nonlocal has_failed
        has_failed = True
        borrowed.connection.disconnect()

    try:
        pool.open(borrowed)
        result: T = borrowed.connection.retry.call_with_retry(attempt, fail)
        borrowed.is_clean = True
    except redis_errors.ResponseError:
        borrowed.is_clean = True
        raise
    except FinalError as final:
        raise final.error from None
    finally:
        pool.close(borrowed)
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
            connection.send_command(*args)
            return client.parse_response(connection, args[0])

        return call_on(self._pool, exchange)

    def send_many(self, commands: Sequence[Args]) -> list[Any]:
        """Send commands in one round trip and return their replies, error replies among them."""
        client = self._client

        def exchange(connection: Any) -> list[Any]:
            connection.send_packed_command(connection.pack_commands(commands))
            return [_read(client, connection, args) for args in commands]

        return call_on(self._pool, exchange) if commands else []


def _read(client: Any, connection: Any, args: Args) -> Any:
    try:
        return client.parse_response(connection, args[0])
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
