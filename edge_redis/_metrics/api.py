"""The methods of EdgeMetrics, as coroutines. ``EdgeMetrics`` documents each of them in full."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.chunks import split_chunks
from edge_redis._core.component import Component
from edge_redis._core.gather import gather
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._metrics.config import MetricsConfig
from edge_redis._metrics.keys import pair_name, series_name
from edge_redis._metrics.metrics_reader import MetricsReader
from edge_redis._metrics.objectives import report_objective
from edge_redis._metrics.ranking import GROUPINGS, NEED_BUCKETS, RANKINGS, group_pairs, ranking_row, select_largest
from edge_redis._metrics.record_buffer import RecordBuffer
from edge_redis._metrics.record_writer import RecordWriter
from edge_redis._metrics.scripts import FORGOTTEN_PAIRS, MetricsScripts
from edge_redis._metrics.series import Series, timeline_row
from edge_redis._metrics.shards import make_shards
from edge_redis.errors import CorruptDataError, StoreError, WrongKeyTypeError
from edge_redis.models import InvocationRecord

_MAX_FORGET_ATTEMPTS: Final = 100
_MAX_RESETS: Final = 10
"""Beginnings of one reset while the number of shards is changed."""


def _no_thread() -> int:
    return 0


class Metrics(Component):
    """The metrics of one namespace. All metrics of one process, server and namespace share a buffer."""

    def __init__(
        self,
        config: MetricsConfig,
        buffer: RecordBuffer | None = None,
        *,
        thread_id: Callable[[], int] = _no_thread,
        blocks_thread: bool = False,
    ) -> None:
        self.config = config
        self.namespace = config.namespace
        self.tick_seconds = config.flush_interval
        self.shards = make_shards(config)
        self.writer = RecordWriter(
            self.shards,
            config,
            RecordBuffer() if buffer is None else buffer,
            thread_id=thread_id,
            blocks_thread=blocks_thread,
        )
        self._reader = MetricsReader(self.writer)
        self._idempotency_keys = IdempotencyKeys()
        self.append = self.writer.append
        self.append_many = self.writer.append_many
        self.flush_if_due = self.writer.flush_if_due
        self.flush = self.writer.flush

    def is_tick_due(self) -> bool:
        """Return whether there is anything to deliver, or left in a write-ahead log."""
        buffer = self.writer.buffer
        return bool(buffer.records or buffer.uncompacted or buffer.state.unacknowledged)

    async def tick(self) -> None:
        """Deliver what is buffered."""
        return await self.flush()

    def describe_unflushed(self) -> str:
        """Return how many records are not known to be in Redis."""
        pending = self.writer.buffer.pending
        return f"{pending} records of the metrics of namespace {self.config.namespace!r}" if pending else ""

    def after_fork(self) -> None:
        """Drop the parent's records: the parent delivers them."""
        self.writer.buffer.reset()

    async def total_invocations(self, function_id: str | None = None, node_id: str | None = None) -> int:
        """Return the number of invocations."""
        return (await self._reader.read_series(series_name(function_id, node_id))).count

    async def success_rate(self, function_id: str | None = None, node_id: str | None = None) -> float:
        """Return the share of successes, 0 to 100."""
        return (await self._reader.read_series(series_name(function_id, node_id))).success_rate

    async def avg_latency_ms(self, function_id: str | None = None, node_id: str | None = None) -> float:
        """Return the mean duration in milliseconds."""
        return (await self._reader.read_series(series_name(function_id, node_id))).avg_latency_ms

    async def error_count(self, node_id: str | None = None, function_id: str | None = None) -> int:
        """Return the number of failures."""
        return (await self._reader.read_series(series_name(function_id, node_id))).errors

    async def percentile(self, q: float, function_id: str | None = None, node_id: str | None = None) -> float:
        """Return the ``q``-th percentile of the durations in milliseconds."""
        validation.check_number("q", q)
        if not 0 <= q <= 100:  # noqa: PLR2004 -- it is a percentage
            raise validation.value_error("q", q, "must be from 0 to 100")
        return (await self._reader.read_series(series_name(function_id, node_id), buckets=True)).percentile(q)

    async def summary(self, function_id: str | None = None, node_id: str | None = None) -> dict[str, Any]:
        """Return the main figures of a series."""
        return (await self._reader.read_series(series_name(function_id, node_id), buckets=True)).summarize()

    async def fraction_below(
        self, latency_ms: float, function_id: str | None = None, node_id: str | None = None
    ) -> float:
        """Return the share of invocations that took ``latency_ms`` or less, 0 to 100."""
        validation.check_non_negative("latency_ms", latency_ms)
        series = await self._reader.read_series(series_name(function_id, node_id), buckets=True)
        return series.fraction_below(latency_ms)

    async def timeline(
        self, function_id: str | None = None, node_id: str | None = None, minutes: int = 60
    ) -> list[dict[str, Any]]:
        """Return a row for each of the last ``minutes`` minutes."""
        series = series_name(function_id, node_id)
        validation.check_integer("minutes", minutes, least=1, most=self.config.timeline_minutes)
        cells = await self._reader.read_minutes(series, minutes)
        return [timeline_row(minute, cell) for minute, cell in cells]

    async def minute_totals(self, function_ids: Sequence[str], minutes: int = 60) -> dict[str, list[int]]:
        """Return the invocations of functions in each of the last ``minutes`` minutes."""
        if isinstance(function_ids, (str, bytes)) or not isinstance(function_ids, Sequence):
            raise validation.type_error("function_ids", function_ids, "a sequence of function ids")
        names = [f"f:{validation.check_identifier('function_id', each)}" for each in function_ids]
        validation.check_integer("minutes", minutes, least=1, most=self.config.timeline_minutes)
        totals = await self._reader.read_totals(names, minutes)
        return dict(zip(function_ids, totals, strict=True))

    async def slo_report(
        self,
        objective: float,
        function_id: str | None = None,
        node_id: str | None = None,
        windows: Sequence[int] = (5, 60),
    ) -> dict[str, Any]:
        """Return how a service level objective was kept."""
        if not 1 <= validation.check_number("objective", objective) < 100:  # noqa: PLR2004 -- a percentage
            raise validation.value_error("objective", objective, "must be a percentage from 1 to under 100")
        series = series_name(function_id, node_id)
        checked = self._validate_windows(windows)
        cells = [cell for _, cell in await self._reader.read_minutes(series, max(checked))]
        total = await self._reader.read_series(series)
        return report_objective(objective, self.config.slow_ms, total, cells, checked)

    def _validate_windows(self, windows: Sequence[int]) -> list[int]:
        if isinstance(windows, (str, bytes)) or not isinstance(windows, Sequence) or not windows:
            raise validation.type_error("windows", windows, "a sequence of minutes, not empty")
        most = self.config.timeline_minutes
        return [validation.check_integer("windows", window, least=1, most=most) for window in windows]

    async def top(self, by: str = "total", limit: int = 10, *, group_by: str = "function") -> list[dict[str, Any]]:
        """Return the rows of the groups with the largest figures."""
        _validate_choice("by", by, RANKINGS)
        _validate_choice("group_by", group_by, GROUPINGS)
        validation.check_integer("limit", limit, least=0)
        pairs = await self._reader.list_pairs()
        found = await self._reader.read_groups(group_pairs(pairs, group_by), buckets=by in NEED_BUCKETS)
        largest = select_largest(found, by, limit)
        complete = await self._reader.read_groups(largest, buckets=True)
        return [ranking_row(group, complete[group]) for group in largest]

    async def snapshot(self) -> dict[tuple[str, str], Series]:
        """Return the series of every (function, node) pair."""
        pairs = await self._reader.list_pairs()
        found = await self._reader.read_groups(pairs, buckets=True)
        return {pair: found[pair] for pair in pairs}

    async def recent(self, limit: int = 100) -> list[InvocationRecord]:
        """Return the latest records, oldest first."""
        validation.check_integer("limit", limit, least=0)
        return await self._reader.read_records("recent", limit)

    async def errors(self, limit: int = 100) -> list[InvocationRecord]:
        """Return the latest failed records, oldest first."""
        validation.check_integer("limit", limit, least=0)
        return await self._reader.read_records("errors", limit)

    async def series(self) -> list[tuple[str, str]]:
        """Return the (function, node) pairs that are counted, sorted."""
        return await self._reader.list_pairs()

    async def stats(self) -> dict[str, int]:
        """Return the number of series, its bound, and the overflow."""
        counts = await self._reader.count_pairs()
        return {"series": counts.pairs, "max_series": self.config.max_series, "overflow": counts.overflow}

    async def forget(self, function_id: str | None = None, node_id: str | None = None) -> int:
        """Remove the series of a function, of a node, or of a pair of both."""
        series = series_name(function_id, node_id)
        if function_id is None and node_id is None:
            raise validation.value_error("function_id and node_id", None, "must not both be None; see reset()")
        removed: set[tuple[str, str]] = set()

        async def forget_all(shards: Sequence[MetricsScripts]) -> None:
            for scripts, found in zip(shards, await self._reader.list_pairs_by_shard(shards), strict=True):
                pairs = sorted(pair for pair in found if _matches(pair, function_id, node_id))
                for some in split_chunks(pairs, FORGOTTEN_PAIRS):
                    names = [pair_name(*pair) for pair in some]
                    await self._forget(scripts, [f"p:{name}" for name in names], names)
                if function_id is None or node_id is None:
                    await self._forget(scripts, [series], [])
                removed.update(pairs)

        await self.writer.query(forget_all)
        return len(removed)

    async def _forget(self, scripts: MetricsScripts, series: Sequence[str], pairs: Sequence[str]) -> None:
        for _ in range(_MAX_FORGET_ATTEMPTS):
            await self._reader.compact(scripts)
            with self._idempotency_keys.acquire() as (client_id, sequence):
                if await scripts.forget(client_id, sequence, series, pairs):
                    return
        raise StoreError("the writers of this namespace are too busy for forget(): call it again")

    async def reset(self) -> None:
        """Set every count to zero, and remove the keys of the past epoch.

        Damaged counts refuse every flush, and the new epoch is what ends that: the records then count in it.
        """
        with suppress(CorruptDataError, WrongKeyTypeError):
            await self.flush()
        await self.shards.settle()
        for _ in range(_MAX_RESETS):
            shards = await self.shards.refresh()
            is_earlier = [at >= shards.record.shards for at in range(len(shards))]
            await gather([self._begin_epoch(*each) for each in zip(shards, is_earlier, strict=True)])
            await gather([_purge(scripts) for scripts in shards])
            count, present = self.shards.count, replace(shards.record, earlier=())
            stored = await (count.replace(shards.record, present) if shards.record.earlier else count.read())
            self.shards.learn(stored)
            if stored in (None, present):
                return
        raise StoreError("the number of shards of the metrics is being changed: call reset() again")

    async def _begin_epoch(self, scripts: MetricsScripts, close: bool) -> None:  # noqa: FBT001 -- private
        with self._idempotency_keys.acquire() as (client_id, sequence):
            await scripts.reset(client_id, sequence, close=close)


async def _purge(scripts: MetricsScripts) -> None:
    """Remove the keys of past epochs."""
    while await scripts.purge():
        pass


def _matches(pair: tuple[str, str], function_id: str | None, node_id: str | None) -> bool:
    return function_id in (None, pair[0]) and node_id in (None, pair[1])


def _validate_choice(name: str, value: object, choices: Collection[str]) -> None:
    if validation.check_identifier(name, value) not in choices:
        raise validation.value_error(name, value, f"must be one of {', '.join(choices)}")
