"""Where a connection that tasks share comes from: the pool of a client, or the node of a cluster."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, Protocol
from weakref import ref

import redis.asyncio
from redis import exceptions as redis_errors
from redis.asyncio.sentinel import SentinelConnectionPool

from edge_redis._io.asyncio_pool import Borrower, connect_taken, take_connection
from edge_redis._io.call_pool import WAIT_SECONDS
from edge_redis._io.error_mapping import pool_full_error
from edge_redis._io.handshake import connect_async

_POLL_SECONDS: Final = 0.05
"""How often a node is asked again for a connection while all are in use."""

_LIBRARY_MODULES: Final = ("redis.asyncio.connection", "redis.asyncio.sentinel")


class Source(Protocol):
    """Gives a connection, and says whether it may be used again."""

    async def take(self) -> Any:
        """Return a connection, which may not be connected; wait while all are in use.

        Raises:
            ConnectionPoolFullError: none became free in time.

        """

    async def connect(self, connection: Any) -> None:
        """Connect a connection that was taken here."""

    def is_current(self, connection: Any) -> bool:
        """Return whether redis-py would use the connection again: the same server, the same credentials."""

    @property
    def follows_sentinels(self) -> bool:
        """Whether Sentinels name the server."""


def can_share(connection_class: Any) -> bool:
    """Return whether tasks can share connections of a class: redis-py's own."""
    methods = (getattr(connection_class, name, None) for name in ("_connect", "read_response", "send_packed_command"))
    return all(getattr(each, "__module__", None) in _LIBRARY_MODULES for each in methods)


def is_shareable(client: Any) -> bool:
    """Return whether tasks can share a connection of ``client``: redis-py's own, and not the only one of its pool."""
    pool = client.connection_pool
    return (
        isinstance(pool, redis.asyncio.ConnectionPool)
        and pool.max_connections > 1
        and can_share(getattr(pool, "connection_class", None))
    )


class PoolSource:
    """The pool of a client, to which it does not refer: a client that is dropped is collected."""

    def __init__(self, pool: Any) -> None:
        self._pool = ref(pool)
        self._borrower = Borrower()

    async def take(self) -> Any:
        """Return a connection of the pool; wait while all are in use."""
        return await take_connection(self._pool(), self._borrower)

    async def connect(self, connection: Any) -> None:
        """Connect a connection of the pool."""
        await connect_taken(self._pool(), connection)

    def is_current(self, connection: Any) -> bool:
        """Return whether redis-py would use the connection again."""
        must_reconnect = getattr(connection, "should_reconnect", bool)  # older releases of redis-py have none
        if must_reconnect() or _has_new_credentials(connection):
            return False
        pool: Any = self._pool()
        return not self.follows_sentinels or bool(pool.master_address == (connection.host, connection.port))

    @property
    def follows_sentinels(self) -> bool:
        """Whether the pool is of a master that Sentinels name."""
        pool = self._pool()
        return isinstance(pool, SentinelConnectionPool) and bool(pool.is_master)


class NodeSource:
    """A node of a cluster."""

    follows_sentinels = False

    def __init__(self, node: Any) -> None:
        self._node = node

    async def take(self) -> Any:
        """Return a connection of the node, which is not connected; wait while all are in use."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                connection = self._node.acquire_connection()
            except redis_errors.MaxConnectionsError:
                if time.monotonic() > deadline:
                    raise pool_full_error(self._node.max_connections, WAIT_SECONDS) from None
                await asyncio.sleep(_POLL_SECONDS)
            else:
                await connection.disconnect(nowait=True)  # one that was used before may have been closed by the server
                return connection

    async def connect(self, connection: Any) -> None:
        """Connect a connection of the node."""
        await connect_async(connection)

    def is_current(self, connection: Any) -> bool:
        """Return whether the connection may be used again.

        redis-py marks the connections of all nodes for a reconnect whenever it reads the slot map. This one need not:
        a node that has lost a slot says so.
        """
        return not _has_new_credentials(connection)


def _has_new_credentials(connection: Any) -> bool:
    return getattr(connection, "_re_auth_token", None) is not None
