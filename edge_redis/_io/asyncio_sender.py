"""Sends commands on an asyncio client, each on a connection that the call owns.

A call takes a connection from the client's pool. If the call ends before it has read its reply
(cancellation, a timeout, an exception from a signal handler), the connection is closed before it
goes back to the pool. Where all connections are in use, the call waits for one. A client belongs to
one event loop; it may be used in another one after the first was closed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar
from weakref import ref

import redis.asyncio
from redis import exceptions as redis_errors

from edge_redis._io.call_pool import WAIT_SECONDS
from edge_redis._io.command_sender import Args, FinalError
from edge_redis._io.connect_retry import begin_call
from edge_redis._io.error_mapping import is_pool_full
from edge_redis.errors import ClientConfigurationError, ConnectionPoolFullError

T = TypeVar("T")

_LOOP: Final = "_edge_redis_loop"
_WAITERS: Final = "_edge_redis_waiters"
_BORROWER: Final = "_edge_redis_borrower"
_POLL_SECONDS: Final = 0.25

_finishing: set[asyncio.Future[object]] = set()
"""Steps of ``give_back`` under way: an event loop itself refers to its tasks weakly."""


def enter_loop(owner: Any) -> None:
    """Bind a client's pool, or a cluster client, to the running event loop.

    Raises:
        ClientConfigurationError: it is bound to another loop that is still open.

    """
    loop = asyncio.get_running_loop()
    bound = owner.__dict__.setdefault(_LOOP, loop)
    if bound is loop:
        return
    if not bound.is_closed() or not hasattr(owner, "reset"):
        raise ClientConfigurationError(
            "this client was used in another event loop: a client and the services on it belong to one event loop"
        )
    owner.reset()  # its connections were closed with their loop
    owner._lock = asyncio.Lock()  # noqa: SLF001 -- a lock that was waited for is bound to its loop
    owner.__dict__.pop(_WAITERS, None)
    owner.__dict__[_LOOP] = loop


class _Borrower:
    """Referenced by one call only: once it is collected, the call has ended, in whatever way."""

    __slots__ = ("__weakref__",)


def _has_known_code(pool: Any) -> bool:
    """Return whether connections can be taken from the pool, and put back, without waiting for its lock."""
    return (
        type(pool).get_connection is redis.asyncio.ConnectionPool.get_connection
        and type(pool).release is redis.asyncio.ConnectionPool.release
        and hasattr(pool, "get_available_connection")
        and hasattr(pool, "ensure_connection")
    )


def _take(pool: Any, borrower: _Borrower) -> Any:
    connection = pool.get_available_connection()
    connection.__dict__[_BORROWER] = ref(borrower)
    return connection


def _free_lost_places(pool: Any) -> bool:
    """Free the places of calls that ended without giving their connection back; return whether there were any."""
    in_use = pool._in_use_connections  # noqa: SLF001 -- see _has_known_code
    lost = [each for each in in_use if (found := each.__dict__.get(_BORROWER)) is not None and found() is None]
    for connection in lost:
        in_use.discard(connection)
    return bool(lost)


async def take_connection(pool: Any, borrower: _Borrower) -> Any:
    """Return a connection of ``pool``, which may not be connected yet; wait while all are in use.

    Raises:
        ConnectionPoolFullError: none became free in time.

    """
    is_known = _has_known_code(pool)
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return _take(pool, borrower) if is_known else await pool.get_connection()
        except redis_errors.ConnectionError as error:
            if not is_pool_full(error):
                raise
            if is_known and _free_lost_places(pool):
                continue
            if time.monotonic() > deadline:
                raise ConnectionPoolFullError(
                    f"all {pool.max_connections} connections of the client's pool were in use for {WAIT_SECONDS} s;"
                    " nothing was sent: raise max_connections, or make fewer calls at once"
                ) from error
        await _wait_for_a_place(pool)


async def _wait_for_a_place(pool: Any) -> None:
    waiters: deque[asyncio.Future[None]] = pool.__dict__.setdefault(_WAITERS, deque())
    waiter = asyncio.get_running_loop().create_future()
    waiters.append(waiter)
    try:
        await asyncio.wait((waiter,), timeout=_POLL_SECONDS)
    finally:
        if not waiter.done():
            waiters.remove(waiter)


async def give_back(pool: Any, connection: Any, *, is_clean: bool) -> None:
    """Give a connection back, closed unless its reply was read, and wake one call that waits for it.

    A second cancellation interrupts this without leaving the connection open or its place taken.
    """
    is_known, is_reusable = _has_known_code(pool), False
    try:
        must_reconnect = getattr(connection, "should_reconnect", bool)  # older releases of redis-py have none
        if not is_clean or must_reconnect():
            await _finish(connection.disconnect(nowait=True))
        is_reusable = True
    finally:
        try:
            if is_known:
                connection.__dict__.pop(_BORROWER, None)
                pool._in_use_connections.discard(connection)  # noqa: SLF001 -- see _has_known_code
                if is_reusable:  # else it may still have a reply to read, and is garbage
                    pool._available_connections.append(connection)  # noqa: SLF001
            else:
                await _finish(pool.release(connection))
        finally:
            _wake_waiter(pool)


async def _finish(awaitable: Awaitable[object]) -> None:
    """Await something that goes on to its end even if this is cancelled."""
    task = asyncio.ensure_future(awaitable)
    _finishing.add(task)
    task.add_done_callback(_finishing.discard)
    await asyncio.shield(task)


def _wake_waiter(pool: Any) -> None:
    waiters = pool.__dict__.get(_WAITERS)
    if waiters:
        waiters.popleft().set_result(None)


async def call_on(pool: Any, exchange: Callable[[Any], Awaitable[T]]) -> T:
    """Await ``exchange`` with a connection of its own, repeated as the client's retry says."""
    begin_call()
    enter_loop(pool)
    borrower = _Borrower()
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
        if _has_known_code(pool):
            await pool.ensure_connection(connection)
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
