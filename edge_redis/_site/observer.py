"""Reads from Redis what the processes of the main job have done: what any other process could see too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

from edge_redis._services.bundle import EdgeRedis
from edge_redis._services.state import RedisCloudStore
from edge_redis._site.functions import FUNCTIONS
from edge_redis._site.opening import MAX_TRANSITIONS, open_operations
from edge_redis._site.report import FunctionFacts, NodeFacts, Report, ScopeFacts
from edge_redis.models import EdgeNode, SyncState


class Observer:
    """Looks at one namespace. It writes nothing."""

    def __init__(self, services: EdgeRedis, node_ids: Sequence[str], *, run: str) -> None:
        self._services = services
        self._run = run
        self._operations = open_operations(services)
        self._cloud = RedisCloudStore(services.client, namespace=services.namespace)
        self._synchronizers = {name: services.synchronizer(name) for name in node_ids}

    def report(self, run: Mapping[str, Any], restarts: Mapping[str, int], troubles: Mapping[str, str]) -> Report:
        """Return everything there is to say now."""
        clouds = {name: self._cloud.get(name) for name in self._synchronizers}  # first: it is never ahead then
        states = {name: synchronizer.get_local_state() for name, synchronizer in self._synchronizers.items()}
        changes = self._services.health.transitions(MAX_TRANSITIONS)
        spells = Counter(change.node_id for change in changes if change.state == "unhealthy")
        known = {node.id: node for node in self._services.health.nodes()}
        return Report(
            run=run,
            nodes={
                name: self._node(name, known.get(name), states[name], spells[name], restarts.get(name, 0))
                for name in states
            },
            functions={name: self._function(name) for name in FUNCTIONS},
            cache=self._services.cache.stats(),
            scopes={name: self._scope(name, state, clouds[name]) for name, state in states.items()},
            troubles=troubles,
        )

    def is_settled(self) -> bool:
        """Whether nothing waits for the cloud and both ends are equal."""
        return all(
            synchronizer.pending_count == 0 and _equal(synchronizer.get_local_state(), self._cloud.get(name))
            for name, synchronizer in self._synchronizers.items()
        )

    def _node(self, name: str, node: EdgeNode | None, state: SyncState | None, spells: int, restarts: int) -> NodeFacts:
        health = self._services.health
        latest = health.get_history(name, 1)
        is_of_this_run = state is not None and state.data.get("run") == self._run
        return NodeFacts(
            readings=state.data["readings"] if state and is_of_this_run else 0,
            heartbeats=self._operations.total_invocations("heartbeat", name),
            checks=self._operations.total_invocations("check", name),
            unhealthy_spells=spells,
            flapping=health.detect_flapping(name),
            healthy=latest[0].healthy if latest else None,
            status=str(node.status) if node else "unknown",
            recommendation=health.get_recovery_recommendation(name),
            restarts=restarts,
        )

    def _function(self, name: str) -> FunctionFacts:
        found = self._services.metrics.summary(name)
        return FunctionFacts(
            count=found["total"],
            success_rate=found["success_rate"],
            avg_ms=found["avg_latency"],
            p50_ms=found["p50"],
            p95_ms=found["p95"],
        )

    def _scope(self, name: str, edge: SyncState | None, cloud: SyncState | None) -> ScopeFacts:
        synchronizer = self._synchronizers[name]
        return ScopeFacts(
            edge_version=edge.version if edge else 0,
            cloud_version=cloud.version if cloud else 0,
            pending=synchronizer.pending_count,
            conflicts=len(synchronizer.conflicts(limit=1000)),
            equal=_equal(edge, cloud),
        )

    def close(self) -> None:
        """Let go of what was opened."""
        self._operations.close()
        self._cloud.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _equal(edge: SyncState | None, cloud: SyncState | None) -> bool:
    if edge is None or cloud is None:
        return edge is cloud
    return (edge.version, edge.checksum, edge.data) == (cloud.version, cloud.checksum, cloud.data)
