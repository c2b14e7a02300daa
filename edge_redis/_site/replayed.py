"""The services of a demo site for those who watch it, where a recording is replayed.

The nodes of a replay write the recorded times. These services judge by the recorded time and return real times, so
that a page or a terminal shows the site as if it happened now. Ages and timeouts stay in recorded seconds.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

from edge_redis._io.clients import AsyncClient
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._services.aio.health import HealthMonitor
from edge_redis._site.replay import Pace
from edge_redis.models import EdgeNode, HealthCheck, NodeHealth, Transition, from_timestamp


class ReplayedMonitor(HealthMonitor):
    """A HealthMonitor whose nodes write recorded times. Takes the pace and the arguments of HealthMonitor."""

    def __init__(self, client: AsyncClient, pace: Pace, **options: Any) -> None:
        super().__init__(client, clock=lambda: pace.recorded_at(time.time()), **options)
        self._pace = pace

    def _to_real(self, at: datetime) -> datetime:
        return from_timestamp(self._pace.due(round(at.timestamp() * 1e6)))

    def _to_real_node(self, node: EdgeNode) -> EdgeNode:
        return replace(node, last_heartbeat=self._to_real(node.last_heartbeat))

    async def snapshot(self) -> list[NodeHealth]:
        """Return every registered node with its health now; its last heartbeat in real time."""
        return [
            each if each.node is None else replace(each, node=self._to_real_node(each.node))
            for each in await super().snapshot()
        ]

    async def get_history(self, node_id: str, limit: int = 10) -> list[HealthCheck]:
        """Return a node's newest checks, oldest first, in real time."""
        checks = await super().get_history(node_id, limit)
        return [replace(check, checked_at=self._to_real(check.checked_at)) for check in checks]

    async def transitions(self, limit: int = 100, node_id: str | None = None) -> list[Transition]:
        """Return the newest transitions, oldest first, in real time."""
        changes = await super().transitions(limit, node_id)
        return [replace(change, at=self._to_real(change.at)) for change in changes]


class WatchedSite(EdgeRedis):
    """The services of a demo site's namespace, with the settings of its processes.

    Args:
        client: an asyncio client.
        namespace: of the site.
        heartbeat_timeout: in seconds; recorded ones in a replay.
        cache_size: of the site's cache.
        pace: of the replay; None where the nodes write the server's time.

    """

    def __init__(
        self, client: AsyncClient, *, namespace: str, heartbeat_timeout: float, cache_size: int, pace: Pace | None
    ) -> None:
        super().__init__(
            client,
            namespace=namespace,
            cache={"max_size": cache_size},
            health={"heartbeat_timeout_seconds": heartbeat_timeout},
        )
        self._pace = pace

    @cached_property
    def health(self) -> HealthMonitor:
        """The health monitor of this namespace."""
        if self._pace is None:
            return super().health
        return ReplayedMonitor(self.client, self._pace, namespace=self.namespace, **self._health_options)
