# Generated from edge_redis/_services/aio/metrics.py by scripts/dev/generate_blocking.py. Do not edit.
"""EdgeMetrics for a blocking client."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from typing import cast

from edge_redis._io.clients import BlockingClient
from edge_redis._io.service import BlockingService
from edge_redis._metrics.api import Metrics
from edge_redis._metrics.config import MetricsConfig
from edge_redis._metrics.series import Series
from edge_redis._services.components import default_shards, make_metrics
from edge_redis._services.track import Track
from edge_redis.models import InvocationRecord
from edge_redis.types import Grouping, MetricsRanking, MetricsStats, MetricsSummary, Ranking, SloReport, TimelineMinute


class EdgeMetrics(BlockingService[Metrics]):
    """Counts, latencies and errors of function invocations, across all processes of a namespace.

    Records are buffered in the process and delivered every ``flush_every`` records, every
    ``flush_interval`` seconds, before every query, on ``close`` and when the interpreter exits.
    A process that is killed loses at most ``flush_every`` records (and one for each further
    thread or task that was recording), none older than ``flush_interval`` plus the time of a
    flush. While the server is unavailable nothing is lost: records are added up and kept in
    bounded memory, and counted once however often they are sent. With ``flush_every=1`` every
    record is in Redis when ``record`` returns.

    Every query costs the same, however many records there are. Each takes the filters
    ``function_id`` and ``node_id``; None selects all.

    Args:
        client: a Redis or Valkey client; it stays open when the metrics are closed.
        namespace: all metrics of one namespace on one server are counted together.
        flush_interval: seconds between deliveries, at most 3600.
        flush_every: the number of records that makes a delivery due, from 1 to 1,000,000.
        max_recent: records kept for ``recent``; the number may be exceeded by up to 200.
        max_errors: failed records kept for ``errors``; the number may be exceeded by up to 200.
        max_series: (function, node) pairs counted by name; further ones are counted under
            ``_other`` (as function and as node), totals stay exact, and ``stats`` reports it.
        timeline_minutes: minutes kept for ``timeline``, at most 10,080 (a week).
        node_id: the node that ``track`` records for; by default this machine's host name.
        slow_ms: a success that took longer counts as slow, for ``slo_report`` and ``timeline``;
            give every writer of a namespace the same. None: nothing is slow.
        shards: parts of the metrics, each in a hash slot of its own; ``max_series`` is divided among them, and each
            keeps ``max_recent`` and ``max_errors`` records. None for the number that the namespace has; where nothing
            was recorded yet that is 1, or 12 on a cluster. Another number than the namespace has is refused at the
            first call.

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
        shards: int | None = None,
    ) -> None:
        config = MetricsConfig(
            namespace=namespace,
            flush_interval=flush_interval,
            flush_every=flush_every,
            max_recent=max_recent,
            max_series=max_series,
            timeline_minutes=timeline_minutes,
            node_id=socket.gethostname() if node_id is None else node_id,
            slow_ms=slow_ms,
            max_errors=max_errors,
            shards=shards,
            default_shards=default_shards(client, max_series),
        )
        super().__init__(client, make_metrics(client, config))

    def record(self, record: InvocationRecord) -> None:
        """Count an invocation, in the minute of its timestamp; a time without a zone is taken as UTC.

        Raises:
            InvalidTypeError, InvalidArgumentError: a field is not valid; the record is not counted.
            StoreError: with ``flush_every=1`` only: the record could not be delivered. It is
                kept and counted once the server is back, so do not record it again.

        """
        if not self._engine.is_running:
            self._use()
        if self._component.append(record):
            self._run(self._component.flush_if_due())

    def record_many(self, records: Iterable[InvocationRecord]) -> None:
        """Count invocations as ``record`` does. All are validated before any is counted."""
        self._use()
        if self._component.append_many(records):
            self._run(self._component.flush_if_due())

    def track(self, function_id: str, node_id: str | None = None) -> Track:
        """Return an object that records the duration and the outcome of an ``with`` block or a function.

            with metrics.track("resize"):
                ...

            @metrics.track("resize", "node-1")
            def resize(image): ...  # or an async generator function

        Exceptions are recorded and raised on unchanged. An error of the store is logged and never
        raised: the record is kept. The time is that of a monotonic clock.
        """
        return Track(self, function_id, self._component.config.node_id if node_id is None else node_id)

    def flush(self) -> None:
        """Deliver what this process has recorded so far.

        Raises:
            StoreError: the server could not take it; it is kept, and sent again with the next flush.

        """
        self._run(self._component.flush())

    def total_invocations(self, function_id: str | None = None, node_id: str | None = None) -> int:
        """Return the number of invocations of a function, on a node, or both."""
        return self._run(self._component.total_invocations(function_id, node_id))

    def success_rate(self, function_id: str | None = None, node_id: str | None = None) -> float:
        """Return the share of successes, 0 to 100; 100.0 without invocations."""
        return self._run(self._component.success_rate(function_id, node_id))

    def avg_latency_ms(self, function_id: str | None = None, node_id: str | None = None) -> float:
        """Return the mean duration in ms, exact to the nanosecond; 0.0 without invocations."""
        return self._run(self._component.avg_latency_ms(function_id, node_id))

    def error_count(self, node_id: str | None = None, function_id: str | None = None) -> int:
        """Return the number of failures. Note the order of the filters: the node comes first."""
        return self._run(self._component.error_count(node_id, function_id))

    def percentile(self, q: float, function_id: str | None = None, node_id: str | None = None) -> float:
        """Return the ``q``-th percentile (0 to 100) of the durations in ms; 0.0 without invocations.

        It is within 1.1% of the nearest-rank percentile: of n sorted durations, the
        ceil(q / 100 * n)-th. That holds from a nanosecond to 115 days; a shorter one counts as 0.
        """
        return self._run(self._component.percentile(q, function_id, node_id))

    def summary(self, function_id: str | None = None, node_id: str | None = None) -> MetricsSummary:
        """Return total, success_rate, avg_latency, error_count, p50, p95 and p99; latencies in ms."""
        return cast("MetricsSummary", self._run(self._component.summary(function_id, node_id)))

    def fraction_below(self, latency_ms: float, function_id: str | None = None, node_id: str | None = None) -> float:
        """Return the share of invocations that took ``latency_ms`` or less, 0 to 100; 100.0 without invocations.

        Durations within 2.2% of ``latency_ms`` may be counted on either side; failures are counted
        by their duration like any other.
        """
        return self._run(self._component.fraction_below(latency_ms, function_id, node_id))

    def timeline(
        self, function_id: str | None = None, node_id: str | None = None, minutes: int = 60
    ) -> list[TimelineMinute]:
        """Return a row for each of the last ``minutes`` minutes, oldest first, ending with the current one.

        Each row has minute (when it began), total, errors, slow (successes over ``slow_ms``),
        success_rate and avg_latency_ms. An invocation counts in the minute of its timestamp,
        however late it was flushed; the server's clock decides which minute is the current one. A
        minute is kept for ``timeline_minutes``; times before that, or more than an hour ahead of
        the server's clock, are in no minute.
        """
        return cast("list[TimelineMinute]", self._run(self._component.timeline(function_id, node_id, minutes)))

    def minute_totals(self, function_ids: Sequence[str], minutes: int = 60) -> dict[str, list[int]]:
        """Return the invocations of several functions in each of the last ``minutes`` minutes, oldest first.

        The last number is of the current minute, by the server's clock. This is the total of ``timeline`` for each
        function, read in one call for some dozens of them. Functions that were never invoked have zeros.
        """
        return self._run(self._component.minute_totals(function_ids, minutes))

    def slo_report(
        self,
        objective: float,
        function_id: str | None = None,
        node_id: str | None = None,
        windows: Sequence[int] = (5, 60),
    ) -> SloReport:
        """Return how a service level objective was kept: ``objective`` percent of invocations are good.

        The objective is a percentage from 1 to under 100, such as 99.9, and not a fraction.

        An invocation is bad when it failed, or took longer than ``slow_ms`` where the writers
        have that option. The report has objective, slow_ms, total, bad and good_percent of all
        time, and for each of ``windows`` (in minutes, the current one included) minutes, total,
        bad, good_percent and burn_rate: 1.0 spends the error budget exactly in the time that the
        objective covers, 2.0 in half of it.
        """
        report = self._run(self._component.slo_report(objective, function_id, node_id, windows))
        return cast("SloReport", report)

    def top(self, by: Ranking = "total", limit: int = 10, *, group_by: Grouping = "function") -> list[MetricsRanking]:
        """Return the ``limit`` functions with the largest figure, or nodes or pairs of both.

        ``by`` is "total", "error_count", "error_rate", "avg_latency", "total_ms" (the sum of all
        durations), "p50", "p95" or "p99"; ``group_by`` is "function", "node" or "pair". Each row
        has function_id and node_id (None where the group has none), the figures of ``summary``,
        error_rate and total_ms.
        """
        return cast("list[MetricsRanking]", self._run(self._component.top(by, limit, group_by=group_by)))

    def snapshot(self) -> dict[tuple[str, str], Series]:
        """Return the counts and latency buckets of every (function, node) pair, for exporters.

        Each pair is read in one step, all of them together are not.
        """
        return self._run(self._component.snapshot())

    def recent(self, limit: int = 100) -> list[InvocationRecord]:
        """Return the latest ``limit`` records, oldest first, in the order in which they were flushed.

        At least the latest ``max_recent`` of the namespace are kept, with the first 1,000
        characters of each error text.

        Raises:
            CorruptDataError: an entry of the stream does not decode.

        """
        return self._run(self._component.recent(limit))

    def errors(self, limit: int = 100) -> list[InvocationRecord]:
        """Return the latest ``limit`` records that failed, as ``recent`` does; ``max_errors`` are kept.

        They have a stream of their own, so that many successes do not displace the few failures.
        """
        return self._run(self._component.errors(limit))

    def series(self) -> list[tuple[str, str]]:
        """Return the (function, node) pairs that are counted, sorted."""
        return self._run(self._component.series())

    def stats(self) -> MetricsStats:
        """Return how full the metrics are: series, max_series and overflow.

        ``series`` is the number of (function, node) pairs, ``overflow`` the number of invocations
        that were counted under ``_other`` because there were ``max_series`` pairs already.
        """
        return cast("MetricsStats", self._run(self._component.stats()))

    def forget(self, function_id: str | None = None, node_id: str | None = None) -> int:
        """Remove the series of a function, of a node, or of a pair of both; return how many pairs were removed.

        For nodes that are gone: they leave exports, ``series``, ``top`` and ``snapshot``, and make room for
        new pairs under ``max_series``. A query for exactly what was removed answers as if it had never
        been recorded. All other figures stay: those of all invocations, and after ``forget(node_id=...)``
        those of each function. Later records are counted from zero, in new series. Single records stay
        in ``recent`` and ``errors``.

        Raises:
            InvalidArgumentError: neither a function nor a node is given.

        """
        return self._run(self._component.forget(function_id, node_id))

    def reset(self) -> None:
        """Set every count of the namespace to zero, in one step, and remove the stored records.

        What another process has recorded and not yet flushed counts after the reset. Earlier
        counts cannot come back, however late a flush of theirs is repeated. This also ends the errors
        of damaged counts: the records that could not be flushed then count after the reset.
        """
        self._run(self._component.reset())
