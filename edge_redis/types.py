"""Types of options that take a few values, and of results that are dicts: for annotations in users' code.

Times are timezone-aware UTC datetimes; durations are in the unit that their name carries; rates and
shares are percentages, from 0 to 100.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

__all__ = [
    "AcceptedGroup",
    "AcceptedStatus",
    "Availability",
    "CacheStats",
    "ClusterHealth",
    "Conflict",
    "ConflictWinner",
    "DeadLetter",
    "Detector",
    "Eviction",
    "Grouping",
    "HealthSummary",
    "HeartbeatAges",
    "MetricsRanking",
    "MetricsStats",
    "MetricsSummary",
    "NodeVerdict",
    "OnError",
    "Overflow",
    "PendingChange",
    "Ranking",
    "RelayStats",
    "ScopeSummary",
    "SloReport",
    "SloWindow",
    "SyncSummary",
    "TimelineMinute",
    "WorkerLag",
    "WorkerStatus",
]

Eviction: TypeAlias = Literal["least_accessed", "lru", "adaptive"]
"""Which entries a full cache removes."""

OnError: TypeAlias = Literal["raise", "miss"]
"""What a cache does while the server does not answer."""

Detector: TypeAlias = Literal["timeout", "phi"]
"""How a health monitor decides that a heartbeat is missing."""

Overflow: TypeAlias = Literal["coalesce", "reject"]
"""What a synchronizer does when its outbox is full."""

Ranking: TypeAlias = Literal["total", "error_count", "error_rate", "avg_latency", "total_ms", "p50", "p95", "p99"]
"""What ``EdgeMetrics.top`` sorts by."""

Grouping: TypeAlias = Literal["function", "node", "pair"]
"""What the rows of ``EdgeMetrics.top`` stand for."""


class CacheStats(TypedDict):
    """The result of ``EdgeCache.stats``."""

    size: int
    max_size: int
    hits: int
    misses: int
    hit_rate: float
    default_ttl: float
    evictions: int
    expirations: int
    corrupt: int
    repaired: int
    bytes: int
    near_size: NotRequired[int]
    near_listening: NotRequired[bool]
    fallbacks: NotRequired[int]
    pending_invalidations: NotRequired[int]
    circuit: NotRequired[Literal["open", "closed"]]


class NodeVerdict(TypedDict):
    """One node in the result of ``HealthMonitor.check_cluster``."""

    node_id: str
    healthy: bool
    latency_ms: float


class ClusterHealth(TypedDict):
    """The result of ``HealthMonitor.check_cluster``."""

    total_nodes: int
    healthy_nodes: int
    unhealthy_nodes: int
    health_percent: float
    checks: list[NodeVerdict]


class Availability(TypedDict):
    """The result of ``HealthMonitor.availability``."""

    availability_percent: float | None
    unhealthy_spells: int
    longest_spell_seconds: float
    known_seconds: float


class HeartbeatAges(TypedDict):
    """The result of ``HealthMonitor.heartbeat_age``; all but ``count`` in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


class HealthSummary(TypedDict):
    """The result of ``HealthMonitor.summary``."""

    monitored_nodes: int
    total_checks: int
    timeout_seconds: float


class RelayStats(TypedDict):
    """The result of ``TransitionRelay.stats``."""

    delivered: int
    dropped: int
    lost: int
    attempts: int
    last_error: str


class MetricsSummary(TypedDict):
    """The result of ``EdgeMetrics.summary``; latencies and percentiles in milliseconds."""

    total: int
    success_rate: float
    avg_latency: float
    error_count: int
    p50: float
    p95: float
    p99: float


class MetricsRanking(MetricsSummary):
    """One row of ``EdgeMetrics.top``: the summary of a function, a node or a pair of both."""

    function_id: str | None
    node_id: str | None
    error_rate: float
    total_ms: float


class MetricsStats(TypedDict):
    """The result of ``EdgeMetrics.stats``."""

    series: int
    max_series: int
    overflow: int


class TimelineMinute(TypedDict):
    """One minute of ``EdgeMetrics.timeline``."""

    minute: datetime
    total: int
    errors: int
    slow: int
    success_rate: float
    avg_latency_ms: float


class SloWindow(TypedDict):
    """The last ``minutes`` minutes of an ``SloReport``."""

    minutes: int
    total: int
    bad: int
    good_percent: float
    burn_rate: float


class SloReport(TypedDict):
    """How a service level objective was kept, since the first invocation and in the windows."""

    objective: float
    slow_ms: float | None
    total: int
    bad: int
    good_percent: float
    windows: list[SloWindow]


class PendingChange(TypedDict):
    """A change in a synchronizer's outbox. ``data`` is None where the scope was deleted."""

    type: Literal["update", "delete"]
    version: int
    data: dict[str, Any] | None
    timestamp: datetime
    is_delta: bool


class ConflictWinner(TypedDict):
    """The side of a ``Conflict`` that won."""

    version: int
    checksum: str
    updated_at: datetime
    origin: str


class Conflict(ConflictWinner):
    """The side of a conflict that lost. ``data`` is None where that was a delete."""

    id: str
    data: dict[str, Any] | None
    lost: Literal["local", "remote"]
    winner: ConflictWinner
    timestamp: datetime


class SyncSummary(TypedDict):
    """The result of ``EdgeSynchronizer.summary``."""

    local_version: int
    remote_version: int
    pending_changes: int
    is_synced: bool
    sync_events: int
    conflict_strategy: str


class ScopeSummary(TypedDict):
    """One scope of ``EdgeRedis.scopes``."""

    scope: str
    version: int
    pending: int
    conflicts: int


class WorkerLag(TypedDict):
    """The result of ``CloudWorker.lag``."""

    scopes_waiting: int
    oldest_seconds: float


class AcceptedGroup(TypedDict):
    """A group of consumers of accepted changes, in ``AcceptedStatus``."""

    group: str
    consumers: int
    pending: int
    """Changes that were delivered and are not acknowledged."""
    lag: int
    """Changes that are not delivered yet."""
    lost: int
    """Changes that were removed before they were delivered or acknowledged."""


class AcceptedStatus(TypedDict):
    """The result of ``RedisCloudStore.accepted_status``."""

    is_kept: bool
    """Whether changes are kept now; the others were kept before."""
    max_length: int
    max_age_seconds: float | None
    max_body_bytes: int
    length: int
    accepted_total: int
    oldest_at: datetime | None
    groups: list[AcceptedGroup]


class LinkStats(TypedDict):
    """What went over the link to the cloud: of one RedisCloudStore since it was made, or of all workers of an edge."""

    bytes_up: int
    """Bytes of the commands that carried changes or asked for those of the cloud."""
    splices_up: int
    """States that went up as their difference from a state that the cloud holds."""
    full_states_up: int
    """States that went up whole."""
    splices_refused: int
    """Calls that were sent again, since the cloud held another state than the base of their splices."""
    bytes_down: int
    """Bytes of the replies."""
    headers_down: int
    """States of which only a header came down, since this object had their bodies."""
    splices_down: int
    """States that came down as their difference from a state that this object had."""
    full_states_down: int
    """States that came down whole."""
    round_trips: int
    """Commands; those that were sent together count as one."""


class TimeToCloud(TypedDict):
    """Times from the write of a change at the edge to its confirmation there, by the clock of the edge's server."""

    count: int
    """Number of changes."""
    average_seconds: float
    """0.0 where there are none, like the percentiles, which are within 1.1%."""
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float


class WorkerStatus(WorkerLag):
    """The result of ``CloudWorker.status``."""

    scopes: int
    scopes_not_pushed: int
    changes_waiting: int
    pending_bytes: int
    dead_letters: int
    pushed_total: int
    link: LinkStats
    """Of all workers of this edge, ever."""
    time_to_cloud: TimeToCloud
    """Of all workers of this edge, ever."""
    clone_seen_seconds: float | None


class DeadLetter(TypedDict):
    """A change that a worker gave up. ``data`` is None for a delete, and where it does not decode."""

    id: str
    scope: str
    version: int
    data: dict[str, Any] | None
    error: str
    deliveries: int
    timestamp: datetime
