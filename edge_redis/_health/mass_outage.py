"""Mass outages: most of the nodes miss their heartbeats at the same time, which is one event and not many.

If a node is about to turn unhealthy by missing heartbeats and most of the nodes that were up are overdue, the cause
is shared (a network, the clock, the server itself). Verdicts on the overdue nodes are then deferred, as Kubernetes
stops evicting from a zone that fails as a whole. Nodes should send at least two heartbeats a timeout.
Nodes in maintenance do not count. A mass outage ends when most of its nodes are back, and by itself after a stated
time, as when its nodes were removed for good: each node that is still missing is then unhealthy by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edge_redis._health import watch_scripts
from edge_redis._health.config import HealthConfig
from edge_redis._health.keys import HealthKeys
from edge_redis._health.scripts import OVERDUE
from edge_redis._health.verdicts import Verdict
from edge_redis._health.watch_scripts import Term

LEAST_NODES: Final = 3
"""Fewer overdue nodes than this are never a mass outage."""

BEGIN_SHARE: Final = 0.5
"""A mass outage begins above this share of the nodes that were up."""

END_SHARE: Final = BEGIN_SHARE / 2
"""It ends at this share."""


class MassOutage:
    """Decides whether there is a mass outage, and records its beginning and end."""

    def __init__(self, config: HealthConfig, limit_seconds: float) -> None:
        self._config = config
        self._limit = limit_seconds

    async def update(self, home: HealthKeys, term: Term, seen: Sequence[Verdict]) -> bool:
        """Return whether there is a mass outage now, by the verdicts of a whole round; ``home`` is the first shard."""
        was = term.mass_outage_since_ms > 0
        # Nodes that are suspected already were considered before: they must not begin a second mass outage.
        counted = [verdict for verdict in seen if verdict.up and (was or not verdict.suspected)]
        overdue = sum(verdict.overdue for verdict in counted)
        has_expired = was and term.now_ms - term.mass_outage_since_ms >= self._limit * 1000
        is_due = was or any(verdict.deferred for verdict in counted)
        now = not has_expired and is_due and overdue >= LEAST_NODES
        now = now and overdue > len(counted) * (END_SHARE if was else BEGIN_SHARE)
        if now != was:
            reason = self._reason(overdue, len(counted))
            if has_expired:
                reason += f", which has lasted for {self._limit:g} s: each is unhealthy by itself"
            await watch_scripts.record_mass_outage(home, self._config, term.number, reason, begins=now)
        return now

    def _reason(self, overdue: int, up: int) -> str:
        if self._config.uses_phi:
            limit = "longer than usual"
        else:
            limit = f"for {self._config.heartbeat_timeout_seconds * OVERDUE:g} s or longer"
        return f"{overdue} of {up} nodes that were up sent no heartbeat {limit}"
