"""EdgeMetrics, blocking."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Final

from edge_redis._io.runner import BlockingClient
from edge_redis._io.shared import Shared
from edge_redis._io.shutdown import new_mutex
from edge_redis._metrics.api import Metrics
from edge_redis._metrics.buffer import Buffer
from edge_redis._metrics.config import Settings
from edge_redis._services.base import Service
from edge_redis._services.bind import blocking
from edge_redis._services.track import Track
from edge_redis.models import InvocationRecord

buffers: Final[Shared[Buffer]] = Shared(lambda: Buffer(new_mutex))
"""One buffer of records for all metrics of this process, server and namespace, blocking and awaited."""


class EdgeMetrics(Service[Metrics]):
    """Counts, latencies and errors of function invocations, of all processes of a namespace.

    Records are buffered in the process and delivered every ``flush_every`` records, every
    ``flush_interval`` seconds, before every query, on ``close`` and when the interpreter ends.
    A process that is killed loses at most ``flush_every`` records (and one for each further
    thread or task that was recording), none older than ``flush_interval`` plus the time of a
    flush. While the server is away nothing is lost: what cannot be sent is added up and kept,
    in bounded memory, and counted once however often it is sent. With ``flush_every=1``
    every record is in Redis when ``record`` returns.

    Every query costs the same, however many records there were. Filters: ``function_id`` and
    ``node_id``, each None for all.

    Args:
        client: a Redis client; it stays open when the metrics are closed.
        namespace: metrics of one namespace on one server are one.
        flush_interval: seconds until records are delivered.
        flush_every: records until they are delivered.
        max_recent: records kept for ``recent``; the count may run over by up to 200.
        max_errors: failed records kept for ``errors``; the count may run over by up to 200.
        max_series: (function, node) pairs counted by name; further ones are counted under
            ``_other`` (as function and as node), totals stay exact, and ``stats`` says so.
        timeline_minutes: minutes kept for ``timeline``.
        node_id: the node that ``track`` records for; by default this machine's host name.
        slow_ms: a success that took longer counts as slow, for ``slo`` and ``timeline``; give
            every writer of a namespace the same. None: nothing is slow.

    """

    def __init__(
        self,
        client: BlockingClient,
        *,
        namespace: str = "default",
        flush_interval: float = 1.0,
        flush_every: int = 1000,
        max_recent: int = 10_000,
        max_series: int = 10_000,
        timeline_minutes: int = 1440,
        node_id: str | None = None,
        slow_ms: float | None = None,
        max_errors: int = 1000,
    ) -> None:
        settings = Settings(
            flush_interval=flush_interval,
            flush_every=flush_every,
            max_recent=max_recent,
            max_series=max_series,
            timeline_minutes=timeline_minutes,
            node_id=socket.gethostname() if node_id is None else node_id,
            slow_ms=slow_ms,
            max_errors=max_errors,
        )
        super().__init__(client, Metrics(namespace, settings))
        self._component.buffer = buffers.get(client, namespace)

    def record(self, record: InvocationRecord) -> None:
        """Count an invocation, in the minute of its timestamp; a time without a zone is taken as UTC.

        Raises:
            InvalidTypeError, InvalidArgumentError: the record is not sound; it was not taken.
            StoreError: with ``flush_every=1`` alone: the record could not be delivered. It is
                kept and counts once the server is back, so do not record it again.

        """
        room = self._component if self._engine.live else self._open_component
        if room.take(record):
            self._runner.run(room.spill())

    def record_many(self, records: Iterable[InvocationRecord]) -> None:
        """Count invocations as ``record`` does. All are checked before any is taken."""
        room = self._open_component
        if room.take_many(records):
            self._runner.run(room.spill())

    def track(self, function_id: str, node_id: str | None = None) -> Track:
        """Return what records the duration, success and error of a ``with`` block or a function.

            with metrics.track("resize"):
                ...

            @metrics.track("resize", "node-1")
            def resize(image): ...  # or a coroutine function, or a generator function

        Exceptions are recorded and raised on unchanged. An error of the store is logged, never
        raised: the record is kept. The time is that of a monotonic clock.
        """
        return Track(self, function_id, self._component.settings.node_id if node_id is None else node_id)

    flush = blocking(Metrics.flush)
    total_invocations = blocking(Metrics.total_invocations)
    success_rate = blocking(Metrics.success_rate)
    avg_latency_ms = blocking(Metrics.avg_latency_ms)
    error_count = blocking(Metrics.error_count)
    percentile = blocking(Metrics.percentile)
    summary = blocking(Metrics.summary)
    share_within = blocking(Metrics.share_within)
    timeline = blocking(Metrics.timeline)
    slo = blocking(Metrics.slo)
    top = blocking(Metrics.top)
    snapshot = blocking(Metrics.snapshot)
    recent = blocking(Metrics.recent)
    errors = blocking(Metrics.errors)
    series = blocking(Metrics.series)
    stats = blocking(Metrics.stats)
    reset = blocking(Metrics.reset)
