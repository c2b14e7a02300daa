"""Prometheus and OpenMetrics: a collector for ``prometheus_client``, and an HTTP endpoint of its own.

    from edge_redis.exporters.prometheus import Endpoint, EdgeCollector

    with Endpoint(EdgeCollector(metrics=metrics, cache=cache), port=9464):
        ...

Needs the extra ``edge-redis[prometheus]``. The values are those of the whole namespace, read
from Redis at every scrape: scrape one process of a site, not each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from edge_redis._core import validation
from edge_redis.errors import MissingExtraError

try:
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:  # pragma: no cover -- the tests install it
    raise MissingExtraError("this exporter needs prometheus_client: pip install 'edge-redis[prometheus]'") from error

from edge_redis._services.blocking.cache import EdgeCache
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis._services.blocking.metrics import EdgeMetrics
from edge_redis._services.blocking.sync import EdgeSynchronizer
from edge_redis.exporters._readings import BOUNDS_MS, Histogram, Reading, Sources, read_or_none

_BOUNDS: Final = [repr(bound / 1000.0) for bound in BOUNDS_MS]


class EdgeCollector(Collector):
    """Reads the services given whenever it is collected; synchronizers by their scopes.

    ``edge_redis_up`` is 0, and nothing else is there, where the store could not be read.

    Args:
        metrics: the invocations to export; None leaves them out.
        cache: the cache whose statistics are exported; None leaves them out.
        health: the monitor whose nodes are exported; None leaves them out.
        synchronizers: synchronizers to export, by their scopes.

    """

    def __init__(
        self,
        *,
        metrics: EdgeMetrics | None = None,
        cache: EdgeCache | None = None,
        health: HealthMonitor | None = None,
        synchronizers: Mapping[str, EdgeSynchronizer] | None = None,
    ) -> None:
        self._sources = Sources(metrics, cache, health, synchronizers or {})

    def collect(self) -> Iterator[Metric]:
        """Return what the services know now."""
        found = read_or_none(self._sources)
        yield GaugeMetricFamily("edge_redis_up", "Whether the store could be read.", int(found is not None))
        yield from map(_family, found or [])

    def exposition(self) -> str:
        """Return what the services know now in Prometheus' text format."""
        return generate_latest(_registry(self)).decode()


def _registry(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


def _family(reading: Reading) -> Metric:
    names = list(reading.samples[0].labels) if reading.samples else []
    kind = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
    family: Any = kind[reading.kind](reading.name, reading.help, labels=names)
    for sample in reading.samples:
        labels = [sample.labels[name] for name in names]
        if isinstance(sample.value, Histogram):
            family.add_metric(labels, _buckets(sample.value), sample.value.sum_seconds)
        else:
            family.add_metric(labels, sample.value)
    result: Metric = family
    return result


def _buckets(histogram: Histogram) -> list[tuple[str, int]]:
    return [*zip(_BOUNDS, histogram.cumulative, strict=True), ("+Inf", histogram.count)]


class Endpoint:
    """Serves ``/metrics`` over HTTP from a thread, until it is closed.

    Args:
        collector: what is served.
        port: 0 takes a free one; see ``port``.
        host: the address to listen on; the default lets this machine alone connect.

    Raises:
        InvalidArgumentError, InvalidTypeError: the port cannot be one.
        OSError: the address cannot be used.

    """

    def __init__(self, collector: EdgeCollector, *, port: int = 9464, host: str = "127.0.0.1") -> None:
        validation.integer("port", port, least=0, most=65_535)
        self._server, self._thread = start_http_server(port, host, _registry(collector))
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop serving. Closing again does nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
