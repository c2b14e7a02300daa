"""Prometheus and OpenMetrics: a collector for ``prometheus_client``, and an HTTP endpoint of its own.

    from edge_redis.exporters.prometheus import Endpoint, EdgeCollector

    with Endpoint(EdgeCollector(metrics=metrics, cache=cache), port=9464):
        ...

Needs the extra ``edge-redis[prometheus]``. The values are those of the whole namespace, read
from Redis at every scrape: scrape one process of a site, not each of them.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any, Final, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from edge_redis._core import validation
from edge_redis.errors import MissingExtraError

try:
    from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:  # pragma: no cover -- the tests install it
    raise MissingExtraError("this exporter needs prometheus_client: pip install 'edge-redis[prometheus]'") from error

from edge_redis._metrics.series import Series
from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis._services.blocking.cache import EdgeCache
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis._services.blocking.health_relay import TransitionRelay
from edge_redis._services.blocking.health_watch import HealthWatch
from edge_redis._services.blocking.metrics import EdgeMetrics
from edge_redis._services.blocking.sync import EdgeSynchronizer
from edge_redis._services.blocking.worker import CloudWorker
from edge_redis.exporters._deadline import TimedRead
from edge_redis.exporters._families import MetricFamily
from edge_redis.exporters._sources import Sources

_FINEST, _FINE_FROM, _FINE_TO, _COARSEST = -3, 0, 14, 22
_QUARTERS: Final = 4


def _default_bounds() -> Iterator[float]:
    """Yield powers of two from an eighth of a millisecond to 70 minutes, and quarters between 1 ms and 16 s."""
    for power in range(_FINEST, _COARSEST + 1):
        yield 2.0**power / 1000.0
        if _FINE_FROM <= power < _FINE_TO:
            for quarter in range(1, _QUARTERS):
                yield float(f"{2.0 ** (power + quarter / _QUARTERS) / 1000.0:.6g}")


DEFAULT_BOUNDS_SECONDS: Final = tuple(_default_bounds())
"""Upper bounds of exported histograms, which are bounds of the sketch, so that counts are exact.

A quantile that Prometheus interpolates between them is within 10% from 1 ms to 16 s, and mostly within 3%.
"""

_UP: Final = ("edge_redis_up", "Whether the store could be read.")
_HEADER: Final = "HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS"
_SHARE_OF_SCRAPE: Final = 0.7
_MAX_TIMEOUT_SECONDS: Final = 3600.0

_MAX_IDLE_SECONDS: Final = 10.0
"""After which a connection is closed that sends no request: each has a thread."""


class EdgeCollector(Collector):
    """Reads the services given whenever it is collected. All must be blocking ones.

    ``edge_redis_up`` is 0, and nothing else is exported, where the store could not be read within
    ``timeout_seconds``. Every other series has the label ``namespace``.

    Args:
        metrics: its counts and durations by function and node.
        cache: its counts.
        health: the state of every node, and its heartbeat's age by the server's clock.
        synchronizers: by their scopes.
        edge: a bundle whose scopes are exported, the 1,000 with the most pending changes, and of whose namespace the
            leading watch and, where no ``relays`` are given, all relays.
        worker: lag, waiting changes and dead letters of the namespace.
        watch: whether this process's watch leads.
        relays: deliveries and drops, by the relays' names.
        bounds_seconds: upper bounds of the histogram of durations, ascending; each is moved to the
            nearest bound of the sketch, by 1.1% at most, for counting.
        timeout_seconds: the time after which a read is given up; a scrape's own timeout may be shorter.

    Raises:
        InvalidTypeError: a service is of another class, such as that of ``edge_redis.aio``.

    """

    def __init__(
        self,
        *,
        metrics: EdgeMetrics | None = None,
        cache: EdgeCache | None = None,
        health: HealthMonitor | None = None,
        synchronizers: Mapping[str, EdgeSynchronizer] | None = None,
        edge: EdgeRedis | None = None,
        worker: CloudWorker | None = None,
        watch: HealthWatch | None = None,
        relays: Mapping[str, TransitionRelay] | None = None,
        bounds_seconds: Sequence[float] = DEFAULT_BOUNDS_SECONDS,
        timeout_seconds: float = 3.0,
    ) -> None:
        sources = Sources(metrics, cache, health, synchronizers or {}, edge, worker, watch, relays or {})
        self._bounds_ms = [bound * 1000.0 for bound in _validate_bounds(bounds_seconds)]
        self._labels = [repr(float(bound)) for bound in bounds_seconds]
        self._timeout_seconds = validation.check_positive("timeout_seconds", timeout_seconds)
        self._read = TimedRead(sources.read)

    def describe(self) -> Iterable[Metric]:
        """Return the name by which a registry refuses a second collector, which would export the same series."""
        return [GaugeMetricFamily(*_UP)]

    def collect(self) -> Iterator[Metric]:
        """Return the current values of the services."""
        return self.collect_within(self._timeout_seconds)

    def collect_within(self, timeout_seconds: float) -> Iterator[Metric]:
        """Return the current values of the services; only ``edge_redis_up`` 0 if they cannot be read in this time."""
        found = self._read(min(timeout_seconds, self._timeout_seconds))
        yield GaugeMetricFamily(*_UP, int(found is not None))
        yield from map(self._to_prometheus, found or [])

    def exposition(self) -> str:
        """Return the current values of the services in Prometheus' text format."""
        return generate_latest(_registry(self)).decode()

    def _to_prometheus(self, family: MetricFamily) -> Metric:
        names = list(family.samples[0].labels) if family.samples else []
        kind = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
        made: Any = kind[family.kind](family.name, family.help, labels=names)
        for sample in family.samples:
            labels = [sample.labels[name] for name in names]
            if isinstance(sample.value, Series):
                made.add_metric(labels, self._buckets(sample.value), sample.value.sum_ms / 1000.0)
            else:
                made.add_metric(labels, sample.value)
        result: Metric = made
        return result

    def _buckets(self, series: Series) -> list[tuple[str, int]]:
        counts = series.count_up_to(self._bounds_ms)
        return [*zip(self._labels, counts, strict=True), ("+Inf", sum(series.buckets.values()))]


def _validate_bounds(bounds: object) -> Sequence[float]:
    if isinstance(bounds, (str, bytes)) or not isinstance(bounds, Sequence) or not bounds:
        raise validation.type_error("bounds_seconds", bounds, "a sequence of seconds, not empty")
    checked = [validation.check_positive("bounds_seconds", bound) for bound in bounds]
    if any(later <= earlier for earlier, later in pairwise(checked)):
        raise validation.value_error("bounds_seconds", bounds, "must ascend")
    return checked


def _registry(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


class _Scrape(Collector):
    """A collector's answer to one scrape."""

    def __init__(self, collector: EdgeCollector, timeout_seconds: float) -> None:
        self._collector = collector
        self._timeout_seconds = timeout_seconds

    def collect(self) -> Iterator[Metric]:
        """Return the current values of the services."""
        return self._collector.collect_within(self._timeout_seconds)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback for a client that left before its answer, as a scraper does that gave up."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(WSGIRequestHandler):
    timeout = _MAX_IDLE_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name of the base class
        """Log no requests."""


class Endpoint:
    """Serves ``/metrics`` over HTTP from a thread, until it is closed.

    Answers within 0.7 of the scrape's own timeout, which Prometheus sends in a header, or within
    the collector's ``timeout_seconds`` where that is less.

    Args:
        collector: the collector to serve.
        port: 0 takes a free one; see ``port``.
        host: the address to listen on; the default lets this machine alone connect.

    Raises:
        InvalidArgumentError, InvalidTypeError: an argument is not valid.
        OSError: the address cannot be used.

    """

    def __init__(self, collector: EdgeCollector, *, port: int = 9464, host: str = "127.0.0.1") -> None:
        validation.check_instance("collector", collector, EdgeCollector)
        validation.check_integer("port", port, least=0, most=65_535)
        validation.check_text("host", host)

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            scrape = _Scrape(collector, _scrape_timeout(environ.get(_HEADER, "")))
            body: Iterable[bytes] = make_wsgi_app(_registry(scrape))(environ, start_response)
            return body

        self._server = make_server(host, port, answer, _Server, _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="edge-redis-endpoint", daemon=True)
        self._thread.start()
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


def _scrape_timeout(header: str) -> float:
    """Return the seconds that a scrape may take, by its header; unbounded without a usable one."""
    try:
        seconds = float(header)
    except ValueError:
        return _MAX_TIMEOUT_SECONDS
    return seconds * _SHARE_OF_SCRAPE if 0 < seconds < math.inf else _MAX_TIMEOUT_SECONDS
