"""What processes a job consists of, from its settings: pure planning, nothing is started here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_redis._site.functions import FUNCTIONS, WATCHED_FIELDS
from edge_redis._site.plan import Plan, Role
from edge_redis._site.recording import Outline
from edge_redis._site.replay import Pace
from edge_redis._site.settings import Settings

LIVE_CACHE_SIZE: Final = 1000
START_SECONDS: Final = 1.0
"""A recording begins so long after its processes are started, so that most of them are up; others catch up."""


@dataclass(frozen=True, slots=True)
class Site:
    """The processes of one run."""

    run: str
    edges: Sequence[Plan]
    others: Sequence[Plan]
    """The cloud worker, and the monitor where the wall's clock judges."""

    @property
    def node_ids(self) -> list[str]:
        """The nodes, in order."""
        return [plan.name for plan in self.edges]


def cache_size(recorded: Outline | None) -> int:
    """Return how many results the processes keep.

    For a recording as many as there can be: what is evicted would depend on how the nodes interleave.
    """
    return LIVE_CACHE_SIZE if recorded is None else recorded.total * len(FUNCTIONS) * WATCHED_FIELDS


def plan_site(settings: Settings, recorded: Outline | None, *, url: str, run: str, now: float) -> Site:
    """Return the plans of all processes. ``now`` is the Unix time in seconds at which they are started."""
    common: dict[str, Any] = {
        "url": url,
        "namespace": settings.namespace,
        "run": run,
        "timeout_seconds": settings.heartbeat_timeout,
        "interval_seconds": settings.interval,
        "cache_size": cache_size(recorded),
    }
    cloud = Plan(role=Role.CLOUD, name="cloud-worker", **common)
    if recorded is None:
        names = [f"edge-{number}" for number in range(1, settings.nodes + 1)]
        watch = Plan(role=Role.MONITOR, name="monitor", **{**common, "interval_seconds": settings.check_interval})
        return Site(run, [Plan(role=Role.EDGE, name=name, **common) for name in names], [cloud, watch])
    assert settings.replay is not None
    replayed = {
        **common,
        "recording": str(Path(settings.replay).absolute()),
        "pace": Pace(now + START_SECONDS, recorded.first_us, settings.speed),
        "end_us": recorded.last_us,
    }
    return Site(run, [Plan(role=Role.REPLAY, name=name, **replayed) for name in sorted(recorded.readings)], [cloud])
