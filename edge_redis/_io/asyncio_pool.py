"""The connections of asyncio calls: each call owns one of the client's pool from before it writes until it has read.

If a call ends before it has read its reply (cancellation, a timeout, an exception from a signal
handler), the connection is closed before it goes back to the pool. While all connections are in
use, a call waits for one. A client belongs to one event loop; it may be used in another one after
the first was closed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Final
from weakref import ref

import redis.asyncio
from redis import exceptions as redis_errors

from edge_redis._io.call_pool import WAIT_SECONDS
from edge_redis._io.error_mapping import is_pool_full, pool_full_error
from edge_redis._io.handshake import connect_async, without_health_check
from edge_redis._io.tasks import finish
from edge_redis.errors import ClientConfigurationError

SHARED: Final = "_edge_redis_shared"
"""The attribute of a pool that has the connection that tasks share (``asyncio_shared``)."""

_LOOP: Final = "_edge_redis_loop"
_WAITERS: Final = "_edge_redis_waiters"
_BORROWER: Final = "_edge_redis_borrower"
_POLL_SECONDS: Final = 0.25


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
    owner.__dict__.pop(SHARED, None)
    owner.__dict__[_LOOP] = loop


class Borrower:
    """Marks the connection of one call. Only the call refers to it: once it is collected, the call has ended."""

    __slots__ = ("__weakref__",)


def _is_known(pool: Any) -> bool:
    """Return whether the pool is redis-py's own, so that connections can be taken and put back without its lock."""
    return (
        type(pool).get_connection is redis.asyncio.ConnectionPool.get_connection
        and type(pool).release is redis.asyncio.ConnectionPool.release
        and hasattr(pool, "get_available_connection")
        and hasattr(pool, "ensure_connection")
    )


def _take(pool: Any, borrower: Borrower) -> Any:
    connection = pool.get_available_connection()
    connection.__dict__[_BORROWER] = ref(borrower)
    return connection


def _free_lost_places(pool: Any) -> bool:
    """Free the places of calls that ended without giving their connection back; return whether there were any."""
    in_use = pool._in_use_connections  # noqa: SLF001 -- see _is_known
    lost = [each for each in in_use if (found := each.__dict__.get(_BORROWER)) is not None and found() is None]
    for connection in lost:
        in_use.discard(connection)
    return bool(lost)


class _Waiter:
    """The place of one call in the queue for a connection."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait until this is woken, or a short time."""
        loop = asyncio.get_running_loop()
        self.future = loop.create_future()
        timer = loop.call_later(_POLL_SECONDS, self.wake)
        try:
            await self.future
        finally:
            timer.cancel()

    def wake(self) -> None:
        """End the wait."""
        if self.future is not None and not self.future.done():
            self.future.set_result(None)


async def take_connection(pool: Any, borrower: Borrower) -> Any:
    """Return a connection of ``pool``, which may not be connected yet; wait while all are in use.

    A call that comes later does not overtake those that wait: they would wait in vain as long as calls come.

    Raises:
        ConnectionPoolFullError: none became free in time.

    """
    waiters: deque[_Waiter] = pool.__dict__.setdefault(_WAITERS, deque())
    if not waiters and (connection := await _try_to_take(pool, borrower)) is not None:
        return connection
    waiter, deadline = _Waiter(), time.monotonic() + WAIT_SECONDS
    waiters.append(waiter)
    try:
        while True:
            if waiters[0] is waiter and (connection := await _try_to_take(pool, borrower)) is not None:
                return connection
            if time.monotonic() > deadline:
                raise pool_full_error(pool.max_connections, WAIT_SECONDS)
            await waiter.wait()
    finally:
        waiters.remove(waiter)
        _wake_first(pool)


async def _try_to_take(pool: Any, borrower: Borrower) -> Any:
    """Return a connection of ``pool``; None where all are in use."""
    is_known = _is_known(pool)
    try:
        return _take(pool, borrower) if is_known else await pool.get_connection()
    except redis_errors.ConnectionError as error:
        if not is_pool_full(error):
            raise
        return _take(pool, borrower) if is_known and _free_lost_places(pool) else None


async def connect_taken(pool: Any, connection: Any) -> None:
    """Connect a connection that was taken from ``pool``; other pools than redis-py's have done so already."""
    if _is_known(pool):
        with without_health_check(connection):
            await pool.ensure_connection(connection)
        if is_closed_by_server(connection):
            await connection.disconnect(nowait=True)
            await connect_async(connection)


def is_closed_by_server(connection: Any) -> bool:
    """Return whether the server has closed a connection, as after its ``timeout``: redis-py does not see that."""
    reader = getattr(connection, "_reader", None)  # a connection to an in-process server has none
    return isinstance(reader, asyncio.StreamReader) and reader.at_eof()


async def give_back(pool: Any, connection: Any, *, is_clean: bool) -> None:
    """Give a connection back, closed unless its reply was read, and wake one call that waits.

    A second cancellation interrupts this without leaving the connection open or its place taken.
    """
    is_known, is_reusable = _is_known(pool), False
    try:
        must_reconnect = getattr(connection, "should_reconnect", bool)  # older releases of redis-py have none
        if not is_clean or must_reconnect():
            await finish(connection.disconnect(nowait=True))
        is_reusable = True
    finally:
        try:
            if is_known:
                connection.__dict__.pop(_BORROWER, None)
                pool._in_use_connections.discard(connection)  # noqa: SLF001 -- see _is_known
                if is_reusable:  # else it may still have a reply to read, and is garbage
                    pool._available_connections.append(connection)  # noqa: SLF001
            else:
                await finish(pool.release(connection))
        finally:
            _wake_first(pool)


def _wake_first(pool: Any) -> None:
    """Wake the call that has waited longest."""
    waiters = pool.__dict__.get(_WAITERS)
    if waiters:
        waiters[0].wake()
