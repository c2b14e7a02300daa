"""The sums that a batch of records adds to the series of its (function, node) pairs.

The compaction script derives the other series (a function's, a node's, all) from the pairs, so
that a pair which is counted under ``_other`` is so in every one of them.

A *body* is sums that one flush call adds, as the scripts read them: the JSON text
``[overflow, parts, token]``, each part ``[function, node, errors, slow, ms, ns, [bucket, ...], [its
count, ...], [minute, count, errors, slow, ms, ns, ...], updates, max]``, where ``updates`` is
about how much work the part is (``MAX_UPDATES``), and ``max`` is the longest duration in ms. The
token is the name of the body, see ``log_tails``.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from edge_redis._core.sketch import BUCKETS_PER_DOUBLING, GROUP, SMALLEST_MS, ZERO_INDEX
from edge_redis._metrics.columns import Pair, RecordColumns
from edge_redis._metrics.keys import OTHER

NS_PER_MS: Final = 1_000_000
MAX_UPDATES: Final = 500
"""Work of one part: the fields that it adds to in its pair's own series, and ``_KEYS`` more."""

_KEYS: Final = 20  # reading and writing the keys of a part takes as long as these fields
_SUMS: Final = 5  # fields of sums: the count, the failures, the slow ones, and two for the sum of durations
_FEW: Final = 8  # up to this many, counting one by one is faster than making a Counter
_MINUTE: Final = 60.0
_ROUNDER: Final = 1.5 * 2.0**52
_ROUNDS_UNDER: Final = 2.0**51

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class PairPart(NamedTuple):
    """The sums that one call adds to one pair; see the top of the file."""

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
    max_ms: float


def encode_body(overflow: int, parts: Sequence[PairPart], token: str) -> bytes:
    """Return the body that adds these parts."""
    return _encode([overflow, parts, token]).encode()


class PairTotals:
    """Sums of one pair's invocations. Durations are summed in whole nanoseconds, so sums are exact."""

    __slots__ = ("buckets", "errors", "max_ms", "minutes", "ns", "slow")

    def __init__(self) -> None:
        self.errors = 0
        self.slow = 0
        self.ns = 0
        self.max_ms = 0.0
        self.buckets: dict[int, int] = {}
        self.minutes: dict[int, Sequence[int]] = {}

    def add(self, minute: int, durations: Sequence[float], failed: int, slow: int) -> None:
        """Add invocations of one minute: their durations, how many failed, and how many were slow."""
        longest = max(durations)
        ns = _sum_nanoseconds(durations, longest)
        self._count_buckets(_bucket_indexes(durations))
        self.ns += ns
        self.max_ms = max(self.max_ms, longest)
        self.errors += failed
        self.slow += slow
        self._add_minute(minute, (len(durations), failed, slow, ns))

    def _count_buckets(self, indexes: list[int]) -> None:
        if len(indexes) > _FEW and not self.buckets:
            self.buckets.update(Counter(indexes))
            return
        buckets = self.buckets
        for index in indexes:
            buckets[index] = buckets.get(index, 0) + 1

    def _add_minute(self, minute: int, added: Sequence[int]) -> None:
        known = self.minutes.get(minute)
        self.minutes[minute] = added if known is None else [a + b for a, b in zip(known, added, strict=True)]

    def merge(self, other: PairTotals, max_minutes: int | None = None) -> PairTotals:
        """Return the sum of both; with the latest ``max_minutes`` minutes, where that is given."""
        total = PairTotals()
        total.errors = self.errors + other.errors
        total.slow = self.slow + other.slow
        total.ns = self.ns + other.ns
        total.max_ms = max(self.max_ms, other.max_ms)
        total.buckets = dict(self.buckets)
        for index, count in other.buckets.items():
            total.buckets[index] = total.buckets.get(index, 0) + count
        total.minutes = dict(self.minutes)
        for minute, sums in other.minutes.items():
            total._add_minute(minute, sums)
        if max_minutes is not None and len(total.minutes) > max_minutes:
            for minute in sorted(total.minutes)[:-max_minutes]:  # they would expire before the server is back
                del total.minutes[minute]
        return total

    def split(self, pair: Pair) -> Iterator[PairPart]:
        """Yield parts, none over ``MAX_UPDATES``. The sums and the buckets go with the first."""
        sums = (self.errors, self.slow, *divmod(self.ns, NS_PER_MS))
        buckets, counts = list(self.buckets), list(self.buckets.values())
        fields = min(len(buckets), (max(buckets) - min(buckets)) // GROUP + 1)
        minutes = iter(self.minutes.items())
        while some := list(islice(minutes, (MAX_UPDATES - _KEYS - _SUMS - fields) // _SUMS)):
            cells = [number for minute, (*first, ns) in some for number in (minute, *first, *divmod(ns, NS_PER_MS))]
            updates = _KEYS + _SUMS + fields + _SUMS * len(some)
            yield PairPart(*pair, *sums, buckets, counts, cells, updates, self.max_ms)
            sums, buckets, counts, fields = (0, 0, 0, 0), [], [], 0


def _sum_nanoseconds(durations: Sequence[float], longest: float) -> int:
    """Return the sum of durations in ms, each rounded to whole nanoseconds."""
    if longest * len(durations) * NS_PER_MS < _ROUNDS_UNDER:
        # Adding and subtracting 1.5 * 2^52 leaves no bits for a fraction: it rounds, in a third of the time of
        # round(). All is below 2^51 here, so every sum of these whole numbers is exact.
        return int(sum([duration * NS_PER_MS + _ROUNDER - _ROUNDER for duration in durations]))
    return sum([round(duration * NS_PER_MS) for duration in durations])


def _bucket_indexes(durations: Sequence[float]) -> list[int]:
    """Return the bucket of each duration; inlines ``sketch.bucket_index``, whose call takes half of the time."""
    ceil, log2 = math.ceil, math.log2
    if min(durations) >= SMALLEST_MS:
        return [ceil(log2(duration) * BUCKETS_PER_DOUBLING) - 1 for duration in durations]
    return [
        ceil(log2(duration) * BUCKETS_PER_DOUBLING) - 1 if duration >= SMALLEST_MS else ZERO_INDEX
        for duration in durations
    ]


class Totals:
    """The sums of many pairs, in the order in which the pairs first came. Immutable."""

    __slots__ = ("overflow", "pairs")

    def __init__(self, pairs: Mapping[Pair, PairTotals] | None = None, overflow: int = 0) -> None:
        self.pairs: Mapping[Pair, PairTotals] = {} if pairs is None else pairs
        self.overflow = overflow

    def merge(self, more: Totals, *, max_pairs: int, max_minutes: int) -> Totals:
        """Return the sum of both: pairs past ``max_pairs`` under ``_other``, the latest ``max_minutes`` of each."""
        if not self.pairs:
            return more
        pairs, overflow = dict(self.pairs), self.overflow + more.overflow
        for pair, added in more.pairs.items():
            place = pair
            if pair not in pairs and len(pairs) >= max_pairs:
                overflow += sum(added.buckets.values())
                place = (OTHER, OTHER)
            known = pairs.get(place)
            pairs[place] = added if known is None else known.merge(added, max_minutes)
        return Totals(pairs, overflow)

    def split(self) -> Iterator[PairPart]:
        """Yield the parts of every pair, in order: the first pairs get the series that are left."""
        for pair, totals in self.pairs.items():
            yield from totals.split(pair)


NO_TOTALS: Final = Totals()


def sum_records(columns: RecordColumns, failures: Sequence[int], slow_ms: float) -> Totals:
    """Return the sums of these records, of which those in the places ``failures`` failed.

    A success that took longer than ``slow_ms`` was slow.
    """
    timestamps = columns.timestamps
    first, last = min(timestamps) // _MINUTE, max(timestamps) // _MINUTE
    totals = [PairTotals() for _ in columns.pairs]
    if first == last:  # the usual case
        _add_minute(totals, int(first), columns, failures, slow_ms)
    else:
        by_minute: defaultdict[float, list[int]] = defaultdict(list)
        for at, timestamp in enumerate(timestamps):
            by_minute[timestamp // _MINUTE].append(at)
        for minute, places in by_minute.items():
            some = columns.select(places)
            _add_minute(totals, int(minute), some, some.find_failures(), slow_ms)
    return Totals(dict(zip(columns.pairs, totals, strict=True)))


def _add_minute(
    totals: Sequence[PairTotals], minute: int, columns: RecordColumns, failures: Sequence[int], slow_ms: float
) -> None:
    durations: list[list[float]] = [[] for _ in totals]
    for number, duration in zip(columns.numbers, columns.durations, strict=True):
        durations[number].append(duration)
    failed = Counter([columns.numbers[at] for at in failures])
    slow = _count_slow(columns, slow_ms)
    for number, some in enumerate(durations):
        if some:
            totals[number].add(minute, some, failed[number], slow[number])


def _count_slow(columns: RecordColumns, slow_ms: float) -> Counter[int]:
    if slow_ms == math.inf or max(columns.durations) <= slow_ms:
        return Counter()
    return Counter(
        [
            number
            for number, record in zip(columns.numbers, columns.records, strict=True)
            if record.success and record.duration_ms > slow_ms
        ]
    )
