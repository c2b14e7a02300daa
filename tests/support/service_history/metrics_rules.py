"""What must hold of records: each acknowledged one is counted exactly once, each other one at most once.

    series      count, failures and the sum of durations are those of the acknowledged records and of some others: the
                counts and sums of every set of the others are computed, so that a lost record is not made up for by
                another one that counts twice
    totals      are linearizable: they hold every record acknowledged before, and none that was not begun
    recent      holds no record twice

A buffered record is acknowledged by the next flush, or total, of its process that succeeds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any, Final, Protocol

from support.history.log import Call
from support.service_history.cache_rules import process_of
from support.service_history.counters import Raise, Reading, count_faults

_MOST_UNKNOWN: Final = 64
"""With more records that may be counted or not, counts are compared with bounds alone."""


class SeriesCounts(Protocol):
    """What is read of a series."""

    @property
    def count(self) -> int:
        """The records counted."""

    @property
    def errors(self) -> int:
        """Those that failed."""

    @property
    def sum_ms(self) -> float:
        """The sum of their durations."""


class Acknowledged:
    """When each record was acknowledged."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._flushes: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for call in calls:
            if call.kind in ("flush", "total") and call.outcome in ("ok", "excused"):
                returned = call.returned if call.outcome == "ok" else inf
                self._flushes[process_of(call)].append((call.invoked, returned))
        for flushes in self._flushes.values():
            flushes.sort()

    def moment(self, record: Call) -> float:
        """Return when a record was acknowledged, infinity where it was not."""
        if record.outcome == "ok" and not record.data["is_buffered"]:
            return record.returned
        if record.returned == inf or (record.outcome == "excused" and not record.data["is_buffered"]):
            return inf  # the process was killed in it, or what it wrote may have been lost later
        flushes = self._flushes[process_of(record)]
        at = bisect_left(flushes, (record.returned, 0.0))
        return flushes[at][1] if at < len(flushes) else inf


def possible_sums(numbers: Iterable[int]) -> list[int]:
    """Return for each count of numbers their possible sums, each as a bit."""
    sums = [1]
    for number in numbers:
        sums.append(0)
        for count in range(len(sums) - 1, 0, -1):
            sums[count] |= sums[count - 1] << number
    return sums


def series_faults(records: Sequence[Call], moments: Mapping[str, float], found: SeriesCounts) -> Iterator[str]:
    """Yield what is wrong with the counts of one series."""
    sure = [record for record in records if moments[record.op] < inf]
    others = [record for record in records if moments[record.op] == inf]
    more = found.count - len(sure)
    if not 0 <= more <= len(others):
        yield f"{found.count} counted, of {len(sure)} acknowledged and {len(others)} unknown"
        return
    failed = found.errors - sum(not record.data["success"] for record in sure)
    if not 0 <= failed <= sum(not record.data["success"] for record in others):
        yield f"{found.errors} failures counted, {failed} more than were acknowledged"
    rest = round(found.sum_ms) - sum(record.data["ms"] for record in sure)
    if rest < 0 or (
        len(others) <= _MOST_UNKNOWN and not possible_sums(record.data["ms"] for record in others)[more] >> rest & 1
    ):
        yield f"durations add up to {rest} ms more than the acknowledged ones, which no {more} of the others do"


def metrics_faults(
    calls: Sequence[Call], found: Mapping[tuple[str, str], SeriesCounts], recent: Sequence[str]
) -> Iterator[str]:
    """Yield what is wrong; ``found`` are the series at the end, ``recent`` the names of the recent records."""
    acknowledged = Acknowledged(calls)
    records = [call for call in calls if call.kind == "record"]
    moments = {record.op: acknowledged.moment(record) for record in records}
    by_series: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for record in records:
        by_series[record.scope, record.data["node"]].append(record)
    for series in sorted(found.keys() - by_series.keys()):
        yield f"{series}: a series of which nobody recorded anything"
    for series, some in sorted(by_series.items()):
        counts: Any = found.get(series, _NOTHING)
        yield from (f"{series}: {fault}" for fault in series_faults(some, moments, counts))
    totals = [
        Reading(call.invoked, call.returned, call.answer["answer"], call.op)
        for call in calls
        if call.kind == "total" and call.outcome == "ok"
    ]
    yield from count_faults([Raise(record.invoked, moments[record.op]) for record in records], totals)
    twice = [name for name, times in Counter(recent).items() if times > 1]
    if twice:
        yield f"recent records that were written twice: {twice}"


class _Nothing:
    count = errors = 0
    sum_ms = 0.0


_NOTHING: Final = _Nothing()
