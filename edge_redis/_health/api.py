"""The methods of HealthMonitor, as coroutines."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.operation import Batch
from edge_redis._health import recommendation
from edge_redis._health.checker import Checker
from edge_redis._health.config import HealthConfig
from edge_redis._health.flapping import FLAPPING_WINDOW
from edge_redis._health.history import History
from edge_redis._health.keys import HealthKeys
from edge_redis._health.maintenance import Maintenance
from edge_redis._health.registry import Registry
from edge_redis._health.transition_reader import TransitionReader
from edge_redis.models import EdgeNode, EdgeNodeStatus, HealthCheck, NodeHealth, ResourceUsage, Transition


class Health(Component):
    """The operations of a HealthMonitor, which documents them."""

    def __init__(self, config: HealthConfig, *, namespace: str = "default") -> None:
        self.namespace = namespace
        self._keys = HealthKeys(namespace)
        self._config = config
        self._registry = Registry(self._keys, config)
        self._checker = Checker(self._keys, config, self._registry)
        self._history = History(self._keys, config)
        self._maintenance = Maintenance(self._keys, config, self._checker)
        self._flap_detector = config.flapping_rules()

    async def register(self, node: EdgeNode, heartbeat_timeout_seconds: float | None = None) -> None:
        """Add a node, or replace its record."""
        await self._registry.register(node, heartbeat_timeout_seconds)

    async def set_maintenance(self, node_id: str, seconds: float | None = None, reason: str = "") -> None:
        """Begin or change a node's maintenance."""
        await self._maintenance.begin(node_id, seconds, reason)

    async def end_maintenance(self, node_id: str) -> bool:
        """End a node's maintenance; return whether it was in one."""
        return await self._maintenance.end(node_id)

    async def snapshot(self) -> list[NodeHealth]:
        """Return every registered node with its health now."""
        return await self._registry.snapshot()

    async def availability(self, node_id: str, seconds: float) -> dict[str, Any]:
        """Return a node's availability."""
        return await self._history.availability(node_id, seconds)

    async def deregister(self, node_id: str) -> bool:
        """Remove a node and its history; return whether it was registered."""
        return await self._registry.deregister(node_id)

    async def get_node(self, node_id: str) -> EdgeNode | None:
        """Return a registered node, or None."""
        return await self._registry.get_node(node_id)

    async def nodes(self, status: EdgeNodeStatus | None = None) -> list[EdgeNode]:
        """Return the registered nodes."""
        return await self._registry.nodes(status)

    def heartbeat(
        self, node: EdgeNode | str, status: EdgeNodeStatus | None = None, resources: ResourceUsage | None = None
    ) -> Awaitable[bool]:
        """Record a heartbeat; return whether the node is registered."""
        return self._registry.heartbeat(node, status, resources)

    async def heartbeat_many(self, nodes: Iterable[EdgeNode | str]) -> dict[str, bool]:
        """Record many heartbeats; for each id whether it is registered."""
        return await self._registry.heartbeat_many(nodes)

    async def stale(self, seconds: float | None = None, limit: int = 1000) -> list[str]:
        """Return the ids without a recent heartbeat."""
        return await self._registry.stale(seconds, limit)

    async def remove_stale(self, older_than_seconds: float) -> int:
        """Remove the nodes without a recent heartbeat; return how many."""
        return await self._registry.remove_stale(older_than_seconds)

    async def check_node(self, node: EdgeNode | str) -> HealthCheck:
        """Check one node."""
        return await self._checker.check_node(node)

    async def check_cluster(self, nodes: Iterable[EdgeNode | str] | None = None) -> dict[str, Any]:
        """Check many nodes."""
        return await self._checker.check_cluster(nodes)

    async def get_history(self, node_id: str, limit: int = 10) -> list[HealthCheck]:
        """Return a node's newest checks, oldest first."""
        return await self._history.checks(node_id, limit)

    async def detect_flapping(self, node_id: str, window: int = FLAPPING_WINDOW) -> bool:
        """Return whether a node flaps."""
        validation.check_integer("window", window, least=1)
        history = await self._history.read_for_flapping(node_id, window)
        return self._flap_detector.is_flapping(history, window)

    async def get_recovery_recommendation(self, node_id: str) -> str:
        """Return the recommendation for a node."""
        history = await self._history.read_for_flapping(node_id)
        return recommendation.recommend(history.checks, flapping=self._flap_detector.is_flapping(history))

    async def heartbeat_age(self, node_id: str) -> dict[str, Any]:
        """Return statistics of the heartbeat's age at a node's checks."""
        return await self._history.heartbeat_age(node_id)

    async def transitions(self, limit: int = 100, node_id: str | None = None) -> list[Transition]:
        """Return the newest transitions, oldest first."""
        return await self._history.transitions(limit, node_id)

    async def summary(self) -> dict[str, Any]:
        """Return the number of nodes and of checks, and the timeout."""
        nodes, checks = await Batch([self._registry.count(), self._history.total_checks()])
        timeout = self._config.heartbeat_timeout_seconds
        return {"monitored_nodes": nodes, "total_checks": checks, "timeout_seconds": timeout}

    def read_transitions(
        self, position: str | None, node_id: str | None, timeout: float | None, poll_seconds: float
    ) -> TransitionReader:
        """Return a reader of the transitions after ``position``."""
        return TransitionReader(self._keys, position, node_id, timeout, poll_seconds)
