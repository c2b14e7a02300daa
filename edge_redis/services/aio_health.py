"""HealthMonitor on an asyncio client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_redis.health.operations import Health
from edge_redis.services.base import AsyncService
from edge_redis.services.bind import awaited

if TYPE_CHECKING:
    from edge_redis.runtime.runner import AsyncClient


class HealthMonitor(AsyncService[Health]):
    """Knows the nodes of a namespace, when each was last heard of, and which are healthy.

    Args:
        client: a Redis or Valkey client with ``decode_responses=False``.
        heartbeat_timeout_seconds: a node is healthy while its heartbeat is younger than this.
        namespace: monitors of one namespace share everything, of two nothing.
        max_history: checks kept a node, up to 10,000; older ones are dropped.
        max_transitions: state changes kept for the namespace, about; older ones are dropped.

    """

    def __init__(
        self,
        client: AsyncClient,
        heartbeat_timeout_seconds: float = 60.0,
        *,
        namespace: str = "default",
        max_history: int = 100,
        max_transitions: int = 10_000,
    ) -> None:
        room = Health(
            heartbeat_timeout_seconds, namespace=namespace, max_history=max_history, max_transitions=max_transitions
        )
        super().__init__(client, room)

    register = awaited(Health.register)
    deregister = awaited(Health.deregister)
    heartbeat = awaited(Health.heartbeat)
    get_node = awaited(Health.get_node)
    nodes = awaited(Health.nodes)
    check_node = awaited(Health.check_node)
    check_cluster = awaited(Health.check_cluster)
    get_history = awaited(Health.get_history)
    detect_flapping = awaited(Health.detect_flapping)
    get_recovery_recommendation = awaited(Health.get_recovery_recommendation)
    transitions = awaited(Health.transitions)
    summary = awaited(Health.summary)
