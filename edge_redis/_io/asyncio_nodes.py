"""The nodes of a cluster, as an asyncio client knows them, with a connection to each that tasks share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio.cluster import ClusterNode

from edge_redis._io.asyncio_pool import SHARED, enter_loop, is_closed_by_server
from edge_redis._io.asyncio_shared import SharedConnection
from edge_redis._io.asyncio_sources import NodeSource
from edge_redis._io.call_pool import WAIT_SECONDS
from edge_redis._io.command_sender import Args, Written
from edge_redis._io.error_mapping import LIBRARY_ERRORS, pool_full_error
from edge_redis._io.handshake import UNREADABLE, connect_async, unreadable
from edge_redis._io.replica_views import ReplicaViews
from edge_redis._io.tasks import finish


def find_nodes(client: Any) -> Nodes:
    """Return the nodes of a cluster client, in the event loop to which the client belongs.

    Raises:
        ClientConfigurationError: that is not the running one.

    """
    enter_loop(client)
    known = client.__dict__.get(SHARED)
    if known is None:
        options = client.connection_kwargs
        known = client.__dict__[SHARED] = Nodes(client.nodes_manager, options["max_connections"])
    nodes: Nodes = known
    return nodes


async def execute_command(target: Any, args: Args) -> Any:
    """Send a command by redis-py, on a cluster client or on one of its nodes, and return the parsed reply."""
    with _explaining_errors():
        return await target.execute_command(*args)


@contextmanager
def _explaining_errors() -> Iterator[None]:
    """Raise an error of redis-py where its code fails by another."""
    try:
        yield
    except AttributeError as error:  # a slot map reload has closed the connection
        raise redis_errors.ConnectionError("the connection was closed under this command") from error
    except UNREADABLE as error:
        raise unreadable(error) from error


class Nodes:
    """What redis-py's ``NodesManager`` knows of the nodes, and the connections to them."""

    def __init__(self, manager: Any, max_connections: int) -> None:
        self.loop = asyncio.get_running_loop()
        self._manager = manager
        self._slot_map: Any = None
        """The slot map whose nodes have connections here."""
        self._shared: dict[str, tuple[Any, SharedConnection]] = {}
        self._reloading = asyncio.Lock()
        self._most_owned = max(1, max_connections // 2)
        self._owned = asyncio.Semaphore(self._most_owned)

    @property
    def slot_map(self) -> Any:
        """The slot map, which is another object when it was read anew."""
        return self._manager.slots_cache

    def find_master(self, slot: int | None) -> Any:
        """Return the master of a slot; for None, any."""
        if slot is None:
            return self._manager.default_node
        nodes = self._manager.slots_cache.get(slot)
        if not nodes:
            raise redis_errors.ClusterDownError(f"no node is known to serve slot {slot}")
        return nodes[0]

    def find_replica(self, views: ReplicaViews, slot: int | None, args: Args) -> Any:
        """Return the replica of a slot to ask; None where the master is to be asked."""
        return views.find_replica(args, None if slot is None else self._manager.slots_cache.get(slot))

    def find_shared(self, node: Any) -> SharedConnection:
        """Return the connection to a node that tasks share."""
        if self._manager.slots_cache is not self._slot_map:
            self._close_removed()
        known, shared = self._shared.get(node.name, (None, None))
        if shared is None or known is not node:
            shared = SharedConnection(NodeSource(node))
            self._shared[node.name] = node, shared
        return shared

    def _close_removed(self) -> None:
        """Close the connections to nodes that the client has left."""
        current = self._manager.nodes_cache
        removed = [name for name, (node, _) in self._shared.items() if current.get(name) is not node]
        for name in removed:
            self._shared.pop(name)[1].close("the node has left the cluster")
        self._slot_map = self._manager.slots_cache

    async def call_alone(self, node: Any, args: Args) -> Any:
        """Send a command to a node over a connection of its own, and return the parsed reply."""
        async with self._taking_place():
            return await execute_command(node, args)

    async def write_alone(self, node: Any, args: Args, waits: Sequence[Args], *, is_asking: bool) -> Written:
        """Send a write to a node over a connection of its own, and behind it ``waits``, which would hold up others."""
        async with self._taking_place():
            with _explaining_errors():
                return await _write_durably(node, args, waits, is_asking=is_asking)

    @asynccontextmanager
    async def _taking_place(self) -> AsyncIterator[None]:
        """Take one of the places of the calls that have connections of their own; wait while all are taken."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._owned.acquire()
        except TimeoutError:
            raise pool_full_error(self._most_owned, WAIT_SECONDS) from None
        try:
            yield
        finally:
            self._owned.release()

    async def follow(self, error: Exception, slot_map: Any) -> Any:
        """Do what an error asks for: note where a slot is, or read the slot map anew unless it is another than this.

        Returns:
            The node to ask next, which is importing the slot, or None for the slot's master.

        """
        if isinstance(error, redis_errors.MovedError):  # to redis-py an AskError
            await self._move_slot(error)
        elif isinstance(error, redis_errors.AskError):
            return self._find_importing(error)
        elif not isinstance(error, redis_errors.TryAgainError):
            await self._reload(error, slot_map)
        return None

    async def _move_slot(self, error: redis_errors.MovedError) -> None:
        manager = self._manager
        if error.slot_id not in manager.slots_cache:
            await self._reload(error, manager.slots_cache)
        elif hasattr(manager, "move_slot"):
            await manager.move_slot(error)
        else:  # older releases of redis-py
            manager._moved_exception = error  # noqa: SLF001
            manager.get_node_from_slot(error.slot_id)

    def _find_importing(self, error: redis_errors.AskError) -> Any:
        """Return the node to which a slot is moving; a new one, without slots, is in no slot map."""
        manager = self._manager
        node = manager.get_node(error.host, error.port)
        if node is None:
            node = ClusterNode(error.host, error.port, "primary", **manager.connection_kwargs)
            manager.set_nodes(manager.nodes_cache, {node.name: node})
        return node

    async def _reload(self, error: Exception, slot_map: Any) -> None:
        async with self._reloading:
            if self.slot_map is not slot_map:
                return
            try:
                await self._manager.initialize()
            except LIBRARY_ERRORS:
                raise error from None


async def _write_durably(node: Any, args: Args, waits: Sequence[Args], *, is_asking: bool) -> Written:
    connection, is_clean = node.acquire_connection(), False
    commands = [("ASKING",), args] if is_asking else [args]
    try:
        if is_closed_by_server(connection):
            await connection.disconnect(nowait=True)
        await connect_async(connection)
        await connection.send_packed_command(connection.pack_commands([*commands, *waits]))
        replies = [await node.parse_response(connection, each[0]) for each in commands]
        written = Written(replies[-1], [await _read_or_return_error(node, connection, each[0]) for each in waits])
        is_clean = True
    finally:
        if not is_clean:  # also where the write was refused: WAIT would wait for replicas, and for no write
            await finish(connection.disconnect(nowait=True))
        node._free.append(connection)  # noqa: SLF001 -- older releases of redis-py have no method for this
    return written


async def _read_or_return_error(node: Any, connection: Any, name: str) -> Any:
    try:
        return await node.parse_response(connection, name)
    except redis_errors.ResponseError as error:
        return error
