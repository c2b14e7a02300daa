"""What the metrics answer, as operations and flows."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence
from functools import partial
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._metrics import recent
from edge_redis._metrics.keys import series_name
from edge_redis._metrics.ranking import GROUPINGS, NEED_BUCKETS, RANKINGS, Group, first, groups, row
from edge_redis._metrics.recording import Recording
from edge_redis._metrics.rollup import Series, burn, timeline_row
from edge_redis.models import InvocationRecord

_MINUTES_A_CALL: Final = 360
_SERIES_A_CALL: Final = 30


def _one_of(name: str, value: object, known: Collection[str]) -> None:
    if validation.identifier(name, value) not in known:
        raise validation.value_error(name, value, f"must be one of {', '.join(known)}")


class Metrics(Recording):
    """The metrics of one namespace."""

    async def total_invocations(self, function_id: str | None = None, node_id: str | None = None) -> int:
        """Return how many invocations there were, of a function, on a node, or both; None admits all."""
        return (await self._read(function_id, node_id)).count

    async def success_rate(self, function_id: str | None = None, node_id: str | None = None) -> float:
        """Return the share that succeeded, 0 to 100; 100.0 where there were none."""
        return (await self._read(function_id, node_id)).success_rate

    async def avg_latency_ms(self, function_id: str | None = None, node_id: str | None = None) -> float:
        """Return the mean duration in ms, to the nanosecond; 0.0 where there were none."""
        return (await self._read(function_id, node_id)).avg_latency_ms

    async def error_count(self, node_id: str | None = None, function_id: str | None = None) -> int:
        """Return how many failed. Mind the order of the filters: the node comes first."""
        return (await self._read(function_id, node_id)).errors

    async def percentile(self, q: float, function_id: str | None = None, node_id: str | None = None) -> float:
        """Return the ``q``-th percentile (0 to 100) of the durations in ms; 0.0 where there were none.

        It is within 1.1% of the nearest-rank percentile: of n sorted durations, the
        ceil(q / 100 * n)-th. That holds from a nanosecond to 115 days; a shorter one counts as 0.
        """
        validation.number("q", q)
        if not 0 <= q <= 100:  # noqa: PLR2004 -- it is a percentage
            raise validation.value_error("q", q, "must be from 0 to 100")
        return (await self._read(function_id, node_id, buckets=True)).percentile(q)

    async def summary(self, function_id: str | None = None, node_id: str | None = None) -> dict[str, Any]:
        """Return total, success_rate, avg_latency, error_count, p50, p95 and p99; latencies in ms."""
        return (await self._read(function_id, node_id, buckets=True)).summary()

    async def share_within(
        self, latency_ms: float, function_id: str | None = None, node_id: str | None = None
    ) -> float:
        """Return the share of invocations that took ``latency_ms`` or less, 0 to 100; 100.0 where there were none.

        Durations within 2.2% of ``latency_ms`` may be counted on either side; failures are counted
        by their duration like any other.
        """
        validation.non_negative("latency_ms", latency_ms)
        return (await self._read(function_id, node_id, buckets=True)).share_within(latency_ms)

    async def _read(self, function_id: str | None, node_id: str | None, *, buckets: bool = False) -> Series:
        series = series_name(function_id, node_id)
        return (await self._settled(partial(self._scripts.read, [series], buckets=buckets)))[0]

    async def timeline(
        self, function_id: str | None = None, node_id: str | None = None, minutes: int = 60
    ) -> list[dict[str, Any]]:
        """Return the last ``minutes`` minutes, oldest first, the current one last, empty ones too.

        Each has minute (when it began), total, errors, slow (successes over ``slow_ms``),
        success_rate and avg_latency_ms. An invocation counts in the minute of its timestamp,
        however late it was flushed; which minute is the current one is the server's to say. A
        minute is kept for ``timeline_minutes``; times before that, or more than an hour ahead of
        the server's clock, are in no minute.
        """
        series = series_name(function_id, node_id)
        validation.integer("minutes", minutes, least=1, most=self.settings.timeline_minutes)
        cells = await self._cells(series, minutes)
        return [timeline_row(minute, cell) for minute, cell in cells]

    async def slo(
        self,
        objective: float,
        function_id: str | None = None,
        node_id: str | None = None,
        windows: Sequence[int] = (5, 60),
    ) -> dict[str, Any]:
        """Return how a service level objective was kept: ``objective`` percent of invocations are good.

        An invocation is bad when it failed, or took longer than ``slow_ms`` where the writers
        were given that. The result has objective, slow_ms, total, bad and good_percent of all
        time, and for each of ``windows`` (minutes, of which the current one is not over) minutes,
        total, bad, good_percent and burn_rate: 1.0 spends the error budget exactly in the time
        that the objective is over, 2.0 in half of it.
        """
        if not 0 < validation.number("objective", objective) < 100:  # noqa: PLR2004 -- a percentage
            raise validation.value_error("objective", objective, "must be above 0 and under 100")
        series = series_name(function_id, node_id)
        wanted = self._windows(windows)
        cells = await self._cells(series, max(wanted))
        whole = await self._read(function_id, node_id)
        of_all = burn([whole], objective)
        return {
            "objective": objective,
            "slow_ms": self.settings.slow_ms,
            **{name: of_all[name] for name in ("total", "bad", "good_percent")},
            "windows": [burn([cell for _, cell in cells[-window:]], objective) for window in wanted],
        }

    def _windows(self, windows: Sequence[int]) -> list[int]:
        if isinstance(windows, (str, bytes)) or not isinstance(windows, Sequence) or not windows:
            raise validation.type_error("windows", windows, "a sequence of minutes, not empty")
        most = self.settings.timeline_minutes
        return [validation.integer("windows", window, least=1, most=most) for window in windows]

    async def _cells(self, series: str, minutes: int) -> list[tuple[int, Series]]:
        cells: list[tuple[int, Series]] = []
        last: int | None = None
        while len(cells) < minutes:
            count = min(_MINUTES_A_CALL, minutes - len(cells))
            read = await self._settled(partial(self._scripts.timeline, series, last, count))
            cells[:0] = read.cells(count)
            last = read.last - count
        return cells

    async def top(self, by: str = "total", limit: int = 10, *, of: str = "function") -> list[dict[str, Any]]:
        """Return the ``limit`` functions (or "node"s, or "pair"s: ``of``) with the most of something.

        ``by`` is "total", "error_count", "error_rate", "avg_latency", "total_ms" (all durations
        together), "p50", "p95" or "p99". Each row has function_id and node_id (None where the
        group has none), what ``summary`` has, error_rate and total_ms.
        """
        _one_of("by", by, RANKINGS)
        _one_of("of", of, GROUPINGS)
        validation.integer("limit", limit, least=0)
        pairs = await self.series()
        found = await self._read_groups(groups(pairs, of), buckets=by in NEED_BUCKETS)
        leading = first(found, by, limit)
        whole = await self._read_groups(leading, buckets=True)
        return [row(group, whole[group]) for group in leading]

    async def snapshot(self) -> dict[tuple[str, str], Series]:
        """Return what every (function, node) pair has counted, with its latency buckets: for exporters.

        Each pair is read in one step, all of them are not.
        """
        pairs = await self.series()
        found = await self._read_groups(pairs, buckets=True)
        return {pair: found[pair] for pair in pairs}

    async def _read_groups(self, wanted: Sequence[Group], *, buckets: bool) -> dict[Group, Series]:
        found: dict[Group, Series] = {}
        for at in range(0, len(wanted), _SERIES_A_CALL):
            some = wanted[at : at + _SERIES_A_CALL]
            names = [series_name(*group) for group in some]
            read = await self._settled(partial(self._scripts.read, names, buckets=buckets))
            found.update(zip(some, read, strict=True))
        return found

    def recent(self, limit: int = 100) -> Awaitable[list[InvocationRecord]]:
        """Return the latest ``limit`` records, oldest first, in the order in which they were flushed.

        At least the latest ``max_recent`` of the namespace are kept; of an error's text the first
        1,000 characters.

        Raises:
            CorruptDataError: an entry of the stream does not decode.

        """
        return self._latest("recent", limit)

    def errors(self, limit: int = 100) -> Awaitable[list[InvocationRecord]]:
        """Return the latest ``limit`` records that failed, as ``recent`` does; ``max_errors`` are kept.

        They have a stream of their own, so that many successes do not push the few failures out.
        """
        return self._latest("errors", limit)

    async def _latest(self, stream: str, limit: int) -> list[InvocationRecord]:
        validation.integer("limit", limit, least=0)
        await self.flush()
        entries: list[list[InvocationRecord]] = []
        wanted, position = limit, b""
        while wanted > 0:
            page = await self._scripts.recent(stream, position, wanted)
            entries += map(recent.unpack, page.entries)
            wanted, position = limit - sum(map(len, entries)), page.position
            if not position:
                break
        found = [record for entry in reversed(entries) for record in entry]
        return found[max(0, len(found) - limit) :]

    async def series(self) -> list[tuple[str, str]]:
        """Return the (function, node) pairs that are counted, sorted."""
        found: set[tuple[str, str]] = set()
        cursor, more = 0, True
        while more:
            listing = await self._settled(partial(self._scripts.pairs, cursor))
            found.update(listing.pairs)
            cursor, more = listing.cursor, listing.cursor != 0
        return sorted(found)

    async def stats(self) -> dict[str, int]:
        """Return how full the metrics are: series, max_series and overflow.

        ``series`` are the (function, node) pairs counted, ``overflow`` the invocations of the
        namespace that were counted under ``_other`` since there were ``max_series`` pairs already.
        """
        listing = await self._settled(partial(self._scripts.pairs, 0, 1))
        return {"series": listing.total, "max_series": self.settings.max_series, "overflow": listing.overflow}

    async def reset(self) -> None:
        """Set every count of the namespace to zero, in one step, and remove what was kept.

        What another process has recorded and not yet flushed counts after the reset. What had
        been counted before cannot come back, however late its flush is repeated.
        """
        await self.flush()
        with self._slots.acquire() as (slot, number):
            await self._scripts.reset(slot, number)
        while await self._scripts.sweep():
            pass
