"""A fleet that is watched, on a fakeredis server whose clock is moved by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from edge_redis import EdgeNode, EdgeNodeStatus, WatchRound
from support.clock import ServerClock

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAND_BY = WatchRound(leader=False)


class Site:
    """A fleet, its monitor and its watches on a server whose clock is moved by hand."""

    def __init__(self, make: Any, clock: ServerClock) -> None:
        self.make, self.clock = make, clock
        self.monitor = make("HealthMonitor")
        self.watch = self.another()
        self.alive: set[str] = set()

    def another(self, **settings: Any) -> Any:
        """Return a further watch: rounds every 5 s, a lease of 15 s, a gap of 11 s."""
        return self.make("HealthWatch", **settings)

    def join(self, *names: str) -> None:
        """Let nodes begin to beat."""
        self.alive.update(names)
        self.beat()

    def beat(self) -> None:
        """Send a heartbeat of each living node, which registers it where it is unknown."""
        known = self.monitor.heartbeat_many(self.alive)  # one script for all, which fakeredis runs much faster
        self.monitor.heartbeat_many([self.node(name) for name, is_known in known.items() if not is_known])

    @staticmethod
    def node(name: str, status: EdgeNodeStatus = EdgeNodeStatus.ONLINE) -> EdgeNode:
        return EdgeNode(name, name, status=status, last_heartbeat=START)

    def rounds(self, seconds: float, watch: Any = None, *, every: float = 5) -> WatchRound:
        """Let time pass, a beat and a round every 5 s; return the last round."""
        found = STAND_BY
        for _ in range(round(seconds / every)):
            self.clock.now += every
            self.beat()
            found = (watch or self.watch).run_once()
        return found

    def changes(self) -> list[tuple[str, str, str]]:
        return [(change.node_id, change.state, change.previous) for change in self.monitor.transitions(1000)]
