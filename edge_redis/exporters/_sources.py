"""The services that an exporter reads, and the metric families of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from edge_redis._core import validation
from edge_redis._health.leader_state import read_leader, read_relays
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._metrics.series import Series
from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis._services.blocking.cache import EdgeCache
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis._services.blocking.health_relay import TransitionRelay
from edge_redis._services.blocking.health_watch import HealthWatch
from edge_redis._services.blocking.metrics import EdgeMetrics
from edge_redis._services.blocking.sync import EdgeSynchronizer
from edge_redis._services.blocking.worker import CloudWorker
from edge_redis._sync.totals import Totals
from edge_redis.errors import CorruptDataError, EdgeRedisError, WrongKeyTypeError
from edge_redis.exporters._families import MetricFamily, counter, gauge
from edge_redis.models import EdgeNodeStatus

MAX_SCOPES: Final = 1000
"""Scopes of a bundle that are exported: those with the most pending changes."""

_log: Final = logging.getLogger("edge_redis")
_CACHE_COUNTERS: Final = ("hits", "misses", "evictions", "expirations")

_FORMS: Final[Mapping[str, Mapping[str, str]]] = {
    "up": {"splice": "splices_up", "full": "full_states_up"},
    "down": {"header": "headers_down", "splice": "splices_down", "full": "full_states_down"},
}
"""The counters of states, by their direction and form."""
_US_PER_MS: Final = 1000
_NS_PER_US: Final = 1000

Families: TypeAlias = Iterator[MetricFamily]


@dataclass(frozen=True, slots=True)
class Sources:
    """The blocking services that are read; any of them may be missing.

    Raises:
        InvalidTypeError: one of them is of another class, such as that of ``edge_redis.aio``.

    """

    metrics: EdgeMetrics | None = None
    cache: EdgeCache | None = None
    health: HealthMonitor | None = None
    synchronizers: Mapping[str, EdgeSynchronizer] = field(default_factory=dict)
    """By their scopes."""
    edge: EdgeRedis | None = None
    worker: CloudWorker | None = None
    watch: HealthWatch | None = None
    relays: Mapping[str, TransitionRelay] = field(default_factory=dict)
    """By their names."""

    def __post_init__(self) -> None:
        _check("metrics", self.metrics, EdgeMetrics)
        _check("cache", self.cache, EdgeCache)
        _check("health", self.health, HealthMonitor)
        _check("edge", self.edge, EdgeRedis)
        _check("worker", self.worker, CloudWorker)
        _check("watch", self.watch, HealthWatch)
        for name, kind in (("synchronizers", EdgeSynchronizer), ("relays", TransitionRelay)):
            services = validation.check_instance(name, getattr(self, name), Mapping)
            for service in services.values():
                _check(f"each of {name}", service, kind)

    def read(self) -> list[MetricFamily] | None:
        """Read every service; None, and a line in the log, where the store cannot be read.

        A service whose data is damaged is left out: ``edge_source_failed`` is 1 for it.
        """
        found: list[MetricFamily] = []
        failed = gauge("edge_source_failed", "1 for a service whose data in Redis does not decode.")
        for name, read in self._readers():
            try:
                found += read()
            except (CorruptDataError, WrongKeyTypeError) as error:
                _log.warning("%s is not exported: %s", name, error)
                failed.add(1, {"source": name})
            except EdgeRedisError as error:
                _log.warning("nothing to export: %s", error)
                return None
        return [*found, failed] if failed.samples else found

    def _readers(self) -> Iterator[tuple[str, Callable[[], Families]]]:
        services: list[tuple[str, Any, Callable[[Any], Families]]] = [
            ("metrics", self.metrics, _read_metrics),
            ("cache", self.cache, _read_cache),
            ("health", self.health, _read_health),
            ("worker", self.worker, _read_worker),
            ("watch", self.watch, _read_watch),
            ("leader", self.edge, self._read_leader),
        ]
        yield from ((name, partial(read, service)) for name, service, read in services if service is not None)
        if self.synchronizers or self.edge is not None:
            yield "sync", self._read_sync
        if self.relays or self.edge is not None:
            yield "relays", self._read_relays

    def _read_sync(self) -> Families:
        names = ("local_version", "remote_version", "pending_changes", "conflicts")
        gauges = {name: gauge(f"edge_sync_{name}", f"The {name.replace('_', ' ')}.") for name in names}
        synced = gauge("edge_sync_synced", "1 where nothing is pending and the versions are equal.")
        for scope, synchronizer in self.synchronizers.items():
            known: Mapping[str, Any] = synchronizer.summary()
            labels = {"namespace": synchronizer.namespace, "scope": scope}
            for name in names[:3]:
                gauges[name].add(known[name], labels)
            synced.add(float(known["is_synced"]), labels)
        if self.edge is not None:
            scopes = sorted(self.edge.scopes(), key=lambda scope: -scope["pending"])[:MAX_SCOPES]
            for scope_summary in scopes:
                labels = {"namespace": self.edge.namespace, "scope": scope_summary["scope"]}
                gauges["conflicts"].add(scope_summary["conflicts"], labels)
                if scope_summary["scope"] not in self.synchronizers:
                    gauges["local_version"].add(scope_summary["version"], labels)
                    gauges["pending_changes"].add(scope_summary["pending"], labels)
        yield from (family for family in (*gauges.values(), synced) if family.samples)

    def _read_leader(self, edge: EdgeRedis) -> Families:
        """Read which watch leads the namespace, of all processes."""
        known = BlockingRunner(edge.client).run(read_leader(edge.namespace))
        labels = {"namespace": edge.namespace}
        led = gauge("edge_watch_led", "1 where a watch leads the namespace, in any process.")
        led.add(float(known.is_led), labels)
        age = gauge("edge_watch_round_age_seconds", "Age of the last round of checks, by the server's clock.")
        if known.round_age_seconds is not None:
            age.add(known.round_age_seconds, labels)
        outage = gauge("edge_watch_mass_outage", "1 while the heartbeats of most nodes are missing.")
        if self.watch is None:  # else the watch of this process is exported with it
            outage.add(float(known.mass_outage), labels)
        yield from (family for family in (led, age, outage) if family.samples)

    def _read_relays(self) -> Families:
        families = {
            "delivered": counter("edge_relay_delivered", "Transitions delivered, by all relays of the name."),
            "dropped": counter("edge_relay_dropped", "Transitions given up, by all relays of the name."),
            "lost": counter("edge_relay_lost", "Transitions that the stream's cap removed before they were delivered."),
            "attempts": gauge("edge_relay_attempts", "Failed attempts at the transition that is due."),
        }
        for namespace, name, known in self._relay_counts():
            for key, family in families.items():
                family.add(known[key], {"namespace": namespace, "relay": name})
        yield from (family for family in families.values() if family.samples)

    def _relay_counts(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Yield namespace, name and counts of the relays given, else of all relays of the bundle's namespace."""
        for name, relay in self.relays.items():
            yield relay.namespace, name, relay.stats()
        if not self.relays and (edge := self.edge) is not None:
            for relay_state in BlockingRunner(edge.client).run(read_relays(edge.namespace)):
                yield edge.namespace, relay_state.name, asdict(relay_state)


def _check(name: str, service: object, kind: type) -> None:
    if service is not None and not isinstance(service, kind):
        raise validation.type_error(name, service, f"a blocking edge_redis.{kind.__name__}")


def _read_metrics(metrics: EdgeMetrics) -> Families:
    total = counter("edge_invocations", "Invocations of a function on a node.")
    errors = counter("edge_invocation_errors", "Invocations that failed.")
    seconds = MetricFamily("edge_invocation_duration_seconds", "Durations of invocations.", "histogram")
    of_namespace = {"namespace": metrics.namespace}
    for (function_id, node_id), series in metrics.snapshot().items():
        labels = {**of_namespace, "function": function_id, "node": node_id}
        total.add(series.count, labels, series.started_ms)
        errors.add(series.errors, labels, series.started_ms)
        seconds.add(series, labels, series.started_ms)
    known = metrics.stats()
    overflow = counter("edge_invocations_overflow", "Invocations counted under _other for want of series.")
    overflow.add(known["overflow"], of_namespace)
    series_kept = gauge("edge_invocation_series", "Pairs of a function and a node that are counted.")
    series_kept.add(known["series"], of_namespace)
    yield from (total, errors, seconds, overflow, series_kept)


def _read_cache(cache: EdgeCache) -> Families:
    known: Mapping[str, Any] = cache.stats()
    labels = {"namespace": cache.namespace}
    for name in _CACHE_COUNTERS:
        family = counter(f"edge_cache_{name}", f"Cache {name}, of all processes.")
        family.add(known[name], labels)
        yield family
    for name, text in (("size", "Live entries."), ("max_size", "Entries that the cache may hold.")):
        family = gauge(f"edge_cache_{name}", text)
        family.add(known[name], labels)
        yield family


def _read_health(health: HealthMonitor) -> Families:
    nodes = health.snapshot()
    of_namespace = {"namespace": health.namespace}
    by_status = gauge("edge_nodes", "Registered nodes by status.")
    for status in EdgeNodeStatus:
        by_status.add(sum(node.status == status for node in nodes), {**of_namespace, "status": str(status)})
    up = gauge("edge_node_up", "1 where the heartbeat is in time and the node is not offline.")
    age = gauge("edge_node_heartbeat_age_seconds", "Age of the last heartbeat, by the server's clock.")
    maintenance = gauge("edge_node_maintenance", "1 while an operator has the node in maintenance.")
    for node in nodes:
        labels = {**of_namespace, "node": node.node_id}
        up.add(float(node.healthy), labels)
        age.add(node.heartbeat_age_seconds, labels)
        maintenance.add(float(node.in_maintenance), labels)
    yield from (by_status, up, age, maintenance)


def _read_worker(worker: CloudWorker) -> Families:
    status, totals = worker.status_and_totals()
    known: Mapping[str, Any] = status
    labels = {"namespace": worker.namespace}
    pushed = counter("edge_sync_pushed_changes", "Changes that workers have brought to the cloud.")
    pushed.add(known["pushed_total"], labels)
    yield pushed
    clone = gauge("edge_sync_clone_seen", "1 where a clone of this edge wrote within the last day.")
    clone.add(float(known["clone_seen_seconds"] is not None), labels)
    yield clone
    for name, key, text in (
        ("lag_seconds", "oldest_seconds", "Age of the oldest change that the cloud has not confirmed."),
        ("scopes_waiting", "scopes_waiting", "Scopes with changes that the cloud has not confirmed."),
        ("changes_waiting", "changes_waiting", "Changes that the cloud has not confirmed."),
        ("pending_bytes", "pending_bytes", "Bytes that the changes take which the cloud has not confirmed, about."),
        ("dead_letters", "dead_letters", "Changes that workers gave up."),
    ):
        family = gauge(f"edge_sync_{name}", text)
        family.add(known[key], labels)
        yield family
    yield from _read_link(totals, labels)


def _read_link(totals: Totals, labels: Mapping[str, str]) -> Families:
    """Read what all workers of the edge have sent over their links to the cloud."""
    link = totals.link
    sizes = counter("edge_sync_link_bytes", "Bytes that workers sent to the cloud (up) and received from it (down).")
    states = counter("edge_sync_link_states", "States that went over the link, by the form that they had.")
    for direction in ("up", "down"):
        of_direction = {**labels, "direction": direction}
        sizes.add(link[f"bytes_{direction}"], of_direction)
        for form, name in _FORMS[direction].items():
            states.add(link[name], {**of_direction, "form": form})
    trips = counter("edge_sync_link_round_trips", "Round trips of workers to the cloud.")
    trips.add(link["round_trips"], labels)
    refused = counter("edge_sync_link_splices_refused", "Calls repeated because the cloud had another state.")
    refused.add(link["splices_refused"], labels)
    text = "Times from the write of a change at the edge to its confirmation there."
    seconds = MetricFamily("edge_sync_time_to_cloud_seconds", text, "histogram")
    ms, us = divmod(totals.time_us, _US_PER_MS)
    seconds.add(Series(totals.timed, ms=ms, ns=us * _NS_PER_US, buckets=totals.buckets), labels)
    yield from (sizes, states, trips, refused, seconds)


def _read_watch(watch: HealthWatch) -> Families:
    """Read whether this process's watch leads."""
    latest = watch.latest
    labels = {"namespace": watch.namespace}
    leader = gauge("edge_watch_leader", "1 where this process's watch leads.")
    leader.add(float(latest is not None and latest.leader), labels)
    outage = gauge("edge_watch_mass_outage", "1 while the heartbeats of most nodes are missing.")
    outage.add(float(latest is not None and latest.mass_outage), labels)
    yield from (leader, outage)
