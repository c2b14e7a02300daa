"""Sends commands to the nodes of a cluster on a blocking client, each on a connection that the call owns.

redis-py's cluster client finds the nodes and keeps the slot map. Sending, redirections and retries
are done here for two reasons: an interrupted call of that client returns its connection to the pool
with the reply unread, and its pipelines refuse EVALSHA.
"""

from __future__ import annotations

import time
from typing import Any, Final

import redis
from redis import exceptions as redis_errors

from edge_redis._io.blocking_sender import call_on, write
from edge_redis._io.call_pool import find_call_pool
from edge_redis._io.command_sender import Args
from edge_redis._io.error_mapping import is_pool_full

_ATTEMPTS: Final = 6
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.8


class ClusterSender:
    """Sends commands on a ``redis.RedisCluster``."""

    def __init__(self, client: redis.RedisCluster) -> None:
        self._client: Any = client

    def send(self, args: Args) -> Any:
        """Send one command to the master of its key's slot and return its reply."""
        pause, node = _FIRST_PAUSE, None
        for attempt in range(_ATTEMPTS):
            try:
                return self._send_to(node or self._master_of(args), args, is_asking=node is not None)
            except redis_errors.MovedError as error:  # before AskError, its base class in redis-py
                failure: Exception = error
                self._move_slot(error)
            except redis_errors.AskError as error:
                failure = error
                node = self._client.get_node(error.host, error.port)
                continue
            except (redis_errors.ConnectionError, redis_errors.TimeoutError, redis_errors.ClusterDownError) as error:
                failure = error
                if is_pool_full(error) or isinstance(error, redis_errors.AuthenticationError):
                    raise
                self._reload_slots(error)
                time.sleep(pause)
            except redis_errors.TryAgainError as error:
                failure = error
                time.sleep(pause)
            node, pause = None, min(2 * pause, _LONGEST_PAUSE)
            if attempt == _ATTEMPTS - 1:
                raise failure
        raise redis_errors.ClusterError("too many redirections")

    def _master_of(self, args: Args) -> Any:
        key = args[3] if args[0] in {"EVALSHA", "EVAL"} else args[1] if len(args) > 1 else None
        if key is None:
            return self._client.get_default_node()
        return self._client.nodes_manager.get_node_from_slot(self._client.keyslot(key))

    def _send_to(self, node: Any, args: Args, *, is_asking: bool) -> Any:
        client = self._client.get_redis_connection(node)

        def exchange(connection: Any) -> Any:
            if is_asking:
                write(client, connection, [("ASKING",)])("ASKING")
            return write(client, connection, [args])(args[0])

        return call_on(find_call_pool(client.connection_pool), exchange)

    def _move_slot(self, error: redis_errors.MovedError) -> None:
        manager = self._client.nodes_manager
        move = getattr(manager, "move_slot", None) or manager.update_moved_exception
        move(error)

    def _reload_slots(self, error: Exception) -> None:
        try:
            self._client.nodes_manager.initialize()
        except (redis_errors.RedisClusterException, redis_errors.RedisError, OSError):
            raise error from None
