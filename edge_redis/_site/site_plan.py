"""The processes of a demo site, derived from its settings. Pure: nothing is started here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_redis._site.functions import FUNCTIONS, WATCHED_FIELDS
from edge_redis._site.process_plan import ProcessPlan, Role
from edge_redis._site.recording import Outline
from edge_redis._site.replay import Pace
from edge_redis._site.settings import Settings

LIVE_CACHE_SIZE: Final = 1000
START_SECONDS: Final = 1.0
"""A replay starts this long after its processes, so that most of them are up; late ones catch up."""


@dataclass(frozen=True, slots=True)
class SitePlan:
    """The processes of one run."""

    run_id: str
    edges: Sequence[ProcessPlan]
    others: Sequence[ProcessPlan]
    """The cloud worker and, in a live run, the monitor."""

    @property
    def node_ids(self) -> list[str]:
        """The nodes' ids, in order."""
        return [plan.name for plan in self.edges]


def cache_size(recorded: Outline | None) -> int:
    """Return the cache's max_size.

    A replay's cache holds every possible result: with evictions, the counts would depend on how the nodes interleave.
    """
    return LIVE_CACHE_SIZE if recorded is None else recorded.total * len(FUNCTIONS) * WATCHED_FIELDS


def plan_site(
    settings: Settings, recorded: Outline | None, *, url: str, cloud_url: str, run_id: str, now: float
) -> SitePlan:
    """Return the plans of all processes. ``now`` is the Unix time in seconds at which they are started."""
    common: dict[str, Any] = {
        "url": url,
        "namespace": settings.namespace,
        "run_id": run_id,
        "timeout_seconds": settings.heartbeat_timeout,
        "interval_seconds": settings.interval,
        "cache_size": cache_size(recorded),
    }
    cloud = ProcessPlan(role=Role.CLOUD, name="cloud-worker", cloud_url=cloud_url, **common)
    if recorded is None:
        names = [f"edge-{number}" for number in range(1, settings.nodes + 1)]
        monitor_options = {**common, "interval_seconds": settings.check_interval}
        monitor = ProcessPlan(role=Role.MONITOR, name="monitor", **monitor_options)
        return SitePlan(run_id, [ProcessPlan(role=Role.EDGE, name=name, **common) for name in names], [cloud, monitor])
    assert settings.replay is not None
    replay_options = {
        **common,
        "recording": str(Path(settings.replay).absolute()),
        "pace": Pace(now + START_SECONDS, recorded.first_us, settings.speed),
        "end_us": recorded.last_us,
    }
    edges = [ProcessPlan(role=Role.REPLAY, name=name, **replay_options) for name in sorted(recorded.readings)]
    return SitePlan(run_id, edges, [cloud])
