"""The nodes of a namespace and their verdicts, read without recording a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

HEADER: Final = ("node", "verdict", "heartbeat", "timeout", "status", "flapping", "name", "location")
_MAX_TRANSITIONS: Final = 1000


def read_nodes(health: Any) -> list[dict[str, Any]]:
    """Return every registered node with its verdict, in the order of their ids."""
    from edge_redis._site.state_rows import decide_verdict

    latest = {change.node_id: change for change in health.transitions(_MAX_TRANSITIONS)}
    now = datetime.now(UTC)
    return [_describe_node(found, decide_verdict(found, latest.get(found.node_id), now)) for found in health.snapshot()]


def _describe_node(found: Any, verdict: str) -> dict[str, Any]:
    node = found.node
    return {
        "id": found.node_id,
        "name": node.name if node else "",
        "location": node.location if node else "",
        "verdict": verdict,
        "status": str(found.status),
        "heartbeat_age_seconds": round(found.heartbeat_age_seconds, 3),
        "timeout_seconds": found.timeout_seconds,
        "in_maintenance": found.in_maintenance,
        "flapping": found.flapping,
    }


def node_row(node: Mapping[str, Any]) -> Sequence[object]:
    """Return a node's cells under ``HEADER``."""
    from edge_redis.cli import output

    return (
        node["id"],
        node["verdict"],
        output.duration(node["heartbeat_age_seconds"]) + " ago",
        output.duration(node["timeout_seconds"]),
        node["status"],
        "yes" if node["flapping"] else "no",
        node["name"],
        node["location"],
    )


def unregistered(node: str) -> str:
    """Return what an error says of a node that is not registered."""
    return f"no node {node!r} is registered in this namespace: `edge-redis nodes` lists them"


def count_unhealthy(nodes: Sequence[Mapping[str, Any]]) -> int:
    """Return how many nodes are unhealthy."""
    return sum(node["verdict"] == "unhealthy" for node in nodes)
