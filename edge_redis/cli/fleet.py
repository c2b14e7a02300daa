"""The nodes of a namespace and their verdicts, read without recording a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

HEADER: Final = ("node", "verdict", "heartbeat", "timeout", "status", "flapping", "name", "location")


def read_nodes(health: Any) -> list[dict[str, Any]]:
    """Return every registered node with its verdict, in the order of their ids."""
    return [_describe_node(health, each) for each in health.snapshot()]


def _describe_node(health: Any, found: Any) -> dict[str, Any]:
    node = found.node
    return {
        "id": found.node_id,
        "name": node.name if node else "",
        "location": node.location if node else "",
        "verdict": _verdict(health, found),
        "status": str(found.status),
        "heartbeat_age_seconds": round(found.heartbeat_age_seconds, 3),
        "timeout_seconds": found.timeout_seconds,
        "in_maintenance": found.in_maintenance,
        "flapping": found.flapping,
    }


def _verdict(health: Any, found: Any) -> str:
    """Return the verdict: unhealthy also when the latest check says so and no heartbeat has followed it."""
    if found.in_maintenance:
        return "maintenance"
    if not found.healthy:
        return "unhealthy"
    latest = health.get_history(found.node_id, 1)
    if latest and not latest[0].healthy:
        heartbeat_at = datetime.now(UTC) - timedelta(seconds=found.heartbeat_age_seconds)
        if latest[0].checked_at > heartbeat_at:
            return "unhealthy"
    return "healthy"


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


def count_unhealthy(nodes: Sequence[Mapping[str, Any]]) -> int:
    """Return how many nodes are unhealthy."""
    return sum(node["verdict"] == "unhealthy" for node in nodes)
