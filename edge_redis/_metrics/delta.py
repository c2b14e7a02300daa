"""What a batch adds to the series of its (function, node) pairs, added up in the process.

The script works out the other series (a function's, a node's, all) from the pairs, so that a
pair which goes under ``_other`` does so in every one of them.

A *body* is what one call adds, as the scripts read it: the JSON text ``[overflow, parts]``, each
part ``[function, node, errors, slow, ms, ns, [bucket, ...], [its count, ...], [minute, count,
errors, slow, ms, ns, ...], fields]``, where ``fields`` is about how many fields of the pair's own keys change.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from edge_redis._metrics.columns import Columns, Pair
from edge_redis._metrics.keys import OTHER
from edge_redis._metrics.sketch import BUCKETS_PER_DOUBLING, GROUP, SMALLEST_MS, ZERO_INDEX

NS_PER_MS: Final = 1_000_000
MAX_UPDATES: Final = 500
"""Fields of its pairs' own series that one call adds to; with the three others of each pair, four times as many."""

_SUMS: Final = 5  # the fields of a count, those that failed, those that were slow, and a sum of durations
_FEW: Final = 8  # what takes as long to count one by one as a Counter takes to be made
_MINUTE: Final = 60.0
_ROUNDER: Final = 1.5 * 2.0**52
_ROUNDS_UNDER: Final = 2.0**51

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Part(NamedTuple):
    """What one call adds to one pair; see the top of the file."""

    function_id: str
    node_id: str
    errors: int
    slow: int
    ms: int
    ns: int
    buckets: list[int]
    counts: list[int]
    minutes: list[int]
    updates: int


def body_of(overflow: int, parts: Sequence[Part]) -> str:
    """Return what a call adds, as the scripts read it; empty for nothing."""
    return _encode([overflow, parts]) if parts or overflow else ""


class Delta:
    """Additions to one pair's series. A duration is added up in whole nanoseconds, so sums are exact."""

    __slots__ = ("buckets", "errors", "minutes", "ns", "slow")

    def __init__(self) -> None:
        self.errors = 0
        self.slow = 0
        self.ns = 0
        self.buckets: dict[int, int] = {}
        self.minutes: dict[int, list[int]] = {}

    def absorb(self, minute: int, durations: Sequence[float], failed: int, slow: int) -> None:
        """Add invocations of one minute: how long each took, how many failed, and how many were slow."""
        ns = _nanoseconds(durations)
        self._count(_indexes(durations))
        self.ns += ns
        self.errors += failed
        self.slow += slow
        self._add_minute(minute, (len(durations), failed, slow, ns))

    def _count(self, indexes: list[int]) -> None:
        if len(indexes) > _FEW and not self.buckets:
            self.buckets.update(Counter(indexes))
            return
        buckets = self.buckets
        for index in indexes:
            buckets[index] = buckets.get(index, 0) + 1

    def _add_minute(self, minute: int, added: Sequence[int]) -> None:
        cell = self.minutes.get(minute, (0, 0, 0, 0))
        self.minutes[minute] = [mine + theirs for mine, theirs in zip(cell, added, strict=True)]

    def merge(self, other: Delta) -> None:
        """Add what the other one adds."""
        self.errors += other.errors
        self.slow += other.slow
        self.ns += other.ns
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count
        for minute, added in other.minutes.items():
            self._add_minute(minute, added)

    def forget_minutes(self, keep: int) -> None:
        """Keep the latest ``keep`` minutes: while the server is away the earlier ones have passed out of use."""
        if len(self.minutes) > keep:
            for minute in sorted(self.minutes)[:-keep]:
                del self.minutes[minute]

    def parts(self, pair: Pair) -> Iterator[Part]:
        """Yield what is to be sent, no part over ``MAX_UPDATES``. The sums and the buckets go with the first."""
        sums = (self.errors, self.slow, *divmod(self.ns, NS_PER_MS))
        buckets, counts = list(self.buckets), list(self.buckets.values())
        fields = min(len(buckets), (max(buckets) - min(buckets)) // GROUP + 1)
        minutes = iter(self.minutes.items())
        while some := list(islice(minutes, (MAX_UPDATES - _SUMS - fields) // _SUMS)):
            cells = [number for minute, (*sums_of, ns) in some for number in (minute, *sums_of, *divmod(ns, NS_PER_MS))]
            yield Part(*pair, *sums, buckets, counts, cells, _SUMS + fields + _SUMS * len(some))
            sums, buckets, counts, fields = (0, 0, 0, 0), [], [], 0


def _nanoseconds(durations: Sequence[float]) -> int:
    """Return the sum of durations in ms, each rounded to whole nanoseconds."""
    if max(durations) * len(durations) * NS_PER_MS < _ROUNDS_UNDER:
        # Adding and taking away 1.5 * 2^52 leaves no room for a fraction: round, in a third of its time. All is
        # below 2^51 here, so that every sum of these whole numbers is exact.
        return int(sum([duration * NS_PER_MS + _ROUNDER - _ROUNDER for duration in durations]))
    return sum([round(duration * NS_PER_MS) for duration in durations])


def _indexes(durations: Sequence[float]) -> list[int]:
    """Return the bucket of each: ``sketch.bucket_index`` without a call for each, which is half of its time."""
    ceil, log2 = math.ceil, math.log2
    if min(durations) >= SMALLEST_MS:
        return [ceil(log2(duration) * BUCKETS_PER_DOUBLING) - 1 for duration in durations]
    return [
        ceil(log2(duration) * BUCKETS_PER_DOUBLING) - 1 if duration >= SMALLEST_MS else ZERO_INDEX
        for duration in durations
    ]


class Deltas:
    """Additions to many pairs' series."""

    __slots__ = ("overflow", "pairs")

    def __init__(self) -> None:
        self.pairs: dict[Pair, Delta] = {}
        self.overflow = 0

    def absorb(self, columns: Columns, slow_ms: float) -> None:
        """Add what these records add. A success over ``slow_ms`` was slow."""
        stamps = columns.stamps
        first, last = min(stamps) // _MINUTE, max(stamps) // _MINUTE
        if first == last:  # as a rule
            self._absorb(int(first), columns, slow_ms)
            return
        for pair in columns.pairs:
            self._of(pair)  # they keep the order in which they came
        by_minute: defaultdict[float, list[int]] = defaultdict(list)
        for at, stamp in enumerate(stamps):
            by_minute[stamp // _MINUTE].append(at)
        for minute, places in by_minute.items():
            self._absorb(int(minute), columns.those(places), slow_ms)

    def _absorb(self, minute: int, columns: Columns, slow_ms: float) -> None:
        durations: defaultdict[Pair, list[float]] = defaultdict(list)
        for pair, duration in zip(columns.pairs, columns.durations, strict=True):
            durations[pair].append(duration)
        failed = Counter([columns.pairs[at] for at in columns.failed()])
        slow: Counter[Pair] = Counter()
        if max(columns.durations) > slow_ms:
            slow.update(
                pair
                for pair, record in zip(columns.pairs, columns.records, strict=True)
                if record.success and record.duration_ms > slow_ms
            )
        for pair, some in durations.items():
            self._of(pair).absorb(minute, some, failed[pair], slow[pair])

    def _of(self, pair: Pair) -> Delta:
        found = self.pairs.get(pair)
        if found is None:
            found = self.pairs[pair] = Delta()
        return found

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
