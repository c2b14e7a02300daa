"""Reads the results of the demo site's processes, through the public services alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis._services.blocking.cloud import RedisCloudStore
from edge_redis._site.functions import FUNCTIONS
from edge_redis._site.report import FunctionReport, NodeReport, Report, ScopeReport
from edge_redis._site.services import MAX_TRANSITIONS, open_operation_metrics
from edge_redis.models import EdgeNode, SyncState


class Observer:
    """Reads the state of one namespace and of its cloud. Writes nothing."""

    def __init__(self, services: EdgeRedis, cloud: RedisCloudStore, node_ids: Sequence[str], *, run_id: str) -> None:
        self._services = services
        self._run_id = run_id
        self._operations = open_operation_metrics(services)
        self._cloud = cloud
        self._worker = services.worker(cloud)
        self._synchronizers = {name: services.synchronizer(name) for name in node_ids}

    def report(self, run: Mapping[str, Any], restarts: Mapping[str, int], failures: Mapping[str, str]) -> Report:
        """Return a report of the current state."""
        # Read before the edge, so that the cloud never seems ahead.
        clouds = {name: self._cloud.get(name) for name in self._synchronizers}
        states = {name: synchronizer.get_local_state() for name, synchronizer in self._synchronizers.items()}
        changes = self._services.health.transitions(MAX_TRANSITIONS)
        spells = Counter(change.node_id for change in changes if change.state == "unhealthy")
        known = {node.id: node for node in self._services.health.nodes()}
        return Report(
            run=run,
            nodes={
                name: self._node_report(name, known.get(name), states[name], spells[name], restarts.get(name, 0))
                for name in states
            },
            functions={name: self._function_report(name) for name in FUNCTIONS},
            cache=self._services.cache.stats(),
            scopes={name: self._scope_report(name, state, clouds[name]) for name, state in states.items()},
            totals=self._worker.totals(),
            failures=failures,
        )

    def is_synced(self) -> bool:
        """Return whether no change is pending and every scope is equal at both ends."""
        return all(
            synchronizer.pending_count == 0 and _is_equal(synchronizer.get_local_state(), self._cloud.get(name))
            for name, synchronizer in self._synchronizers.items()
        )

    def _node_report(
        self, name: str, node: EdgeNode | None, state: SyncState | None, spells: int, restarts: int
    ) -> NodeReport:
        health = self._services.health
        latest = health.get_history(name, 1)
        is_of_this_run = state is not None and state.data.get("run") == self._run_id
        return NodeReport(
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

    def _function_report(self, name: str) -> FunctionReport:
        summary = self._services.metrics.summary(name)
        return FunctionReport(
            count=summary["total"],
            success_rate=summary["success_rate"],
            avg_ms=summary["avg_latency"],
            p50_ms=summary["p50"],
            p95_ms=summary["p95"],
        )

    def _scope_report(self, name: str, edge: SyncState | None, cloud: SyncState | None) -> ScopeReport:
        synchronizer = self._synchronizers[name]
        return ScopeReport(
            edge_version=edge.version if edge else 0,
            cloud_version=cloud.version if cloud else 0,
            pending=synchronizer.pending_count,
            conflicts=len(synchronizer.conflicts(limit=1000)),
            equal=_is_equal(edge, cloud),
        )

    def close(self) -> None:
        """Close the services that this object opened."""
        self._operations.close()
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_equal(edge: SyncState | None, cloud: SyncState | None) -> bool:
    if edge is None or cloud is None:
        return edge is cloud
    return (edge.version, edge.checksum, edge.data) == (cloud.version, cloud.checksum, cloud.data)
