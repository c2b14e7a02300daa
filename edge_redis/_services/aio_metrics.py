"""EdgeMetrics, awaited."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from edge_redis._io.runner import AsyncClient
from edge_redis._metrics.api import Metrics
from edge_redis._metrics.config import Settings
from edge_redis._services.base import AsyncService
from edge_redis._services.bind import awaited
from edge_redis._services.metrics import buffers
from edge_redis._services.track import AsyncTrack
from edge_redis.models import InvocationRecord


class EdgeMetrics(AsyncService[Metrics]):
    """``edge_redis.EdgeMetrics`` on an asyncio client: the same arguments and semantics, methods awaited."""

    def __init__(
        self,
        client: AsyncClient,
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

    async def record(self, record: InvocationRecord) -> None:
        """Count an invocation, in the minute of its timestamp; a time without a zone is taken as UTC.

        Raises:
            InvalidTypeError, InvalidArgumentError: the record is not sound; it was not taken.
            StoreError: with ``flush_every=1`` alone: the record could not be delivered. It is
                kept and counts once the server is back, so do not record it again.

        """
        if self._open_component.take(record):
            await self._runner.run(self._component.spill())

    async def record_many(self, records: Iterable[InvocationRecord]) -> None:
        """Count invocations as ``record`` does. All are checked before any is taken."""
        room = self._open_component
        if room.take_many(records):
            await self._runner.run(room.spill())

    def track(self, function_id: str, node_id: str | None = None) -> AsyncTrack:
        """Return what records the duration, success and error of an ``async with`` block or a function.

            async with metrics.track("resize"):
                ...

            @metrics.track("resize", "node-1")
            async def resize(image): ...  # or an async generator function

        Exceptions are recorded and raised on unchanged. An error of the store is logged, never
        raised: the record is kept. The time is that of a monotonic clock.
        """
        return AsyncTrack(self, function_id, self._component.settings.node_id if node_id is None else node_id)

    flush = awaited(Metrics.flush)
    total_invocations = awaited(Metrics.total_invocations)
    success_rate = awaited(Metrics.success_rate)
    avg_latency_ms = awaited(Metrics.avg_latency_ms)
    error_count = awaited(Metrics.error_count)
    percentile = awaited(Metrics.percentile)
    summary = awaited(Metrics.summary)
    share_within = awaited(Metrics.share_within)
    timeline = awaited(Metrics.timeline)
    slo = awaited(Metrics.slo)
    top = awaited(Metrics.top)
    snapshot = awaited(Metrics.snapshot)
    recent = awaited(Metrics.recent)
    errors = awaited(Metrics.errors)
    series = awaited(Metrics.series)
    stats = awaited(Metrics.stats)
    reset = awaited(Metrics.reset)
