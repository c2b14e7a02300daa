"""Sends commands to the nodes of a cluster on an asyncio client: on one connection to each, which tasks share.

redis-py's cluster client finds the nodes and keeps the slot map. Redirections and retries are those of the
blocking sender (``cluster_sender``): redis-py's own close the connections of all nodes at every fifth MOVED.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions as redis_errors

from edge_redis._io.asyncio_nodes import Nodes, execute_command, find_nodes
from edge_redis._io.asyncio_pool import enter_loop
from edge_redis._io.asyncio_shared import LARGE_BYTES, key_of
from edge_redis._io.asyncio_sources import can_share
from edge_redis._io.command_sender import Args, FinalError, Written, parse_reply
from edge_redis._io.connect_clients import find_replica_views
from edge_redis._io.error_mapping import LIBRARY_ERRORS
from edge_redis._io.redirections import REDIRECTIONS, Attempts, find_key, is_repeatable
from edge_redis._io.replica_views import VIEW_SECONDS, ReplicaViews
from edge_redis._io.resp import pack

_ASKING: Final = pack(("ASKING",))


class AsyncClusterSender:
    """Sends commands on a ``redis.asyncio.RedisCluster``."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._known: Nodes | None = None
        self._views = find_replica_views(client)
        options = client.connection_kwargs
        self._can_share = can_share(options.get("connection_class")) and options["max_connections"] > 1

    async def send(self, args: Args) -> Any:
        """Send one command to the master, or a replica, of its key's slot and return its reply."""
        nodes = self._find_nodes()
        if nodes is None:
            return await self._send_by_library(args)
        if self._views is not None:
            if self._client._initialize:  # noqa: SLF001 -- as redis-py does before each command
                await self._client.initialize()
            replica = nodes.find_replica(self._views, self._find_slot(args), args)
            if replica is not None:
                try:
                    return await self._ask_replica(nodes, replica, args)
                except LIBRARY_ERRORS as error:
                    if not is_repeatable(error):
                        raise
                    await self._leave_replica(self._views, nodes, replica, error)
        return await self._send_to_master(nodes, args)

    async def send_durably(self, args: Args, waits: Sequence[Args]) -> Written:
        """Send one command, with commands behind it on a connection of their own that wait until its write is safe.

        Where the write is redirected, refused or cut off, nothing waits; it is repeated with its ``waits``.
        """
        written: Written = await self._send_to_master(find_nodes(self._client), args, waits)
        return written

    async def _send_to_master(self, nodes: Nodes, args: Args, waits: Sequence[Args] = ()) -> Any:
        client, slot = self._client, self._find_slot(args)
        attempts, importing = Attempts(client), None
        while True:
            if client._initialize:  # noqa: SLF001 -- see send
                await client.initialize()
            slot_map = nodes.slot_map
            try:
                node = importing or nodes.find_master(slot)
                if waits:
                    return await nodes.write_alone(node, args, waits, is_asking=importing is not None)
                if importing is not None:
                    return await self._send_asking(nodes, importing, args)
                return await self._send_to(nodes, node, args)
            except LIBRARY_ERRORS as error:
                pause = attempts.next_pause(error)
                importing = await nodes.follow(error, slot_map)
            await asyncio.sleep(pause)

    def _find_slot(self, args: Args) -> int | None:
        key = find_key(args)
        return None if key is None else self._client.keyslot(key)

    async def _ask_replica(self, nodes: Nodes, replica: Any, args: Args) -> Any:
        try:
            async with asyncio.timeout(VIEW_SECONDS):
                return await self._send_to(nodes, replica, args)
        except TimeoutError:
            raise redis_errors.TimeoutError(f"the replica has not answered within {VIEW_SECONDS} s") from None

    async def _leave_replica(self, views: ReplicaViews, nodes: Nodes, replica: Any, error: Exception) -> None:
        if not isinstance(error, REDIRECTIONS):
            views.suspend(replica)
        if not isinstance(error, redis_errors.TimeoutError):  # the slot map might be read from the node that hangs
            await nodes.follow(error, nodes.slot_map)

    def _find_nodes(self) -> Nodes | None:
        """Return the nodes; None where tasks cannot share connections to them."""
        if not self._can_share or "execute_command" in vars(self._client):  # patched by a test or a tracer
            return None
        known = self._known
        if known is None or known.loop is not asyncio.get_running_loop():
            known = self._known = find_nodes(self._client)
        return known

    async def _send_to(self, nodes: Nodes, node: Any, args: Args) -> Any:
        shared, key, data = nodes.find_shared(node), key_of(args), pack(args)
        if len(data) > LARGE_BYTES or key in shared.large:
            reply = await nodes.call_alone(node, args)
            shared.note_size(key, reply)
            return reply
        return self._parse(args, await shared.request(data, tag=key))

    async def _send_asking(self, nodes: Nodes, node: Any, args: Args) -> Any:
        """Send a command to a node to which its slot is moving: no other may come between it and ASKING."""
        replies = await nodes.find_shared(node).request(_ASKING + pack(args), 2)
        return self._parse(args, replies if isinstance(replies, Exception) else replies[1])

    def _parse(self, args: Args, reply: Any) -> Any:
        if isinstance(reply, FinalError):
            raise reply.error
        if isinstance(reply, Exception):
            raise reply
        return parse_reply(self._client, args[0], reply)

    async def _send_by_library(self, args: Args) -> Any:
        enter_loop(self._client)
        return await execute_command(self._client, args)
