"""What the metrics do, as operations and flows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from edge_redis.core import check
from edge_redis.core.operation import Batch, Flow, Operation, Sleep
from edge_redis.core.repeats import Slots
from edge_redis.core.subject import Subject
from edge_redis.errors import StoreError
from edge_redis.metrics import recent
from edge_redis.metrics.admission import Admission
from edge_redis.metrics.buffer import Buffer, Call
from edge_redis.metrics.keys import MetricsKeys, series_name
from edge_redis.metrics.rollup import Series
from edge_redis.metrics.scripts import Scripts
from edge_redis.metrics.settings import Settings
from edge_redis.models import InvocationRecord

T = TypeVar("T")

_OTHERS_FLUSH_SECONDS: Final = 0.001
_MINUTES_A_CALL: Final = 360


class Metrics(Subject):
    """The metrics of one namespace."""

    def __init__(self, namespace: str, settings: Settings) -> None:
        self.settings = settings
        self._keys = MetricsKeys(namespace)
        self._scripts = Scripts(self._keys, settings)
        self._slots = Slots()
        self._admission = Admission()
        self.tick_seconds = settings.flush_interval
        self.buffer = Buffer()
        """A service puts the one in its place that all metrics of this process and namespace share."""

    # Recording

    def take(self, record: InvocationRecord) -> bool:
        """Check and buffer a record; whether ``spill`` is due."""
        buffer = self.buffer
        buffer.records.append(self._admission.admit(record))
        return buffer.pending >= self.settings.flush_every

    def take_many(self, records: Iterable[InvocationRecord]) -> bool:
        """Check all records, then buffer them; whether ``spill`` is due."""
        if not isinstance(records, Iterable):
            raise check.type_error("records", records, "an iterable of InvocationRecord")
        admit = self._admission.admit
        sound = [admit(record) for record in records]
        self.buffer.records.extend(sound)
        return self.buffer.pending >= self.settings.flush_every

    def spill(self) -> Flow[None]:
        """Deliver, since ``flush_every`` records are pending.

        An error is raised with ``flush_every=1`` alone. Else the records are kept, and until the
        next tick, query or flush has found the server again they are only added up.
        """
        buffer = self.buffer
        if self.settings.flush_every == 1:
            yield from self.flush()
            return
        while buffer.senders and not buffer.failing and buffer.pending >= self.settings.flush_every:
            yield from Sleep(_OTHERS_FLUSH_SECONDS)
        if buffer.failing:
            self._absorb()
        elif buffer.pending >= self.settings.flush_every:
            try:
                yield from self.flush()
            except StoreError:
                """Kept, and said at the next tick."""

    def flush(self) -> Flow[None]:
        """Deliver what this process has recorded so far.

        Raises:
            StoreError: the server could not take it; it is kept, and sent again with the next flush.

        """
        last = self._absorb()
        while (call := self._next_call(last)) is not None:
            yield from self._send(call, [])

    def _after_flush(self, operation: Operation[T]) -> Flow[T]:
        """Perform an operation behind a flush, in one round trip where one call carries all."""
        last = self._absorb()
        while (call := self._next_call(last)) is not None:
            if self.buffer.ends(call, last):
                result: T = (yield from self._send(call, [operation]))[0]
                return result
            yield from self._send(call, [])
        return (yield from operation)

    def _next_call(self, last: int) -> Call | None:
        return None if self.buffer.reached(last) else self.buffer.next_call()

    def _send(self, call: Call, behind: Sequence[Operation[Any]]) -> Flow[list[Any]]:
        with self.buffer.sending():
            flush: Operation[Any] = self._scripts.flush(call, self.buffer.slot)
            generation, *results = yield from Batch([flush, *behind], ordered=True)
        self.buffer.acknowledge(call, generation)
        return results

    def _absorb(self) -> int:
        return self.buffer.absorb(
            max_recent=self.settings.max_recent,
            max_minutes=self.settings.timeline_minutes,
        )

    def tick(self) -> Flow[None]:
        """Deliver what is buffered."""
        return self.flush()

    def after_fork(self) -> None:
        """Forget what the parent has recorded: it delivers that itself."""
        self.buffer.reset()

    # Queries

    def total_invocations(self, function_id: str | None = None, node_id: str | None = None) -> Flow[int]:
        """Return how many invocations there were, of a function, on a node, or both; None admits all."""
        return (yield from self._read(function_id, node_id)).count

    def success_rate(self, function_id: str | None = None, node_id: str | None = None) -> Flow[float]:
        """Return the share that succeeded, 0 to 100; 100.0 where there were none."""
        return (yield from self._read(function_id, node_id)).success_rate

    def avg_latency_ms(self, function_id: str | None = None, node_id: str | None = None) -> Flow[float]:
        """Return the mean duration in ms, to the nanosecond; 0.0 where there were none."""
        return (yield from self._read(function_id, node_id)).avg_latency_ms

    def error_count(self, node_id: str | None = None, function_id: str | None = None) -> Flow[int]:
        """Return how many failed. Mind the order of the filters: the node comes first."""
        return (yield from self._read(function_id, node_id)).errors

    def percentile(self, q: float, function_id: str | None = None, node_id: str | None = None) -> Flow[float]:
        """Return the ``q``-th percentile (0 to 100) of the durations in ms; 0.0 where there were none.

        It is within 1.1% of the nearest-rank percentile: of n sorted durations, the
        ceil(q / 100 * n)-th. That holds from a nanosecond to 115 days; a shorter one counts as 0.
        """
        check.number("q", q)
        if not 0 <= q <= 100:  # noqa: PLR2004 -- it is a percentage
            raise check.value_error("q", q, "must be from 0 to 100")
        return (yield from self._read(function_id, node_id, buckets=True)).percentile(q)

    def summary(self, function_id: str | None = None, node_id: str | None = None) -> Flow[dict[str, Any]]:
        """Return total, success_rate, avg_latency, error_count, p50, p95 and p99; latencies in ms."""
        return (yield from self._read(function_id, node_id, buckets=True)).summary()

    def _read(self, function_id: str | None, node_id: str | None, *, buckets: bool = False) -> Flow[Series]:
        series = series_name(function_id, node_id)
        return (yield from self._after_flush(self._scripts.read(series, buckets=buckets)))

    def timeline(
        self, function_id: str | None = None, node_id: str | None = None, minutes: int = 60
    ) -> Flow[list[dict[str, Any]]]:
        """Return the last ``minutes`` minutes, oldest first, the current one last, empty ones too.

        Each has minute (when it began), total, errors, success_rate and avg_latency_ms. An
        invocation counts in the minute of its timestamp, however late it was flushed; which
        minute is the current one is the server's to say. A minute is kept for ``timeline_minutes``;
        times before that, or more than an hour ahead of the server's clock, are in no minute.
        """
        series = series_name(function_id, node_id)
        check.integer("minutes", minutes, least=1, most=self.settings.timeline_minutes)
        yield from self.flush()
        rows: list[dict[str, Any]] = []
        last: int | None = None
        while len(rows) < minutes:
            count = min(_MINUTES_A_CALL, minutes - len(rows))
            read = yield from self._scripts.timeline(series, last, count)
            rows[:0] = read.rows(count)
            last = read.last - count
        return rows

    def recent(self, limit: int = 100) -> Flow[list[InvocationRecord]]:
        """Return the latest ``limit`` records, oldest first, in the order in which they were flushed.

        At least the latest ``max_recent`` of the namespace are kept; of an error's text the first
        1,000 characters.

        Raises:
            CorruptDataError: an entry of the stream does not decode.

        """
        check.integer("limit", limit, least=0)
        yield from self.flush()
        entries: list[list[InvocationRecord]] = []
        wanted, position = limit, b""
        while wanted > 0:
            page = yield from self._scripts.recent(position, wanted)
            entries += map(recent.unpack, page.entries)
            wanted, position = limit - sum(map(len, entries)), page.position
            if not position:
                break
        found = [record for entry in reversed(entries) for record in entry]
        return found[max(0, len(found) - limit) :]

    def series(self) -> Flow[list[tuple[str, str]]]:
        """Return the (function, node) pairs that are counted, sorted."""
        yield from self.flush()
        found: set[tuple[str, str]] = set()
        cursor, more = 0, True
        while more:
            listing = yield from self._scripts.pairs(cursor)
            found.update(listing.pairs)
            cursor, more = listing.cursor, listing.cursor != 0
        return sorted(found)

    def stats(self) -> Flow[dict[str, int]]:
        """Return how full the metrics are: series, max_series and overflow.

        ``series`` are the (function, node) pairs counted, ``overflow`` the invocations of the
        namespace that were counted under ``_other`` since there were ``max_series`` pairs already.
        """
        listing = yield from self._after_flush(self._scripts.pairs(0, 1))
        return {"series": listing.total, "max_series": self.settings.max_series, "overflow": listing.overflow}

    def reset(self) -> Flow[None]:
        """Set every count of the namespace to zero, in one step, and remove what was kept.

        What another process has recorded and not yet flushed counts after the reset. What had
        been counted before cannot come back, however late its flush is repeated.
        """
        yield from self.flush()
        with self._slots.hold() as (slot, number):
            yield from self._scripts.reset(slot, number)
        while (yield from self._scripts.sweep()):
            pass
