"""OpenTelemetry: what the services know, added to what an SDK's reader exports.

    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = EdgeExporter(OTLPMetricExporter(), metrics=metrics, health=health)
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=15_000)])
    exporter.observe(provider)

The interval, the resource, the retries and the end are the SDK's. Durations go out as exponential
histograms at scale 5, whose buckets are the sketch's own, so that nothing is lost on the way. Needs
the extra ``edge-redis[opentelemetry]``. The values are those of the whole namespace: export them
from one process of a site, not from each.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from edge_redis.errors import MissingExtraError

try:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.sdk.metrics import export as sdk
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
except ImportError as error:  # pragma: no cover -- the tests install it
    raise MissingExtraError("this exporter needs the SDK: pip install 'edge-redis[opentelemetry]'") from error

from edge_redis._metrics.sketch import BUCKETS_PER_DOUBLING, ZERO_INDEX, bucket_value
from edge_redis._services.blocking.cache import EdgeCache
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis._services.blocking.metrics import EdgeMetrics
from edge_redis._services.blocking.sync import EdgeSynchronizer
from edge_redis.exporters._readings import Histogram, Reading, Sources, read_or_none

SCALE: Final = BUCKETS_PER_DOUBLING.bit_length() - 1
"""Of the exponential histograms: 2^5 buckets a doubling."""

_CUMULATIVE: Final = sdk.AggregationTemporality.CUMULATIVE
_NAME: Final = "edge_redis"


class EdgeExporter(sdk.MetricExporter):
    """Exports through another exporter, with what the services given know put beside the SDK's own metrics.

    Where the store cannot be read the gauge ``edge_redis_up`` is 0 and nothing of the services is
    added. Counters are cumulative from the time that this object was made.

    Args:
        exporter: the exporter that everything is sent with.
        metrics: the invocations to export; None leaves them out.
        cache: the cache whose statistics are exported; None leaves them out.
        health: the monitor whose nodes are exported; None leaves them out.
        synchronizers: synchronizers to export, by their scopes.

    """

    def __init__(
        self,
        exporter: sdk.MetricExporter,
        *,
        metrics: EdgeMetrics | None = None,
        cache: EdgeCache | None = None,
        health: HealthMonitor | None = None,
        synchronizers: Mapping[str, EdgeSynchronizer] | None = None,
    ) -> None:
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)  # noqa: SLF001 -- as wrapped
        self._exporter = exporter
        self._sources = Sources(metrics, cache, health, synchronizers or {})
        self._began = time.time_ns()
        self._found: list[Reading] = []

    def observe(self, provider: MeterProvider) -> None:
        """Have the provider ask for ``edge_redis_up`` whenever it collects; the services are read then."""
        meter = provider.get_meter(_NAME)
        meter.create_observable_gauge("edge_redis_up", [self._read], description="Whether the store could be read.")

    def _read(self, _: CallbackOptions) -> Iterable[Observation]:
        found = read_or_none(self._sources)
        self._found = found or []
        return [Observation(int(found is not None))]

    def export(self, metrics_data: sdk.MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> Any:
        """Export the SDK's metrics and the services'."""
        found, self._found = self._found, []
        if found:
            first, *others = metrics_data.resource_metrics
            scope = sdk.ScopeMetrics(InstrumentationScope(_NAME), self._metrics(found), "")
            metrics_data = sdk.MetricsData([replace(first, scope_metrics=[*first.scope_metrics, scope]), *others])
        return self._exporter.export(metrics_data, timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Pass it on."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Pass it on. The services stay open."""
        self._exporter.shutdown(timeout_millis, **kwargs)

    def _metrics(self, found: Iterable[Reading]) -> list[sdk.Metric]:
        now = time.time_ns()
        return [self._metric(reading, now) for reading in found if reading.samples]

    def _metric(self, reading: Reading, now: int) -> sdk.Metric:
        times = (self._began, now)
        if reading.kind == "histogram":
            points = [_histogram(sample.labels, sample.value, times) for sample in reading.samples]
            name = reading.name.removesuffix("_seconds")
            return sdk.Metric(name, reading.help, "ms", sdk.ExponentialHistogram(points, _CUMULATIVE))
        numbers = [_number(sample.labels, sample.value, times) for sample in reading.samples]
        is_sum = reading.kind == "counter"
        data = sdk.Sum(numbers, _CUMULATIVE, is_monotonic=True) if is_sum else sdk.Gauge(numbers)
        return sdk.Metric(reading.name, reading.help, "s" if reading.name.endswith("_seconds") else "1", data)


def _number(labels: Mapping[str, str], value: Any, times: tuple[int, int]) -> sdk.NumberDataPoint:
    return sdk.NumberDataPoint(labels, *times, value)


def _histogram(labels: Mapping[str, str], value: Any, times: tuple[int, int]) -> sdk.ExponentialHistogramDataPoint:
    known: Histogram = value
    counts = {index: count for index, count in known.buckets.items() if index != ZERO_INDEX}
    lowest, highest = (min(counts), max(counts)) if counts else (0, -1)
    edges = sorted(known.buckets)
    return sdk.ExponentialHistogramDataPoint(
        attributes=labels,
        start_time_unix_nano=times[0],
        time_unix_nano=times[1],
        count=known.count,
        sum=known.sum_seconds * 1000.0,
        scale=SCALE,
        zero_count=known.buckets.get(ZERO_INDEX, 0),
        positive=sdk.Buckets(lowest, [counts.get(index, 0) for index in range(lowest, highest + 1)]),
        negative=sdk.Buckets(0, []),
        flags=0,
        min=bucket_value(edges[0]) if edges else 0.0,
        max=bucket_value(edges[-1]) if edges else 0.0,
    )
