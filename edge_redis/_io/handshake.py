"""Connects connections of redis-py; raises its errors also where the other side is no Redis server.

redis-py checks the health of a connection while it logs in, and where the check fails it connects inside of that
check. A server that accepts connections and closes them, such as a balancer without servers behind it, would have it
recurse until Python stops it. So there is no health check on the way: a connection that is just made needs none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis import exceptions as redis_errors

UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What redis-py's parsers, hiredis and the handshake raise where the bytes that come are not those of a server."""


def unreadable(error: BaseException) -> redis_errors.InvalidResponse:
    """Return the error of redis-py for one of ``UNREADABLE``."""
    return redis_errors.InvalidResponse(f"the reply cannot be read: {type(error).__name__}: {str(error)[:200]}")


@contextmanager
def without_health_check(connection: Any) -> Iterator[None]:
    """Let a connection connect inside of this without a health check; the next one is due after its interval."""
    interval = getattr(connection, "health_check_interval", 0)
    is_connected = any(getattr(connection, name, None) is not None for name in ("_sock", "_writer"))
    connection.health_check_interval = 0
    try:
        yield
    except UNREADABLE as error:
        raise unreadable(error) from error
    finally:
        connection.health_check_interval = interval
    if interval and not is_connected:
        connection.next_health_check = time.monotonic() + interval


def connect(connection: Any) -> None:
    """Connect a connection, unless it is connected."""
    try:
        with without_health_check(connection):
            connection.connect()
    except redis_errors.InvalidResponse:
        connection.disconnect()
        raise


async def connect_async(connection: Any) -> None:
    """``connect`` for asyncio."""
    try:
        with without_health_check(connection):
            await connection.connect()
    except redis_errors.InvalidResponse:
        await connection.disconnect(nowait=True)
        raise
