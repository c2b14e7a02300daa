"""The state of a site, as operators see it. ``SiteReader`` reads it; the page and the terminal application show it.

Times are timezone-aware UTC; ages and latencies carry their unit; rates are percentages, from 0 to 100.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from edge_redis._site.function_state import Functions, Minute
from edge_redis._site.node_state import Fleet
from edge_redis._site.scope_state import SyncOverview
from edge_redis.types import CacheStats


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSample:
    """The cache at one moment."""

    at: datetime
    stats: CacheStats

    @property
    def requests(self) -> int:
        """Hits and misses."""
        return self.stats["hits"] + self.stats["misses"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheState:
    """The statistics of the cache at the readings so far, oldest first; the newest are ``now``."""

    samples: tuple[CacheSample, ...]

    @property
    def now(self) -> CacheStats:
        """The newest statistics."""
        return self.samples[-1].stats


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A transition of a node, or an operator's action."""

    at: datetime
    kind: Literal["transition", "action"]
    name: str
    """The state of a transition, or the action."""
    target: str
    """The node, or the target of the action."""
    detail: str
    """The reason of a transition, or the action's details."""
    operator: str = ""
    previous: str = ""
    flapping: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteState:
    """The state of one site at one moment."""

    namespace: str
    read_at: datetime
    fleet: Fleet
    functions: Functions
    minutes: tuple[Minute, ...]
    """All invocations, minute by minute, oldest first."""
    cache: CacheState
    sync: SyncOverview
    events: tuple[Event, ...]
    """Newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BriefState:
    """A site in a list of sites."""

    fleet: Fleet
    sync: SyncOverview
