"""The registered nodes of one namespace, and when each sent its last heartbeat."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from edge_redis._core import validation
from edge_redis._core.chunks import split_chunks
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Batch, Operation, command
from edge_redis._core.packing import unpack_strings
from edge_redis._health import node_record, scripts
from edge_redis._health.config import HealthConfig
from edge_redis._health.keys import HealthKeys
from edge_redis._health.scripts import NodeRecord
from edge_redis._health.slices import AT_ONCE, PAGE, SLICE
from edge_redis.errors import UnknownNodeError
from edge_redis.models import EdgeNode, EdgeNodeStatus, NodeHealth, ResourceUsage, from_timestamp

MAX_STALE: Final = 10_000


class Reported(NamedTuple):
    """A node whose heartbeat is to be recorded with its record."""

    node: EdgeNode
    record: NodeRecord


class Registry:
    """The nodes of one shard and their heartbeats, by the server's clock."""

    def __init__(self, keys: HealthKeys, config: HealthConfig) -> None:
        self._keys = keys
        self._config = config
        self._idempotency = IdempotencyKeys()
        self._is_plain = config.clock is None and not config.uses_phi

    async def register(self, node: EdgeNode, heartbeat_timeout_seconds: float | None) -> None:
        """Add a node, or replace its record, with a heartbeat now and its own timeout or none."""
        validation.check_instance("node", node, EdgeNode)
        timeout_ms: float | str = scripts.NO_TIMEOUT
        if heartbeat_timeout_seconds is not None:
            timeout_ms = validation.check_positive("heartbeat_timeout_seconds", heartbeat_timeout_seconds) * 1000
        heartbeat_ms = await self._write(node_record.encode_node(node), timeout_ms)
        node.last_heartbeat = from_timestamp(heartbeat_ms / 1000)

    def heartbeat(
        self, node: EdgeNode | str, status: EdgeNodeStatus | None, resources: ResourceUsage | None
    ) -> Awaitable[bool]:
        """Record a heartbeat now; return whether the node is registered, always true for an EdgeNode."""
        if isinstance(node, EdgeNode):
            return self._heartbeat_of_object(node, status, resources)
        node_id = (
            validation.check_identifier("node id", node) if isinstance(node, str) else node_record.check_node_id(node)
        )
        if status is None and resources is None and self._is_plain:
            return scripts.heartbeat(self._keys, node_id)
        return scripts.heartbeat_report(
            self._keys,
            self._config,
            node_id,
            "" if status is None else node_record.check_status(status),
            b"" if resources is None else node_record.encode_resources(resources),
        )

    async def _heartbeat_of_object(
        self, node: EdgeNode, status: EdgeNodeStatus | None, resources: ResourceUsage | None
    ) -> bool:
        reported = EdgeNode(
            node.id,
            node.name,
            node.location,
            node.status if status is None else EdgeNodeStatus(node_record.check_status(status)),
            node.capabilities,
            node.metadata,
            node.last_heartbeat,
            node.resources if resources is None else resources,
            node.max_functions,
        )
        heartbeat_ms = await self._write(node_record.encode_node(reported))
        node.last_heartbeat = from_timestamp(heartbeat_ms / 1000)
        if status is not None:  # otherwise the object's own was sent, which its owner may have changed meanwhile
            node.status = reported.status
        if resources is not None:
            node.resources = resources
        return True

    def _write(self, record: NodeRecord, timeout_ms: float | str = scripts.KEEP_TIMEOUT) -> Operation[int]:
        return scripts.register(self._keys, self._config, record, timeout_ms)

    async def heartbeat_many(self, nodes: Sequence[Reported | str]) -> dict[str, bool]:
        """Record heartbeats now; return for each id whether the node is registered."""
        found: dict[str, bool] = {}
        for some in split_chunks(nodes, AT_ONCE):
            ids = [node for node in some if isinstance(node, str)]
            reported = [node for node in some if not isinstance(node, str)]
            slices = split_chunks(ids, SLICE)
            operations: list[Operation[Any]] = [
                *(scripts.heartbeats(self._keys, self._config, part) for part in slices),
                *(self._write(each.record) for each in reported),
            ]
            results = await Batch(operations)
            for part, flags in zip(slices, results, strict=False):
                found.update({node_id: flag == ord("1") for node_id, flag in zip(part, flags, strict=True)})
            for each, heartbeat_ms in zip(reported, results[len(slices) :], strict=True):
                each.node.last_heartbeat = from_timestamp(heartbeat_ms / 1000)
                found[each.node.id] = True
        return found

    async def deregister(self, node_id: str) -> bool:
        """Remove a node and its history; return whether it was registered."""
        name = validation.check_identifier("node id", node_id)
        with self._idempotency.acquire() as key:
            return await scripts.deregister(self._keys, self._config, key, name) == 1

    async def get_node(self, node_id: str) -> EdgeNode | None:
        """Return a registered node, or None."""
        found = await self._read([validation.check_identifier("node id", node_id)], "")
        return found[0] if found else None

    async def nodes(self, status: EdgeNodeStatus | None) -> list[EdgeNode]:
        """Return the registered nodes in the order of their ids, those of one status where it is given."""
        word = "" if status is None else node_record.check_status(status)
        found: list[EdgeNode] = []
        for some in split_chunks(await self.ids(), AT_ONCE):
            slices = await Batch([self._read(part, word) for part in split_chunks(some, SLICE)])
            found.extend(node for nodes in slices for node in nodes)
        return found

    def _read(self, ids: Sequence[str], status: str) -> Operation[list[EdgeNode]]:
        return scripts.node_records(self._keys, status, ids, node_record.decode_nodes)

    async def snapshot(self) -> list[NodeHealth]:
        """Return every registered node with its health now, in the order of their ids."""
        found: list[NodeHealth] = []
        for some in split_chunks(await self.ids(), AT_ONCE):
            parts = [
                scripts.snapshot(self._keys, self._config, part, node_record.decode_snapshot)
                for part in split_chunks(some, SLICE)
            ]
            found.extend(health for part in await Batch(parts) for health in part)
        return found

    async def ids(self) -> list[str]:
        """Return every registered id, in order; an id that is registered throughout is never missed.

        Members that cannot be ids were not written by this package, and are left out.
        """
        ids: set[str] = set()
        cursor = b"0"
        while True:
            cursor, packed = await scripts.list_ids(self._keys, cursor, PAGE)
            ids.update(node_record.decode_ids(unpack_strings(packed)))
            if cursor == b"0":
                return sorted(ids)

    async def find_unknown(self, ids: Sequence[str]) -> list[str]:
        """Return those of these ids that are not registered."""
        unknown: list[str] = []
        for some in split_chunks(ids, AT_ONCE):
            parts = [
                command(list[object], "ZMSCORE", self._keys.heartbeats, *part) for part in split_chunks(some, SLICE)
            ]
            known = (score is not None for part in await Batch(parts) for score in part)
            unknown += [node_id for node_id, is_known in zip(some, known, strict=True) if not is_known]
        return unknown

    def stale(self, seconds: float | None, limit: int) -> Operation[list[tuple[float, str]]]:
        """Return heartbeat and id of nodes without one for ``seconds`` or their timeout, the oldest heartbeat first."""
        age_ms: float | str = "" if seconds is None else validation.check_non_negative("seconds", seconds) * 1000
        most = validation.check_integer("limit", limit, least=1, most=MAX_STALE)
        return scripts.list_stale(self._keys, self._config, age_ms, most, node_record.decode_heartbeats)

    async def remove_stale(self, older_than_seconds: float) -> int:
        """Remove the nodes without a heartbeat for this long, except in maintenance; return how many."""
        age_ms = validation.check_positive("older_than_seconds", older_than_seconds) * 1000
        removed = kept = 0
        while True:
            with self._idempotency.acquire() as key:
                gone, stayed = await scripts.remove_stale(self._keys, self._config, key, age_ms, SLICE, kept)
            removed += gone
            kept += stayed
            if gone + stayed < SLICE:
                return removed

    def count(self) -> Operation[int]:
        """Return how many nodes are registered."""
        return command(int, "ZCARD", self._keys.heartbeats)


def prepare_heartbeats(nodes: Iterable[EdgeNode | str]) -> list[Reported | str]:
    """Return the nodes whose heartbeats are to be recorded; all are checked before anything is written."""
    return [
        node if isinstance(node, str) else Reported(node, node_record.encode_node(node))
        for node in node_record.check_nodes(nodes)
    ]


def unknown_error(ids: Sequence[str]) -> UnknownNodeError:
    """Return the error for ids that are not registered."""
    more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
    return UnknownNodeError(f"no node is registered as {ids[0]!r}{more}; register it, or give the EdgeNode")
