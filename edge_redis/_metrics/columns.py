"""Records by column, since computing over a whole column is several times faster than record by record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import TypeAlias

from edge_redis.models import InvocationRecord

Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RecordColumns:
    """Records by column, all in one order. Immutable."""

    records: list[InvocationRecord]
    pairs: list[Pair]
    """Distinct (function, node) pairs, in the order in which they first came; some may have no record here."""
    numbers: list[int]
    """For each record, the index of its pair."""
    durations: list[float]
    """In milliseconds."""
    timestamps: list[float]
    """In seconds since 1970."""

    @classmethod
    def of(cls, records: list[InvocationRecord]) -> RecordColumns:
        """Return valid records by column."""
        to_seconds = datetime.timestamp
        number_of: defaultdict[Pair, int] = defaultdict(count().__next__)
        numbers = [number_of[record.function_id, record.node_id] for record in records]
        return cls(
            records,
            list(number_of),
            numbers,
            [record.duration_ms for record in records],
            [to_seconds(record.timestamp) for record in records],
        )

    def __len__(self) -> int:
        return len(self.records)

    def select(self, places: Iterable[int]) -> RecordColumns:
        """Return the records in these places."""
        kept = list(places)
        records, numbers, durations, timestamps = self.records, self.numbers, self.durations, self.timestamps
        return RecordColumns(
            [records[at] for at in kept],
            self.pairs,
            [numbers[at] for at in kept],
            [durations[at] for at in kept],
            [timestamps[at] for at in kept],
        )

    def find_failures(self) -> list[int]:
        """Return the places of the records that did not succeed."""
        return [at for at, record in enumerate(self.records) if not record.success]

    def extend_within(self, more: RecordColumns, limit: int) -> RecordColumns:
        """Return these records followed by ``more``, the latest ``limit`` of them."""
        if not self.records and len(more) <= limit:
            return more
        if len(more) >= limit:
            return more.slice(slice(len(more) - limit, None))
        own = self.slice(slice(max(0, len(self) + len(more) - limit), None))
        number_of: defaultdict[Pair, int] = defaultdict(count().__next__)
        numbers = [number_of[each.pairs[number]] for each in (own, more) for number in each.numbers]
        return RecordColumns(
            own.records + more.records,
            list(number_of),
            numbers,
            own.durations + more.durations,
            own.timestamps + more.timestamps,
        )

    def slice(self, part: slice) -> RecordColumns:
        """Return a contiguous part."""
        return RecordColumns(
            self.records[part], self.pairs, self.numbers[part], self.durations[part], self.timestamps[part]
        )

    def split(self, size: int) -> Iterator[RecordColumns]:
        """Yield all records, at most ``size`` at a time."""
        for at in range(0, len(self), size):
            yield self.slice(slice(at, at + size))

    def number_used_pairs(self) -> tuple[list[Pair], list[int]]:
        """Return the pairs that have a record here, and for each record the index of its pair among them."""
        used = list(dict.fromkeys(self.numbers))
        new_numbers = {number: at for at, number in enumerate(used)}
        return [self.pairs[number] for number in used], [new_numbers[number] for number in self.numbers]


EMPTY = RecordColumns([], [], [], [], [])
