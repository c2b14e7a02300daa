"""A node's record in Redis: plain text for scripts, and the codec's bytes for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, cast

from edge_redis._core import codec, validation
from edge_redis._core.packing import unpack_rows
from edge_redis._health.scripts import Claim, NodeRecord
from edge_redis.errors import CorruptDataError, InvalidArgumentError
from edge_redis.models import EdgeNode, EdgeNodeStatus, NodeHealth, ResourceUsage, from_timestamp, timestamp_ms

MAX_LOCATION_BYTES: Final = 1024
MAX_PROFILE_BYTES: Final = 1 << 20
_RECORD_COLUMNS: Final = 6
_SNAPSHOT_COLUMNS: Final = 10


def check_status(status: object) -> str:
    """Return the word of a status, which is an EdgeNodeStatus or its word."""
    if not isinstance(status, str):
        raise validation.type_error("status", status, "an EdgeNodeStatus")
    try:
        return EdgeNodeStatus(status).value
    except ValueError:
        raise validation.value_error("status", status, f"must be one of {', '.join(EdgeNodeStatus)}") from None


def encode_resources(resources: object) -> bytes:
    """Return a ResourceUsage as bytes."""
    usage: ResourceUsage = validation.check_instance("resources", resources, ResourceUsage)
    numbers = [
        validation.check_non_negative(f"resources.{name}", getattr(usage, name))
        for name in ("cpu_percent", "memory_mb", "memory_max_mb", "disk_mb")
    ]
    return codec.encode(
        [*numbers, validation.check_integer("resources.active_functions", usage.active_functions, least=0)]
    )


def encode_profile(node: EdgeNode) -> bytes:
    """Return name, capabilities, metadata and max_functions as bytes, which no script reads."""
    capabilities = validation.check_instance("capabilities", node.capabilities, list)
    return codec.encode(
        [
            validation.check_text("name", node.name),
            [validation.check_text("capability", capability) for capability in capabilities],
            validation.check_instance("metadata", node.metadata, dict),
            validation.check_integer("max_functions", node.max_functions, least=0),
        ],
        limit=MAX_PROFILE_BYTES,
    )


def check_location(node: EdgeNode) -> str:
    """Return a node's location."""
    if node.location == "" and isinstance(node.location, str):
        return ""
    return validation.check_identifier("location", node.location, limit=MAX_LOCATION_BYTES)


def check_heartbeat(node: EdgeNode) -> int:
    """Return a node's last heartbeat by its own clock, in Unix milliseconds."""
    return timestamp_ms(validation.check_instance("last_heartbeat", node.last_heartbeat, datetime))


def check_node_id(node: object) -> str:
    """Return the id of a node, which is an EdgeNode or an id."""
    if isinstance(node, EdgeNode):
        node = node.id
    elif not isinstance(node, str):
        raise validation.type_error("node", node, "an EdgeNode or the id of one")
    return validation.check_identifier("node id", node)


def decode_ids(members: Iterable[bytes]) -> list[str]:
    """Return the ids among the members of a sorted set; members that cannot be ids are left out."""
    found = []
    for member in members:
        with suppress(UnicodeDecodeError, InvalidArgumentError):
            found.append(validation.check_identifier("node id", member.decode()))
    return found


def decode_heartbeats(rows: Sequence[bytes]) -> list[tuple[float, str]]:
    """Return heartbeat and id of nodes, as ``list_stale.lua`` replies; members that cannot be ids are left out."""
    return [
        (float(heartbeat), node_id)
        for member, heartbeat in zip(rows[::2], rows[1::2], strict=True)
        for node_id in decode_ids([member])
    ]


def check_nodes(nodes: object) -> list[EdgeNode | str]:
    """Return EdgeNodes and ids as a list, each with a valid id."""
    if isinstance(nodes, (str, bytes)) or not isinstance(nodes, Iterable):
        raise validation.type_error("nodes", nodes, "an iterable of EdgeNodes and ids")
    found = list(nodes)
    for node in found:
        check_node_id(node)
    return found


def make_claim(node: EdgeNode | str) -> Claim:
    """Return a node as ``check_nodes`` takes it: its id, and of an EdgeNode also heartbeat, status and location."""
    if not isinstance(node, EdgeNode):
        return Claim(check_node_id(node))
    return Claim(check_node_id(node), f"{check_heartbeat(node)} {check_status(node.status)} {check_location(node)}")


def encode_node(node: EdgeNode) -> NodeRecord:
    """Return the record of a node, as ``register.lua`` writes it."""
    return NodeRecord(
        check_node_id(node),
        check_heartbeat(node),
        check_status(node.status),
        check_location(node),
        encode_profile(node),
        encode_resources(node.resources),
    )


def decode_nodes(packed: bytes) -> list[EdgeNode]:
    """Return the nodes of a reply of ``node_records.lua``."""
    return [decode_node(row) for row in unpack_rows(packed, _RECORD_COLUMNS)]


def decode_snapshot(packed: bytes) -> list[NodeHealth]:
    """Return the health in a reply of ``snapshot.lua``; without ``node`` where a record does not decode."""
    return [_decode_health(row) for row in unpack_rows(packed, _SNAPSHOT_COLUMNS)]


def _decode_health(row: Sequence[bytes]) -> NodeHealth:
    name, age_ms, timeout_ms, is_maintained, is_flapping, *record = row
    status = record[1].decode("utf-8", "replace")
    age, timeout = float(age_ms) / 1000, float(timeout_ms) / 1000
    node = None
    with suppress(CorruptDataError):
        node = decode_node((name, *record))
    return NodeHealth(
        node_id=name.decode("utf-8", "replace"),
        healthy=age < timeout and status != EdgeNodeStatus.OFFLINE,
        status=status,
        heartbeat_age_seconds=age,
        timeout_seconds=timeout,
        in_maintenance=is_maintained == b"1" or status == EdgeNodeStatus.MAINTENANCE,
        flapping=is_flapping == b"1",
        node=node,
    )


def decode_node(row: Sequence[bytes]) -> EdgeNode:
    """Return the node of id, heartbeat, status, location, profile and resources, as ``node_records.lua`` replies.

    Raises:
        CorruptDataError: they are not what ``register`` writes.

    """
    name = row[0].decode("utf-8", "replace")
    try:
        label, capabilities, metadata, max_functions = codec.decode(row[4])
        return EdgeNode(
            id=name,
            name=label,
            location=row[3].decode(),
            status=EdgeNodeStatus(row[2].decode()),
            capabilities=cast("list[str]", validation.check_instance("capabilities", capabilities, list)),
            metadata=cast("dict[str, Any]", validation.check_instance("metadata", metadata, dict)),
            last_heartbeat=from_timestamp(float(row[1]) / 1000),
            resources=ResourceUsage(*codec.decode(row[5])),
            max_functions=max_functions,
        )
    except (CorruptDataError, ValueError, TypeError, OverflowError, OSError) as error:
        msg = f"the record of node {name!r} does not decode ({error}); register it again or deregister it"
        raise CorruptDataError(msg) from error
