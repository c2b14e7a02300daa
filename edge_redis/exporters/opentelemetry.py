"""OpenTelemetry: spans of calls (``EdgeTracer``), and metrics of the services beside those of an SDK's reader.

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

from edge_redis._core import validation
from edge_redis._core.public import publish
from edge_redis.errors import MissingExtraError

try:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.sdk.metrics import export as sdk
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
except ImportError as error:  # pragma: no cover -- the tests install it
    raise MissingExtraError("this exporter needs the SDK: pip install 'edge-redis[opentelemetry]'") from error

from edge_redis._core.sketch import BUCKETS_PER_DOUBLING, ZERO_INDEX
from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis._services.blocking.cache import EdgeCache
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis._services.blocking.health_relay import TransitionRelay
from edge_redis._services.blocking.health_watch import HealthWatch
from edge_redis._services.blocking.metrics import EdgeMetrics
from edge_redis._services.blocking.sync import EdgeSynchronizer
from edge_redis._services.blocking.worker import CloudWorker
from edge_redis.exporters._deadline import TimedRead
from edge_redis.exporters._families import MetricFamily, Sample
from edge_redis.exporters._sources import Sources
from edge_redis.exporters._spans import EdgeTracer

__all__ = ["SCALE", "EdgeExporter", "EdgeTracer"]

SCALE: Final = BUCKETS_PER_DOUBLING.bit_length() - 1
"""Of the exponential histograms: 2^5 buckets a doubling."""

_CUMULATIVE: Final = sdk.AggregationTemporality.CUMULATIVE
_NAME: Final = "edge_redis"
_NS_PER_MS: Final = 1_000_000


class EdgeExporter(sdk.MetricExporter):
    """Exports through another exporter, with the readings of the services given beside the SDK's own metrics.

    All services must be blocking ones. Where the store cannot be read within ``timeout_seconds``
    the gauge ``edge_redis_up`` is 0 and nothing of the services is added. Counters are cumulative.
    Their start time is when they began at zero, which is kept in Redis: it is the same in every
    exporter, and later after a reset. It is 0, which OpenTelemetry defines as unknown, for the
    counters of the cache, of relays and of workers.

    Args:
        exporter: the exporter through which everything is sent.
        metrics: its counts and durations by function and node.
        cache: its counts.
        health: the state of every node, and its heartbeat's age by the server's clock.
        synchronizers: by their scopes.
        edge: a bundle whose scopes are exported: the 1,000 with the most pending changes.
        worker: lag, waiting changes and dead letters of the namespace.
        watch: whether this process's watch leads.
        relays: deliveries and drops, by the relays' names.
        timeout_seconds: the time after which a read is given up.

    Raises:
        InvalidTypeError: the exporter is none of the SDK's, or a service is of another class, such as that of
            ``edge_redis.aio``.

    """

    def __init__(
        self,
        exporter: sdk.MetricExporter,
        *,
        metrics: EdgeMetrics | None = None,
        cache: EdgeCache | None = None,
        health: HealthMonitor | None = None,
        synchronizers: Mapping[str, EdgeSynchronizer] | None = None,
        edge: EdgeRedis | None = None,
        worker: CloudWorker | None = None,
        watch: HealthWatch | None = None,
        relays: Mapping[str, TransitionRelay] | None = None,
        timeout_seconds: float = 3.0,
    ) -> None:
        validation.check_instance("exporter", exporter, sdk.MetricExporter)
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)  # noqa: SLF001 -- as wrapped
        self._exporter = exporter
        sources = Sources(metrics, cache, health, synchronizers or {}, edge, worker, watch, relays or {})
        self._timeout_seconds = validation.check_positive("timeout_seconds", timeout_seconds)
        self._read = TimedRead(sources.read)
        self._found: list[MetricFamily] = []

    def observe(self, provider: MeterProvider) -> None:
        """Have the provider ask for ``edge_redis_up`` whenever it collects; the services are read then."""
        meter = provider.get_meter(_NAME)
        meter.create_observable_gauge("edge_redis_up", [self._observe], description="Whether the store could be read.")

    def _observe(self, options: CallbackOptions) -> Iterable[Observation]:
        found = self._read(min(self._timeout_seconds, options.timeout_millis / 1000.0))
        self._found = found or []
        return [Observation(int(found is not None))]

    def export(self, metrics_data: sdk.MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> Any:
        """Export the SDK's metrics and the services'."""
        found, self._found = self._found, []
        if found:
            first, *others = metrics_data.resource_metrics
            scope = sdk.ScopeMetrics(InstrumentationScope(_NAME), _metrics(found), "")
            metrics_data = sdk.MetricsData([replace(first, scope_metrics=[*first.scope_metrics, scope]), *others])
        return self._exporter.export(metrics_data, timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Call the wrapped exporter."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Shut the wrapped exporter down. The services stay open."""
        self._exporter.shutdown(timeout_millis, **kwargs)


def _metrics(found: Iterable[MetricFamily]) -> list[sdk.Metric]:
    now = time.time_ns()
    return [_metric(family, now) for family in found if family.samples]


def _metric(family: MetricFamily, now: int) -> sdk.Metric:
    if family.kind == "histogram":
        points = [_histogram(sample, now) for sample in family.samples]
        name = family.name.removesuffix("_seconds")
        return sdk.Metric(name, family.help, "ms", sdk.ExponentialHistogram(points, _CUMULATIVE))
    numbers = [_number(sample, now) for sample in family.samples]
    is_sum = family.kind == "counter"
    data = sdk.Sum(numbers, _CUMULATIVE, is_monotonic=True) if is_sum else sdk.Gauge(numbers)
    return sdk.Metric(family.name, family.help, "s" if family.name.endswith("_seconds") else "1", data)


def _times(sample: Sample, now: int) -> tuple[int, int]:
    """Return a sample's start time and time: the start is the server's clock's, which may be ahead of this one."""
    started = 0 if sample.started_ms is None else sample.started_ms * _NS_PER_MS
    return min(started, now), now


def _number(sample: Sample, now: int) -> sdk.NumberDataPoint:
    value: Any = sample.value
    return sdk.NumberDataPoint(sample.labels, *_times(sample, now), value)


def _histogram(sample: Sample, now: int) -> sdk.ExponentialHistogramDataPoint:
    series: Any = sample.value
    counts = {index: count for index, count in series.buckets.items() if index != ZERO_INDEX}
    lowest, highest = (min(counts), max(counts)) if counts else (0, -1)
    started, _ = _times(sample, now)
    unknown: Any = None  # optional in the protocol: the shortest duration is not kept
    return sdk.ExponentialHistogramDataPoint(
        attributes=sample.labels,
        start_time_unix_nano=started,
        time_unix_nano=now,
        count=sum(series.buckets.values()),
        sum=series.sum_ms,
        scale=SCALE,
        zero_count=series.buckets.get(ZERO_INDEX, 0),
        positive=sdk.Buckets(lowest, [counts.get(index, 0) for index in range(lowest, highest + 1)]),
        negative=sdk.Buckets(0, []),
        flags=0,
        min=unknown,
        max=series.max_ms,
    )


publish(__name__, globals(), __all__)
