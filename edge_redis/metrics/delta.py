"""What a batch adds to the series of its (function, node) pairs, added up in the process.

The script works out the other series (a function's, a node's, all) from the pairs, so that a
pair which goes under ``_other`` does so in every one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Final, NamedTuple, TypeAlias

from edge_redis.metrics.keys import OTHER
from edge_redis.metrics.sketch import GROUP, bucket_index
from edge_redis.models import InvocationRecord

Pair: TypeAlias = tuple[str, str]

NS_PER_MS: Final = 1_000_000
MAX_UPDATES: Final = 500
"""Fields of its pairs' own series that one call adds to; with the three others of each pair, four times as many."""

_SUMS: Final = 5  # the fields of a count, those that failed, those that were slow, and a sum of durations

_MINUTE: Final = timedelta(minutes=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Part(NamedTuple):
    """What one call adds to one pair, as the script reads it: numbers, separated by spaces."""

    function_id: str
    node_id: str
    sums: str  # errors, slow, ms, ns
    groups: str  # of buckets: (group, its GROUP counts)...
    minutes: str  # (minute, count, errors, slow, ms, ns)...
    updates: int


class Delta:
    """Additions to one pair's series. A duration is added up in whole nanoseconds, so sums are exact."""

    __slots__ = ("buckets", "errors", "minutes", "ns", "slow")

    def __init__(self) -> None:
        self.errors = 0
        self.slow = 0
        self.ns = 0
        self.buckets: dict[int, int] = {}
        self.minutes: dict[int, list[int]] = {}

    def merge(self, other: Delta) -> None:
        """Add what the other one adds."""
        self.errors += other.errors
        self.slow += other.slow
        self.ns += other.ns
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count
        for minute, added in other.minutes.items():
            cell = self.minutes.get(minute, (0, 0, 0, 0))
            self.minutes[minute] = [mine + theirs for mine, theirs in zip(cell, added, strict=True)]

    def _groups(self) -> dict[int, list[int]]:
        """The buckets, as the fields of a hash have them."""
        groups: dict[int, list[int]] = {}
        for index, count in self.buckets.items():
            group, at = divmod(index, GROUP)
            if group not in groups:
                groups[group] = [0] * GROUP
            groups[group][at] = count
        return groups

    def forget_minutes(self, keep: int) -> None:
        """Keep the latest ``keep`` minutes: while the server is away the earlier ones have passed out of use."""
        for minute in sorted(self.minutes)[:-keep]:
            del self.minutes[minute]

    def parts(self, pair: Pair) -> Iterator[Part]:
        """Yield what is to be sent, no part over ``MAX_UPDATES``. The sums go with the first."""
        sums = _numbers(self.errors, self.slow, *divmod(self.ns, NS_PER_MS))
        groups, minutes = iter(self._groups().items()), iter(self.minutes.items())
        while True:
            some = list(islice(groups, MAX_UPDATES - _SUMS))
            room = MAX_UPDATES - _SUMS - len(some)
            more = list(islice(minutes, room // _SUMS))
            if not some and not more:
                return
            yield Part(
                *pair,
                sums,
                _numbers(*chain.from_iterable((group, *counts) for group, counts in some)),
                " ".join(_numbers(minute, *counts, *divmod(ns, NS_PER_MS)) for minute, (*counts, ns) in more),
                _SUMS + len(some) + _SUMS * len(more),
            )
            sums = _numbers(0, 0, 0, 0)


def _numbers(*values: int) -> str:
    return " ".join(map(str, values))


class Deltas:
    """Additions to many pairs' series."""

    __slots__ = ("overflow", "pairs")

    def __init__(self) -> None:
        self.pairs: dict[Pair, Delta] = {}
        self.overflow = 0

    def absorb(self, records: Iterable[InvocationRecord], slow_ms: float) -> None:
        """Add what these records add. Their times are in UTC; a success over ``slow_ms`` was slow."""
        pairs = self.pairs
        start = end = _EPOCH
        minute = 0
        for record in records:
            pair = (record.function_id, record.node_id)
            delta = pairs.get(pair)
            if delta is None:
                delta = pairs[pair] = Delta()
            ns = round(record.duration_ms * NS_PER_MS)
            failed = not record.success
            slow = record.duration_ms > slow_ms and not failed
            delta.ns += ns
            delta.errors += failed
            delta.slow += slow
            index = bucket_index(record.duration_ms)
            delta.buckets[index] = delta.buckets.get(index, 0) + 1
            when = record.timestamp
            if not start <= when < end:  # dividing a time by a minute costs more than comparing it
                minute = (when - _EPOCH) // _MINUTE
                start = when.replace(second=0, microsecond=0)
                end = _next_minute(start)
            cell = delta.minutes.get(minute)
            if cell is None:
                delta.minutes[minute] = [1, int(failed), int(slow), ns]
            else:
                cell[0] += 1
                cell[1] += failed
                cell[2] += slow
                cell[3] += ns

    def merge(self, other: Deltas, *, max_pairs: int, max_minutes: int) -> None:
        """Add what the other adds; pairs past ``max_pairs`` under ``_other``, minutes to the latest ``max_minutes``."""
        self.overflow += other.overflow
        for pair, delta in other.pairs.items():
            mine = self.pairs.get(pair)
            if mine is None and len(self.pairs) >= max_pairs:
                self.overflow += sum(delta.buckets.values())
                mine = self.pairs.setdefault((OTHER, OTHER), Delta())
            if mine is None:
                self.pairs[pair] = delta
            else:
                mine.merge(delta)
                mine.forget_minutes(max_minutes)

    def parts(self) -> Iterator[Part]:
        """Yield what is to be sent of every pair, in the order in which they came: the first ones get the series."""
        for pair, delta in self.pairs.items():
            yield from delta.parts(pair)


def _next_minute(start: datetime) -> datetime:
    try:
        return start + _MINUTE
    except OverflowError:  # the last minute of the year 9999
        return start
