"""What goes out through the OpenTelemetry SDK is what the services say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Maker
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)

from edge_redis import EdgeNode, InvalidTypeError
from edge_redis._core.sketch import percentile
from edge_redis.exporters.opentelemetry import SCALE, EdgeExporter
from support.metrics import WITHIN, exact_percentile, made
from support.servers import Backend


class Kept(MetricExporter):
    """Keeps what was exported."""

    def __init__(self) -> None:
        super().__init__()
        self.data: list[Any] = []
        self.ended = False

    def export(self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        self.data.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.ended = True


@pytest.fixture
def make(backend: Backend) -> Iterator[Maker]:
    """The exporter reads the blocking services."""
    maker = Maker(backend, "blocking")
    yield maker
    maker.close()


def exported(**services: Any) -> tuple[dict[str, Any], Kept]:
    """Return the last export's metrics by name."""
    kept = Kept()
    exporter = EdgeExporter(kept, **services)
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))])
    exporter.observe(provider)
    provider.get_meter("users").create_counter("own").add(3)
    provider.force_flush()
    provider.shutdown()
    assert kept.ended
    (resource,) = kept.data[0].resource_metrics
    return {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}, kept


def points(metric: Any) -> dict[tuple[str, ...], Any]:
    return {
        tuple(value for name, value in point.attributes.items() if name != "namespace"): point
        for point in metric.data.data_points
    }


def test_counters_and_histograms_are_those_of_the_metrics(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    durations = [0.0, *(0.5 * 1.07**at for at in range(150))]
    metrics.record_many(made("f", "n", ms, ok=at % 5 > 0) for at, ms in enumerate(durations))
    metrics.record_many([made("g", "n", 2.0)] * 3)
    found, _ = exported(metrics=metrics)
    total, errors = points(found["edge_invocations"]), points(found["edge_invocation_errors"])
    assert {pair: point.value for pair, point in total.items()} == {("f", "n"): 151, ("g", "n"): 3}
    assert errors["f", "n"].value == metrics.error_count("n", "f")
    data = found["edge_invocations"].data
    assert (data.is_monotonic, data.aggregation_temporality) == (True, AggregationTemporality.CUMULATIVE)
    histogram = points(found["edge_invocation_duration"])["f", "n"]
    assert found["edge_invocation_duration"].unit == "ms"
    assert (histogram.count, histogram.scale, histogram.zero_count) == (151, SCALE, 1)
    assert histogram.sum == pytest.approx(sum(durations))
    assert (histogram.max, histogram.min) == (max(durations), None)
    offset = histogram.positive.offset
    buckets = {offset + at: count for at, count in enumerate(histogram.positive.bucket_counts) if count}
    assert sum(buckets.values()) == 150
    base = 2 ** (2**-SCALE)
    for index, count in buckets.items():  # as the OpenTelemetry data model defines them
        assert sum(base**index < ms * (1 + 1e-12) and ms <= base ** (index + 1) for ms in durations) == count
    assert abs(percentile(99, buckets) - exact_percentile(99, durations[1:])) <= WITHIN * durations[-1]
    assert found["own"].data.data_points[0].value == 3
    assert points(found["edge_redis_up"])[()].value == 1


def test_gauges_of_health_cache_and_sync(make: Maker) -> None:
    cache, health, synchronizer = make("EdgeCache"), make("HealthMonitor"), make("EdgeSynchronizer", scope="room")
    cache.put("k", 1)
    health.register(EdgeNode("a", "a"))
    synchronizer.update_local({"x": 1})
    found, _ = exported(cache=cache, health=health, synchronizers={"room": synchronizer})
    assert points(found["edge_cache_size"])[()].value == 1
    assert points(found["edge_node_up"])["a",].value == 1
    assert found["edge_node_heartbeat_age_seconds"].unit == "s"
    assert points(found["edge_sync_pending_changes"])["room",].value == 1


def test_a_store_that_is_away_is_down_and_no_error(servers: Any) -> None:
    maker = Maker(servers.backend("fakeredis"), "blocking")
    metrics = maker("EdgeMetrics")
    maker.backend.fake.connected = False
    found, _ = exported(metrics=metrics)
    assert points(found["edge_redis_up"])[()].value == 0
    assert set(found) == {"edge_redis_up", "own"}
    maker.backend.fake.connected = True
    maker.close()


def test_start_times_are_when_counts_began_in_every_exporter(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    before = time.time_ns()
    metrics.record_many([made()] * 3)
    for name in ("edge_invocations", "edge_invocation_duration"):
        first, second = (points(exported(metrics=metrics)[0][name])["f", "n"] for _ in range(2))
        assert before - 10**6 <= first.start_time_unix_nano == second.start_time_unix_nano <= time.time_ns()
        assert first.start_time_unix_nano <= first.time_unix_nano
    start = first.start_time_unix_nano
    metrics.reset()
    metrics.record(made())
    after = points(exported(metrics=metrics)[0]["edge_invocations"])["f", "n"]
    assert (after.value, after.start_time_unix_nano > start) == (1, True)


def test_start_times_that_are_not_known_are_exported_as_unknown(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.get("k")
    found, _ = exported(cache=cache)
    assert points(found["edge_cache_misses"])[()].start_time_unix_nano == 0


def test_a_clock_behind_the_server_s_gives_no_start_after_the_time(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = make("EdgeMetrics")
    metrics.record(made())
    monkeypatch.setattr("edge_redis.exporters.opentelemetry.time.time_ns", lambda: 10**18)
    point = points(exported(metrics=metrics)[0]["edge_invocations"])["f", "n"]
    assert point.start_time_unix_nano == point.time_unix_nano == 10**18


def test_what_is_no_exporter_of_the_sdk_is_refused() -> None:
    wrapped: Any = None
    with pytest.raises(InvalidTypeError):
        EdgeExporter(wrapped)
