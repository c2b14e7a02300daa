"""Connections of the blocking and the asyncio listener, and their pauses after failures.

A listener receives messages in the background, on connections of its own: the near cache's of every master, a worker's
hints of one node, since a cluster passes published messages on to all nodes. A *session* has these connections. When
one fails, all are closed, the listener's
``on_disconnected`` is called, and a new session begins after a pause, which grows from 50 ms to 2 s.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass
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


class SessionOwner(Protocol):
    """Gets notified when connections are made and lost: the near cache, or a worker that waits for hints."""

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


def find_pools(client: Any, *, of_any_node: bool) -> list[Any]:
    """Return the pools of all masters, or of any one of them."""
    pools = find_master_pools(client)
    return [random.choice(pools)] if of_any_node else pools  # noqa: S311 -- spreads the connections of many clients


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """How a listener goes on after a failure."""

    first_pause: float = FIRST_PAUSE
    longest_pause: float = LONGEST_PAUSE
    is_spread: bool = False
    """Whether each pause is a random part of what it could be, so that many listeners do not come back together."""
    consequence: str = "near cache off until it can listen again"


DEFAULT_RECONNECTING: Final = Reconnecting()


class ReconnectPause:
    """The pause before the next session; logs the first of several failures as a warning."""

    def __init__(self, options: Reconnecting) -> None:
        self._options = options
        self._next = options.first_pause
        self._has_warned = False

    def after(self, error: Exception, lasted: float) -> float:
        """Return the seconds to wait after a session that failed with ``error`` after ``lasted`` seconds."""
        options = self._options
        if lasted > options.longest_pause:
            self._next, self._has_warned = options.first_pause, False
        is_outage = options.is_spread and isinstance(error, StoreUnavailableError)  # which the rounds of work log
        level = logging.DEBUG if self._has_warned or is_outage else logging.WARNING
        _log.log(level, "%s: %s", options.consequence, error)
        self._has_warned = self._has_warned or level == logging.WARNING
        pause, self._next = self._next, min(2 * self._next, options.longest_pause)
        return pause * random.random() if options.is_spread else pause  # noqa: S311


@contextlib.contextmanager
def translating_errors() -> Iterator[None]:
    """Raise errors of redis-py as errors of this package."""
    try:
        yield
    except LIBRARY_ERRORS as error:
        raise translate(error, "listening") from error
