"""Connections of the blocking and the asyncio listener, and their pauses after failures.

A listener receives invalidation messages in the background, on connections of its own. A *session*
has one connection to each master. When one fails, all are closed, the listener's
``on_disconnected`` is called, and a new session begins after a pause, which grows from 50 ms to 2 s.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final, Protocol

import redis

from edge_redis._io.clients import is_cluster
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis.errors import StoreUnavailableError

_log = logging.getLogger("edge_redis")

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
TOPOLOGY_SECONDS: Final = 1.0
_TIMEOUT_SECONDS: Final = 5.0


class InvalidationListener(Protocol):
    """Gets notified when connections are made and lost: the near cache."""

    def reset(self, connections: int) -> None:
        """Prepare for this number of connections, which are about to be made."""

    def on_disconnected(self, error: Exception | None = None) -> None:
        """Handle the end of all connections: one was lost or not made, or the listener was stopped (no ``error``)."""


def find_master_names(client: Any) -> list[str]:
    """Return the names of a cluster's masters, as its client knows them; none where the server is not a cluster."""
    return sorted(str(node.name) for node in client.get_primaries()) if is_cluster(client) else []


def find_master_pools(client: Any) -> list[Any]:
    """Return the pools whose options the listener's connections get: the client's, or one a master of a cluster."""
    if not is_cluster(client):
        return [client.connection_pool]
    nodes = client.get_primaries()
    if not nodes:
        raise StoreUnavailableError("no master of the cluster is known")
    if isinstance(client, redis.RedisCluster):
        return [client.get_redis_connection(node).connection_pool for node in nodes]
    return list(nodes)  # a node of asyncio has the attributes of a pool that make_connection reads


def make_connection(pool: Any, retry: object) -> Any:
    """Make a connection with the pool's options, in RESP2, without retries and health checks."""
    options = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith("maint_")}
    options |= {"protocol": 2, "retry": retry, "health_check_interval": 0}
    for name in ("socket_timeout", "socket_connect_timeout"):
        options[name] = options.get(name) or _TIMEOUT_SECONDS
    return pool.connection_class(**options)


class ReconnectPause:
    """The pause before the next session; logs the first of several failures as a warning."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE
        self._has_warned = False

    def after(self, error: Exception, lasted: float) -> float:
        """Return the seconds to wait after a session that failed with ``error`` after ``lasted`` seconds."""
        if lasted > LONGEST_PAUSE:
            self._next, self._has_warned = FIRST_PAUSE, False
        _log.log(
            logging.DEBUG if self._has_warned else logging.WARNING,
            "near cache off until it can listen again: %s",
            error,
        )
        self._has_warned = True
        pause, self._next = self._next, min(2 * self._next, LONGEST_PAUSE)
        return pause


@contextlib.contextmanager
def translating_errors() -> Iterator[None]:
    """Raise errors of redis-py as errors of this package."""
    try:
        yield
    except LIBRARY_ERRORS as error:
        raise translate(error, "listening") from error
