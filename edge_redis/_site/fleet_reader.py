"""The nodes of a site with their verdicts, and their transitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edge_redis._services.aio.health import HealthMonitor
from edge_redis._site.node_state import Fleet
from edge_redis._site.reading_cache import ReadingCache
from edge_redis._site.state_rows import to_node_state
from edge_redis.models import NodeHealth, Transition, utc_now

MAX_TRANSITIONS: Final = 1000
"""Transitions that are read: verdicts, bars and the list of events are made of them."""
MAX_STALE: Final = 10_000
_MIN_SNAPSHOT_SECONDS: Final = 1.5


class FleetReader:
    """Reads all nodes at once, a costly reading on a large site, and sooner than planned where a verdict has changed.

    The newest transition and the ids of stale nodes are cheap to read, and show that a verdict has changed.
    """

    def __init__(self, health: HealthMonitor, readings: ReadingCache, clock: Callable[[], float]) -> None:
        self._health = health
        self._readings = readings
        self._clock = clock
        self._transitions: list[Transition] = []
        self._fleet = Fleet()
        self._fleet_snapshot: object = None
        self._fleet_signs: tuple[object, ...] = ()
        self._snapshot_at = float("-inf")

    async def transitions(self) -> list[Transition]:
        """Return the newest transitions of all nodes, oldest first."""
        return await self._readings.get_or_read(self._read_transitions, "transitions")

    async def _read_transitions(self) -> list[Transition]:
        newest = await self._health.transitions(1)
        if not newest or not self._transitions or newest[-1].position != self._transitions[-1].position:
            self._transitions = await self._health.transitions(MAX_TRANSITIONS) if newest else []
        return self._transitions

    async def fleet(self) -> Fleet:
        """Return every registered node with its verdict."""
        return await self._readings.get_or_read(self._read_fleet, "fleet")

    async def _read_fleet(self) -> Fleet:
        changes = await self.transitions()
        signs = (changes[-1].position if changes else "", tuple(await self._health.stale(limit=MAX_STALE)))
        if signs != self._fleet_signs and self._clock() - self._snapshot_at >= _MIN_SNAPSHOT_SECONDS:
            self._readings.drop("snapshot")
        snapshot = await self._readings.get_or_read(self._read_snapshot, "snapshot")
        if self._fleet_snapshot is not snapshot or signs != self._fleet_signs:
            latest = {change.node_id: change for change in changes}
            now = utc_now()
            self._fleet = Fleet(nodes=tuple(to_node_state(each, latest.get(each.node_id), now) for each in snapshot))
            self._fleet_snapshot, self._fleet_signs = snapshot, signs
        return self._fleet

    async def _read_snapshot(self) -> list[NodeHealth]:
        self._snapshot_at = self._clock()
        return await self._health.snapshot()
