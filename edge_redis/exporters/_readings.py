"""What is exported, before it takes the form of any system.

Names follow Prometheus' conventions: base units, seconds and ratios among them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from edge_redis._services.blocking.cache import EdgeCache
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis._services.blocking.metrics import EdgeMetrics
from edge_redis._services.blocking.sync import EdgeSynchronizer
from edge_redis.errors import EdgeRedisError
from edge_redis.models import EdgeNodeStatus

BOUNDS_MS: Final = tuple(2.0**power for power in range(-3, 23))
"""Upper bounds of exported histograms, from an eighth of a millisecond to 70 minutes.

Powers of two are bounds of the sketch's own buckets, so the counts are exact.
"""

_log: Final = logging.getLogger("edge_redis")
_MS: Final = 1000.0
_CACHE_COUNTERS: Final = ("hits", "misses", "evictions", "expirations")
_SYNC_GAUGES: Final = ("local_version", "remote_version", "pending_changes")


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations: how many were up to each of ``BOUNDS_MS``, how many in all, their sum, and the sketch's buckets."""

    cumulative: Sequence[int]
    count: int
    sum_seconds: float
    buckets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value and what it is of."""

    labels: Mapping[str, str]
    value: float | Histogram


@dataclass(frozen=True, slots=True)
class Reading:
    """Samples of one name. A counter's name is without the suffix that a system gives it."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    samples: list[Sample] = field(default_factory=list)

    def add(self, value: float | Histogram, **labels: str) -> None:
        """Add a sample."""
        self.samples.append(Sample(labels, value))


Readings: TypeAlias = Iterator[Reading]


@dataclass(frozen=True, slots=True)
class Sources:
    """The services that are read; any of them may be missing."""

    metrics: EdgeMetrics | None = None
    cache: EdgeCache | None = None
    health: HealthMonitor | None = None
    synchronizers: Mapping[str, EdgeSynchronizer] = field(default_factory=dict)
    """By their scopes."""

    def read(self) -> Readings:
        """Read every service that is there."""
        if self.metrics is not None:
            yield from _of_metrics(self.metrics)
        if self.cache is not None:
            yield from _of_cache(self.cache)
        if self.health is not None:
            yield from _of_health(self.health)
        if self.synchronizers:
            yield from _of_synchronizers(self.synchronizers)


def read_or_none(sources: Sources) -> list[Reading] | None:
    """Read every service; None, and a line in the log, where the store cannot be read."""
    try:
        return list(sources.read())
    except EdgeRedisError as error:
        _log.warning("nothing to export: %s", error)
        return None


def _of_metrics(metrics: EdgeMetrics) -> Readings:
    total = Reading("edge_invocations", "Invocations of a function on a node.", "counter")
    errors = Reading("edge_invocation_errors", "Invocations that failed.", "counter")
    seconds = Reading("edge_invocation_duration_seconds", "Durations of invocations.", "histogram")
    for (function_id, node_id), series in metrics.snapshot().items():
        labels = {"function": function_id, "node": node_id}
        total.add(series.count, **labels)
        errors.add(series.errors, **labels)
        count = sum(series.buckets.values())
        histogram = Histogram(series.count_up_to(BOUNDS_MS), count, series.sum_ms / _MS, series.buckets)
        seconds.add(histogram, **labels)
    known = metrics.stats()
    overflow = Reading("edge_invocations_overflow", "Invocations counted under _other for want of series.", "counter")
    overflow.add(known["overflow"])
    series_kept = Reading("edge_invocation_series", "Pairs of a function and a node that are counted.", "gauge")
    series_kept.add(known["series"])
    yield from (total, errors, seconds, overflow, series_kept)


def _of_cache(cache: EdgeCache) -> Readings:
    known: Mapping[str, Any] = cache.stats()
    for name in _CACHE_COUNTERS:
        counter = Reading(f"edge_cache_{name}", f"Cache {name}, of all processes.", "counter")
        counter.add(known[name])
        yield counter
    for name, text in (("size", "Live entries."), ("max_size", "Entries that the cache may hold.")):
        gauge = Reading(f"edge_cache_{name}", text, "gauge")
        gauge.add(known[name])
        yield gauge


def _of_health(health: HealthMonitor) -> Readings:
    stale = set(health.stale())
    nodes = health.nodes()
    by_status = Reading("edge_nodes", "Registered nodes by status.", "gauge")
    for status in EdgeNodeStatus:
        by_status.add(sum(node.status == status for node in nodes), status=str(status))
    up = Reading("edge_node_up", "1 where the heartbeat is in time and the node is not offline.", "gauge")
    age = Reading("edge_node_heartbeat_age_seconds", "Age of the last heartbeat.", "gauge")
    for node in nodes:
        up.add(float(node.id not in stale and node.status != EdgeNodeStatus.OFFLINE), node=node.id)
        age.add(node.seconds_since_heartbeat, node=node.id)
    yield from (by_status, up, age)


def _of_synchronizers(synchronizers: Mapping[str, EdgeSynchronizer]) -> Readings:
    gauges = {name: Reading(f"edge_sync_{name}", f"The {name.replace('_', ' ')}.", "gauge") for name in _SYNC_GAUGES}
    synced = Reading("edge_sync_synced", "1 where nothing is pending and the versions are equal.", "gauge")
    for scope, synchronizer in synchronizers.items():
        known: Mapping[str, Any] = synchronizer.summary()
        for name, gauge in gauges.items():
            gauge.add(known[name], scope=scope)
        synced.add(float(known["is_synced"]), scope=scope)
    yield from (*gauges.values(), synced)
