"""The rows of a site's state, made of the results of the services. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from edge_redis._core.codec import is_same_value
from edge_redis._site.function_state import FunctionState, Latencies
from edge_redis._site.node_state import NodeState, Spell, Verdict
from edge_redis._site.scope_state import FieldComparison
from edge_redis._site.state import Event
from edge_redis.models import InvocationRecord, NodeHealth, Transition
from edge_redis.types import MetricsSummary


def decide_verdict(found: NodeHealth, latest: Transition | None, now: datetime) -> Verdict:
    """Return the verdict on a node.

    A node is unhealthy without its heartbeat, and also where its ``latest`` transition says so and no heartbeat
    has followed: a HealthWatch may know more than the age of the heartbeat. ``now`` is used where the node's record
    does not decode.
    """
    if found.in_maintenance:
        return "maintenance"
    if not found.healthy:
        return "unhealthy"
    if latest is not None and latest.state == "unhealthy":
        heartbeat_at = found.node.last_heartbeat if found.node else now - timedelta(seconds=found.heartbeat_age_seconds)
        if latest.at > heartbeat_at:
            return "unhealthy"
    return "healthy"


def to_node_state(found: NodeHealth, latest: Transition | None, now: datetime) -> NodeState:
    """Return the state of a node."""
    node = found.node
    age = timedelta(seconds=found.heartbeat_age_seconds)
    return NodeState(
        id=found.node_id,
        name=node.name if node else "",
        location=node.location if node else "",
        verdict=decide_verdict(found, latest, now),
        status=str(found.status),
        heartbeat_at=node.last_heartbeat if node else now - age,
        heartbeat_age_seconds=found.heartbeat_age_seconds,
        timeout_seconds=found.timeout_seconds,
        in_maintenance=found.in_maintenance,
        flapping=found.flapping,
        cpu_percent=node.resources.cpu_percent if node else 0.0,
        memory_percent=node.resources.memory_percent if node else 0.0,
        is_overloaded=node.resources.is_overloaded if node else False,
        capabilities=tuple(node.capabilities) if node else (),
    )


def to_function_state(name: str, found: MetricsSummary, node_id: str = "") -> FunctionState:
    """Return the figures of a function."""
    return FunctionState(
        name=name,
        node_id=node_id,
        total=found["total"],
        errors=found["error_count"],
        success_rate=found["success_rate"],
        avg_ms=found["avg_latency"],
        p50_ms=found["p50"],
        p95_ms=found["p95"],
        p99_ms=found["p99"],
    )


def to_event(change: Transition) -> Event:
    """Return a transition as an event."""
    return Event(
        at=change.at,
        kind="transition",
        name=change.state,
        target=change.node_id,
        detail=change.reason,
        previous=change.previous,
        flapping=change.flapping,
    )


def compare_fields(edge: Mapping[str, Any] | None, cloud: Mapping[str, Any] | None) -> tuple[FieldComparison, ...]:
    """Return the fields of both ends, sorted, those that differ first."""
    here, there = edge or {}, cloud or {}
    fields = [
        FieldComparison(
            name=name,
            edge=here.get(name),
            cloud=there.get(name),
            is_equal=name in here and name in there and is_same_value(here[name], there[name]),
        )
        for name in sorted({*here, *there})
    ]
    return tuple(sorted(fields, key=lambda field: field.is_equal))


def list_spells(changes: Sequence[Transition], start: datetime, end: datetime) -> tuple[Spell, ...]:
    """Return a node's states from ``start`` to ``end``, by its transitions, oldest first."""
    spells: list[Spell] = []
    state, since = "unknown", start
    for change in changes:
        if change.at > start and change.at <= end:
            if change.at > since and (spells or state != "unknown" or change.previous != "unknown"):
                spells.append(Spell(state=_known(state, change.previous), start=since, end=change.at))
            since = change.at
        state = change.state
    if changes and since < end:
        spells.append(Spell(state=state, start=since, end=end))
    return tuple(spells)


def _known(state: str, previous: str) -> str:
    return previous if state == "unknown" else state


def bin_latencies(records: Sequence[InvocationRecord], bins: int) -> tuple[Latencies, ...]:
    """Return percentiles of the records' durations in up to ``bins`` equal intervals, empty ones left out."""
    if not records:
        return ()
    first = min(record.timestamp for record in records)
    span = max(record.timestamp for record in records) - first
    width = max(span / bins, timedelta(seconds=1))
    grouped: dict[int, list[float]] = {}
    for record in records:
        grouped.setdefault(min(int((record.timestamp - first) / width), bins - 1), []).append(record.duration_ms)
    return tuple(_latencies(first + width * (at + 1), sorted(grouped[at])) for at in sorted(grouped))


def _latencies(end: datetime, ordered: Sequence[float]) -> Latencies:
    def rank(percent: int) -> float:
        return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]

    return Latencies(end=end, count=len(ordered), p50=rank(50), p95=rank(95), p99=rank(99))
