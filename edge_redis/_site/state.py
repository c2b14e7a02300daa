"""The state of a site, as operators see it. ``SiteReader`` reads it; the page and the terminal application show it.

Times are timezone-aware UTC; ages and latencies carry their unit; rates are percentages, from 0 to 100.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from edge_redis.models import HealthCheck, InvocationRecord, SyncEvent, SyncState, Transition
from edge_redis.types import Availability, CacheStats, Conflict, DeadLetter, PendingChange

Verdict: TypeAlias = Literal["healthy", "unhealthy", "maintenance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A time during which a node's state did not change."""

    state: str
    """A state of ``Transition``; "unknown" before the first that is kept."""
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A registered node and its verdict."""

    id: str
    name: str
    location: str
    verdict: Verdict
    status: str
    """As the node reports it."""
    heartbeat_at: datetime
    heartbeat_age_seconds: float
    timeout_seconds: float
    in_maintenance: bool
    flapping: bool
    cpu_percent: float = 0.0
    memory_percent: float = 0.0
    is_overloaded: bool = False
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All registered nodes, in the order of their ids."""

    nodes: tuple[NodeState, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """Return the number of nodes of a verdict."""
        return sum(node.verdict == verdict for node in self.nodes)

    @property
    def flapping(self) -> int:
        """Number of flapping nodes."""
        return sum(node.flapping for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """The invocations of one minute."""

    minute: datetime
    total: int
    errors: int
    avg_latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Percentiles, in milliseconds, of the calls in an interval that ends at ``end``."""

    end: datetime
    count: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionState:
    """The figures of one function, of a function on a node, or of all together (``name`` is then empty)."""

    name: str
    node_id: str = ""
    total: int
    errors: int
    success_rate: float
    avg_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """All functions, those with the most invocations first."""

    all: FunctionState
    functions: tuple[FunctionState, ...] = ()
    series: int = 0
    """Number of (function, node) pairs."""
    max_series: int = 0
    overflow: int = 0
    """Invocations counted under ``_other`` for lack of series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionDetail:
    """One function in detail."""

    summary: FunctionState
    nodes: tuple[FunctionState, ...]
    """On each node, up to a bound."""
    node_count: int
    minutes: tuple[Minute, ...]
    latencies: tuple[Latencies, ...]
    """Percentiles over time, of the latest records that are kept."""
    errors: tuple[InvocationRecord, ...]
    """The latest failures, newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDetail:
    """One node in detail."""

    state: NodeState
    recommendation: str
    checks: tuple[HealthCheck, ...]
    """Oldest first."""
    day: Availability
    month: Availability
    spells: tuple[Spell, ...]
    """The last 24 hours, oldest first."""
    transitions: tuple[Transition, ...]
    """Newest first."""
    functions: tuple[FunctionState, ...]


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
    """The cache now, and samples of it since somebody looks, oldest first; the newest is ``now``."""

    samples: tuple[CacheSample, ...]

    @property
    def now(self) -> CacheStats:
        """The newest statistics."""
        return self.samples[-1].stats


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeState:
    """One scope at the edge."""

    scope: str
    version: int
    pending: int
    conflicts: int
    lag_seconds: float
    """How long its oldest change waits for the cloud; 0.0 where none waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSample:
    """The progress of syncing at one moment."""

    at: datetime
    pending: int
    pushed_total: int
    lag_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOverview:
    """All scopes, sorted by name."""

    scopes: tuple[ScopeState, ...] = ()
    pending: int = 0
    lag_seconds: float = 0.0
    pushed_total: int = 0
    dead_letters: int = 0
    samples: tuple[SyncSample, ...] = ()
    """Since somebody looks, oldest first."""

    @property
    def conflicts(self) -> int:
        """Number of conflicts that are kept."""
        return sum(scope.conflicts for scope in self.scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A top-level field of a scope at both ends; None where an end does not have it."""

    name: str
    edge: Any
    cloud: Any
    is_equal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeDetail:
    """One scope in detail, at both ends."""

    state: ScopeState
    strategy: str
    remote_version: int
    edge: SyncState | None
    cloud: SyncState | None
    cloud_error: str
    """Why the cloud's state is unknown; empty where it was read."""
    edge_error: str
    """Why the edge's state is unknown; empty where it was read."""
    fields: tuple[Field, ...]
    pending: tuple[PendingChange, ...]
    """Oldest first."""
    history: tuple[SyncEvent, ...]
    """Newest first."""
    conflicts: tuple[Conflict, ...]
    """Newest first."""
    dead_letters: tuple[DeadLetter, ...]

    @property
    def is_equal(self) -> bool:
        """Whether both ends have the same version of the same data."""
        if self.edge is None or self.cloud is None:
            return self.edge is self.cloud and not self.cloud_error and not self.edge_error
        return (self.edge.version, self.edge.checksum) == (self.cloud.version, self.cloud.checksum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A transition of a node, or an operator's action."""

    at: datetime
    kind: Literal["transition", "action"]
    name: str
    """The state of a transition, or the action."""
    target: str
    """The node, or what the action was on."""
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
