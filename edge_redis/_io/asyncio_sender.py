"""Sends commands on an asyncio client, each on a connection that the call owns (``asyncio_pool``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis import exceptions as redis_errors

from edge_redis._io.asyncio_pool import Borrower, connect_taken, enter_loop, give_back, take_connection
from edge_redis._io.command_sender import Args, FinalError
from edge_redis._io.connect_retry import begin_call

T = TypeVar("T")


async def call_on(pool: Any, exchange: Callable[[Any], Awaitable[T]]) -> T:
    """Await ``exchange`` with a connection of its own, repeated as the client's retry says."""
    begin_call()
    enter_loop(pool)
    borrower = Borrower()
    connection = await take_connection(pool, borrower)
    is_clean = has_failed = False

    async def attempt() -> T:
        try:
            if has_failed:  # a Sentinel connection asks for the master here, and not where it reconnects to write
                await connection.connect()
            return await exchange(connection)
        except redis_errors.AuthenticationError as error:  # to redis-py a ConnectionError, which it would retry
            raise FinalError(error) from error

    async def fail(_: Exception) -> None:
        nonlocal has_failed
        has_failed = True
        await connection.disconnect(nowait=True)

    try:
        await connect_taken(pool, connection)
        result: T = await connection.retry.call_with_retry(attempt, fail)
        is_clean = True
    except redis_errors.ResponseError:
        is_clean = True
        raise
    except FinalError as final:
        raise final.error from None
    finally:
        await give_back(pool, connection, is_clean=is_clean)
    return result


class AsyncOwnedSender:
    """Sends commands on connections that it takes from the pool of a ``redis.asyncio.Redis`` itself."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def send(self, args: Args) -> Any:
        """Send one command and return its reply."""
        client = self._client
        if "execute_command" in vars(client):  # patched by a test or a tracer
            return await client.execute_command(*args)

        async def exchange(connection: Any) -> Any:
            await connection.send_command(*args)
            return await client.parse_response(connection, args[0])

        return await call_on(client.connection_pool, exchange)

    async def send_many(self, commands: Sequence[Args]) -> list[Any]:
        """Send commands in one round trip and return their replies, error replies among them."""
        client = self._client

        async def exchange(connection: Any) -> list[Any]:
            await connection.send_packed_command(connection.pack_commands(commands))
            return [await _read(client, connection, args) for args in commands]

        return await call_on(client.connection_pool, exchange) if commands else []


async def _read(client: Any, connection: Any, args: Args) -> Any:
    try:
        return await client.parse_response(connection, args[0])
    except redis_errors.ResponseError as error:
        return error


class AsyncClientSender:
    """Sends commands through the client's own methods, where its class or an instrumentation overrides redis-py's."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._owner = getattr(client, "connection_pool", client)

    async def send(self, args: Args) -> Any:
        """Send one command and return its reply."""
        enter_loop(self._owner)
        return await self._client.execute_command(*args)

    async def send_many(self, commands: Sequence[Args]) -> list[Any]:
        """Send commands in one round trip and return their replies, error replies among them."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for args in commands:
                pipeline.execute_command(*args)
            return list(await pipeline.execute(raise_on_error=False))


class AsyncClusterSender:
    """Sends commands through the methods of a ``redis.asyncio.RedisCluster``."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def send(self, args: Args) -> Any:
        """Send one command and return its reply."""
        enter_loop(self._client)
        try:
            return await self._client.execute_command(*args)
        except AttributeError as error:  # redis-py fails so when a slot map reload closes the connection
            raise redis_errors.ConnectionError("the connection was closed under this command") from error
