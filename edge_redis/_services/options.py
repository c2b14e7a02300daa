"""Keyword arguments of the services, as EdgeRedis takes and passes them on."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, cast

from edge_redis._cache.config import NearCache
from edge_redis._core.type_codec import TypeCodec
from edge_redis._health.flapping import FlapRate, FlapThresholds
from edge_redis._sync.signing import Keys
from edge_redis.errors import InvalidTypeError
from edge_redis.models import ConflictStrategy
from edge_redis.types import Detector, Eviction, OnError, Overflow


class CacheOptions(TypedDict, total=False):
    """Keyword arguments of EdgeCache."""

    max_size: int
    default_ttl: float
    eviction: Eviction
    flush_every: int
    flush_interval: float
    max_value_bytes: int
    max_bytes: int | None
    ttl_jitter: float
    near_cache: NearCache | Mapping[str, Any] | bool
    shards: int | None
    on_error: OnError
    codec: Mapping[type, TypeCodec] | None


class HealthOptions(TypedDict, total=False):
    """Keyword arguments of HealthMonitor."""

    heartbeat_timeout_seconds: float
    max_history: int
    max_transitions: int
    detector: Detector
    phi_threshold: float
    flap_detector: FlapThresholds | FlapRate | None
    flap_rate: FlapRate | None
    clock: Callable[[], datetime] | None
    shards: int | None


class MetricsOptions(TypedDict, total=False):
    """Keyword arguments of EdgeMetrics."""

    flush_interval: float
    flush_every: int
    max_recent: int
    max_series: int
    timeline_minutes: int
    node_id: str | None
    slow_ms: float | None
    max_errors: int
    shards: int | None


class SynchronizerOptions(TypedDict, total=False):
    """Keyword arguments of EdgeSynchronizer."""

    conflict_strategy: ConflictStrategy
    max_pending: int
    origin: str | None
    overflow: Overflow
    max_history: int
    max_conflicts: int
    max_bytes: int
    max_fields: int
    signing_key: bytes | None
    max_pending_bytes: int | None
    shards: int | None


class WorkerOptions(TypedDict, total=False):
    """Keyword arguments of CloudWorker."""

    group: str
    consumer: str | None
    batch_size: int
    claim_idle_seconds: float
    max_deliveries: int
    keys: Keys | None
    push: Sequence[str]
    pull: Sequence[str]
    urgent: Sequence[str]
    poll_interval_seconds: float
    max_bytes_per_second: float | None
    may_change_cloud: bool
    shards: int | None


class WatchOptions(TypedDict, total=False):
    """Keyword arguments of HealthWatch."""

    heartbeat_timeout_seconds: float
    interval_seconds: float | None
    lease_seconds: float | None
    retention_seconds: float | None
    max_history: int
    max_transitions: int
    detector: Detector
    phi_threshold: float
    flap_detector: FlapThresholds | FlapRate | None
    flap_rate: FlapRate | None
    suspicion_seconds: float
    mass_outage_seconds: float | None
    confirm: Callable[[str], Awaitable[object] | object] | None
    shards: int | None


def check_options(owner: str, options: Mapping[str, Any], kind: type) -> None:
    """Refuse options that ``kind``, one of the classes above, does not have.

    Raises:
        InvalidTypeError: there is such an option; the message has the one that was probably meant.

    """
    for name in options:
        if name not in kind.__annotations__:
            close = difflib.get_close_matches(str(name), kind.__annotations__, 1)
            meant = f"; did you mean {close[0]!r}?" if close else f": it has {', '.join(kind.__annotations__)}"
            raise InvalidTypeError(f"{owner} has no option {name!r}{meant}")


def watch_options(health: HealthOptions) -> WatchOptions:
    """Return the arguments of a HealthMonitor that a HealthWatch of the same nodes has to share."""
    shared = {name: value for name, value in health.items() if name in WatchOptions.__annotations__}
    return cast("WatchOptions", shared)
