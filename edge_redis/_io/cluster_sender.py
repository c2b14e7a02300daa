"""Sends commands to the nodes of a cluster on a blocking client, each on a connection that the call owns.

redis-py's cluster client finds the nodes and keeps the slot map. Sending, redirections and retries
are done here for two reasons: an interrupted call of that client returns its connection to the pool
with the reply unread, and its pipelines refuse EVALSHA.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import redis
from redis import exceptions as redis_errors
from redis.cluster import ClusterNode

from edge_redis._io.blocking_sender import call_on, read_or_return_error, write
from edge_redis._io.call_pool import find_call_pool
from edge_redis._io.command_sender import Args, Written
from edge_redis._io.connect_clients import find_replica_views
from edge_redis._io.error_mapping import LIBRARY_ERRORS
from edge_redis._io.redirections import REDIRECTIONS, Attempts, find_key, is_repeatable
from edge_redis._io.replica_views import VIEW_SECONDS, ReplicaViews


class ClusterSender:
    """Sends commands on a ``redis.RedisCluster``."""

    def __init__(self, client: redis.RedisCluster) -> None:
        self._client: Any = client
        self._views = find_replica_views(client)

    def send(self, args: Args) -> Any:
        """Send one command to the master, or a replica, of its key's slot and return its reply."""
        if self._views is not None and (replica := self._views.find_replica(args, self._find_nodes(args))) is not None:
            try:
                return self._send_to(replica, args, most_seconds=VIEW_SECONDS)
            except LIBRARY_ERRORS as error:
                if not is_repeatable(error):
                    raise
                self._leave_replica(self._views, replica, error)
        return self._send_to_master(args)

    def send_durably(self, args: Args, waits: Sequence[Args]) -> Written:
        """Send one command, with commands behind it on the connection that wait until its write is safe.

        Where the write is redirected, refused or cut off, nothing waits; it is repeated with its ``waits``.
        """
        written: Written = self._send_to_master(args, waits)
        return written

    def _send_to_master(self, args: Args, waits: Sequence[Args] = ()) -> Any:
        attempts, importing = Attempts(self._client), None
        while True:
            try:
                node = importing or self._find_master(args)
                return self._send_to(node, args, waits, is_asking=importing is not None)
            except LIBRARY_ERRORS as error:
                pause = attempts.next_pause(error)
                importing = self._follow(error)
            time.sleep(pause)

    def _find_nodes(self, args: Args) -> Any:
        """Return the nodes of the slot of a command's key, the master first; None where none are known."""
        key = find_key(args)
        return None if key is None else self._client.nodes_manager.slots_cache.get(self._client.keyslot(key))

    def _find_master(self, args: Args) -> Any:
        key = find_key(args)
        if key is None:
            return self._client.get_default_node()
        return self._client.nodes_manager.get_node_from_slot(self._client.keyslot(key))

    def _leave_replica(self, views: ReplicaViews, replica: Any, error: Exception) -> None:
        if not isinstance(error, REDIRECTIONS):
            views.suspend(replica)
        if not isinstance(error, redis_errors.TimeoutError):  # the slot map might be read from the node that hangs
            self._follow(error)

    def _send_to(
        self,
        node: Any,
        args: Args,
        waits: Sequence[Args] = (),
        *,
        is_asking: bool = False,
        most_seconds: float | None = None,
    ) -> Any:
        client = self._client.get_redis_connection(node)

        def exchange(connection: Any) -> Any:
            if is_asking:
                write(client, connection, [("ASKING",)])("ASKING")
            if waits:
                return _write_durably(client, connection, args, waits)
            return write(client, connection, [args])(args[0])

        return call_on(find_call_pool(client.connection_pool, most_seconds), exchange)

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


def _write_durably(client: Any, connection: Any, args: Args, waits: Sequence[Args]) -> Written:
    read = write(client, connection, [args, *waits])
    try:
        reply = read(args[0])
    except redis_errors.ResponseError:
        connection.disconnect()  # WAIT would wait for replicas, and for no write
        raise
    return Written(reply, [read_or_return_error(read, wait) for wait in waits])
