"""Sends commands on an asyncio client: on a connection that tasks share, or on one that the call owns."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NoReturn, TypeVar

from redis import exceptions as redis_errors

from edge_redis._io.asyncio_pool import Borrower, connect_taken, enter_loop, give_back, take_connection
from edge_redis._io.asyncio_shared import LARGE_BYTES, SharedConnection, find_shared, key_of
from edge_redis._io.command_sender import Args, FinalError, parse_reply
from edge_redis._io.connect_retry import begin_call, continue_call
from edge_redis._io.handshake import UNREADABLE, connect_async, unreadable
from edge_redis._io.resp import pack

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
                await connect_async(connection)
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
            return await _parse_by_library(client, connection, args[0])

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
        return await _parse_by_library(client, connection, args[0])
    except redis_errors.ResponseError as error:
        return error


async def _parse_by_library(client: Any, connection: Any, name: str) -> Any:
    try:
        return await client.parse_response(connection, name)
    except UNREADABLE as error:
        raise unreadable(error) from error


_WAITING_COMMANDS: Final = frozenset({"WAIT", "WAITAOF"})
"""Commands that keep their connection waiting: nobody else's may stand behind them."""

_MAX_COMMANDS: Final = 256
"""A batch of more commands goes over a connection of its own."""


class AsyncSharedSender:
    """Sends commands on the connection that all tasks of the event loop share (``asyncio_shared``).

    What is large, or waits, goes over a connection of its own. Calls that meet a failing connection are
    repeated as the client's retry says.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._owned = AsyncOwnedSender(client)
        self._known: SharedConnection | None = None

    def _find_shared(self) -> SharedConnection | None:
        """Return the shared connection; None where the client's own methods were replaced by a test or a tracer."""
        if "execute_command" in vars(self._client) or "parse_response" in vars(self._client):
            return None
        known = self._known
        if known is None or known.loop is not asyncio.get_running_loop():
            known = self._known = find_shared(self._client.connection_pool)
        return known

    async def send(self, args: Args) -> Any:
        """Send one command and return its reply."""
        shared = self._find_shared()
        if shared is None:
            return await self._owned.send(args)
        if shared.large and (key := key_of(args)) in shared.large:
            reply = await self._owned.send(args)
            shared.note_size(key, reply)
            return reply
        data = pack(args)
        if len(data) > LARGE_BYTES:
            return await self._owned.send(args)
        began = time.monotonic()
        reply = await shared.request(data, tag=key_of(args))
        if isinstance(reply, Exception):
            reply = await _repeat(shared, reply, began, data)
        return parse_reply(self._client, args[0], reply)

    async def send_many(self, commands: Sequence[Args]) -> list[Any]:
        """Send commands in one round trip and return their replies, error replies among them."""
        shared = self._find_shared()
        if shared is None or len(commands) > _MAX_COMMANDS or any(args[0] in _WAITING_COMMANDS for args in commands):
            return await self._owned.send_many(commands)
        data = b"".join(map(pack, commands))
        if not data or len(data) > LARGE_BYTES:
            return await self._owned.send_many(commands)
        began = time.monotonic()
        replies = await shared.request(data, len(commands))
        if isinstance(replies, Exception):
            replies = await _repeat(shared, replies, began, data, len(commands))
        return [
            reply if isinstance(reply, Exception) else parse_reply(self._client, args[0], reply)
            for args, reply in zip(commands, replies, strict=True)
        ]


async def _repeat(
    shared: SharedConnection, error: Exception, began: float, data: bytes, commands: int | None = None
) -> Any:
    """Send again, as the client's retry says, what was answered by ``error``."""
    if isinstance(error, FinalError):
        raise error.error
    if shared.retry is None:
        raise error
    outcomes = [error]

    async def attempt() -> Any:
        outcome = outcomes.pop() if outcomes else await shared.request(data, commands)
        if isinstance(outcome, Exception):
            _raise(outcome)
        return outcome

    async def fail(_: Exception) -> None:
        """Leave the connection as it is: others' replies are due on it."""

    try:
        with continue_call(began):
            return await copy.deepcopy(shared.retry).call_with_retry(attempt, fail)
    except FinalError as final:
        raise final.error from None


def _raise(error: Exception) -> NoReturn:
    """Raise an error to redis-py's retry, so that it repeats all but a refused password."""
    cause = error.error if isinstance(error, FinalError) else error
    if isinstance(cause, redis_errors.AuthenticationError):  # to redis-py a ConnectionError
        raise FinalError(cause)
    raise cause


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
