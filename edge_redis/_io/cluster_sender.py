"""Sends commands to the nodes of a cluster on a blocking client, each on a connection that the call owns.

redis-py's cluster client finds the nodes and keeps the slot map. Sending, redirections and retries
are done here for two reasons: an interrupted call of that client returns its connection to the pool
with the reply unread, and its pipelines refuse EVALSHA.
"""

from __future__ import annotations

import time
from typing import Any

import redis
from redis import exceptions as redis_errors
from redis.cluster import ClusterNode

from edge_redis._io.blocking_sender import call_on, write
from edge_redis._io.call_pool import find_call_pool
from edge_redis._io.command_sender import Args
from edge_redis._io.connect_clients import reads_replicas
from edge_redis._io.error_mapping import LIBRARY_ERRORS
from edge_redis._io.redirections import Attempts, choose_replica, find_key


class ClusterSender:
    """Sends commands on a ``redis.RedisCluster``."""

    def __init__(self, client: redis.RedisCluster) -> None:
        self._client: Any = client
        self._reads_replicas = reads_replicas(client)

    def send(self, args: Args) -> Any:
        """Send one command to the master, or a replica, of its key's slot and return its reply."""
        attempts, importing = Attempts(), None
        while True:
            try:
                node = importing or self._find_node(args, is_first=attempts.is_first)
                return self._send_to(node, args, is_asking=importing is not None)
            except LIBRARY_ERRORS as error:
                pause = attempts.next_pause(error)
                importing = self._follow(error)
            time.sleep(pause)

    def _find_node(self, args: Args, *, is_first: bool) -> Any:
        key, manager = find_key(args), self._client.nodes_manager
        if key is None:
            return self._client.get_default_node()
        slot = self._client.keyslot(key)
        if self._reads_replicas and is_first and (nodes := manager.slots_cache.get(slot)):
            return choose_replica(nodes)
        return manager.get_node_from_slot(slot)

    def _send_to(self, node: Any, args: Args, *, is_asking: bool) -> Any:
        client = self._client.get_redis_connection(node)

        def exchange(connection: Any) -> Any:
            if is_asking:
                write(client, connection, [("ASKING",)])("ASKING")
            return write(client, connection, [args])(args[0])

        return call_on(find_call_pool(client.connection_pool), exchange)

    def _follow(self, error: Exception) -> Any:
        """Do what an error asks for; return the node to ask next, which is importing the slot, or None."""
        if isinstance(error, redis_errors.MovedError):  # to redis-py an AskError
            self._move_slot(error)
        elif isinstance(error, redis_errors.AskError):
            return self._find_importing(error)
        elif not isinstance(error, redis_errors.TryAgainError):
            self._reload_slots(error)
        return None

    def _move_slot(self, error: redis_errors.MovedError) -> None:
        manager = self._client.nodes_manager
        move = getattr(manager, "move_slot", None) or manager.update_moved_exception
        move(error)

    def _find_importing(self, error: redis_errors.AskError) -> Any:
        """Return the node to which a slot is moving; a new one, without slots, is in no slot map."""
        found = self._client.get_node(error.host, error.port)
        if found is None:
            found = ClusterNode(error.host, error.port, "primary")  # type: ignore[no-untyped-call]
            self._client.nodes_manager.nodes_cache[found.name] = found
        return found

    def _reload_slots(self, error: Exception) -> None:
        try:
            self._client.nodes_manager.initialize()
        except LIBRARY_ERRORS:
            raise error from None
