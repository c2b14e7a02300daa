"""Records by column: computing over many at once takes a fraction of the time of one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeAlias

from edge_redis.models import InvocationRecord

Pair: TypeAlias = tuple[str, str]


class Columns:
    """Records, their (function, node) pairs, durations in ms, and times in seconds since 1970, in one order.

    Never changed once made: what combines two returns a third.
    """

    __slots__ = ("durations", "pairs", "records", "timestamps")

    def __init__(
        self, records: list[InvocationRecord], pairs: list[Pair], durations: list[float], timestamps: list[float]
    ) -> None:
        self.records = records
        self.pairs = pairs
        self.durations = durations
        self.timestamps = timestamps

    @classmethod
    def of(cls, records: list[InvocationRecord]) -> Columns:
        """Return valid records by column."""
        to_seconds = datetime.timestamp
        return cls(
            records,
            [(record.function_id, record.node_id) for record in records],
            [record.duration_ms for record in records],
            [to_seconds(record.timestamp) for record in records],
        )

    def __len__(self) -> int:
        return len(self.records)

    def select(self, places: Iterable[int]) -> Columns:
        """Return the records in these places."""
        kept = list(places)
        records, pairs, durations, timestamps = self.records, self.pairs, self.durations, self.timestamps
        return Columns(
            [records[at] for at in kept],
            [pairs[at] for at in kept],
            [durations[at] for at in kept],
            [timestamps[at] for at in kept],
        )

    def find_failures(self) -> list[int]:
        """Return the places of the records that did not succeed."""
        return [at for at, record in enumerate(self.records) if not record.success]

    def extend_within(self, more: Columns, limit: int) -> Columns:
        """Return these records followed by ``more``, the latest ``limit`` of them."""
        if len(more) >= limit or not self.records:
            return more.slice(slice(max(0, len(more) - limit), None))
        own = slice(max(0, len(self) + len(more) - limit), None)
        return Columns(
            self.records[own] + more.records,
            self.pairs[own] + more.pairs,
            self.durations[own] + more.durations,
            self.timestamps[own] + more.timestamps,
        )

    def slice(self, part: slice) -> Columns:
        """Return a contiguous part."""
        return Columns(self.records[part], self.pairs[part], self.durations[part], self.timestamps[part])

    def split(self, size: int) -> Iterator[Columns]:
        """Yield all records, at most ``size`` at a time."""
        for at in range(0, len(self), size):
            yield self.slice(slice(at, at + size))


EMPTY = Columns([], [], [], [])


def number_pairs(pairs: Sequence[Pair]) -> tuple[list[Pair], list[int]]:
    """Return the distinct pairs, and for each of ``pairs`` its index among them."""
    distinct = list(dict.fromkeys(pairs))
    indexes = {pair: at for at, pair in enumerate(distinct)}
    return distinct, list(map(indexes.__getitem__, pairs))
