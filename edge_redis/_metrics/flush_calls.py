"""The calls of the flush script that deliver a batch, each within its bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, NamedTuple

from edge_redis._metrics import record_stream
from edge_redis._metrics.columns import RecordColumns
from edge_redis._metrics.keys import pair_name
from edge_redis._metrics.totals import MAX_UPDATES, PairPart, Totals, encode_body

MAX_STREAM_ENTRIES: Final = 6
"""Stream entries in one call: the 1,000 records of a usual flush fill five, and those that failed one more."""


class StreamEntry(NamedTuple):
    """One entry of a stream of records, and how many records it has."""

    stream: str
    records: int
    body: bytes


@dataclass(frozen=True, slots=True, eq=False)
class FlushCall:
    """One call of the flush script: always sent with this sequence number and this content."""

    sequence: int
    epoch: str
    """The epoch that the first call of the batch found; empty in that call."""
    pair_names: Sequence[str]
    """Of the pairs in the body."""
    body: str
    entries: Sequence[StreamEntry]
    earliest_ms: int
    """The time of the earliest record of the batch, in ms since 1970."""


def split_calls(
    totals: Totals, recent: RecordColumns, failed: RecordColumns, *, sequence: int, earliest_ms: int
) -> tuple[FlushCall, ...]:
    """Return the calls that deliver a batch; the first has the number that follows ``sequence``."""
    entries = chain(_split_stream("recent", recent), _split_stream("errors", failed))
    calls: list[FlushCall] = []
    overflow = totals.overflow
    for number, (parts, some) in enumerate(_load_calls(totals, entries), sequence + 1):
        names = dict.fromkeys(pair_name(part.function_id, part.node_id) for part in parts)
        calls.append(FlushCall(number, "", list(names), encode_body(overflow, parts), some, earliest_ms))
        overflow = 0
    return tuple(calls)


def _split_stream(stream: str, columns: RecordColumns) -> Iterator[StreamEntry]:
    return (StreamEntry(stream, count, body) for count, body in record_stream.split_entries(columns))


def _load_calls(totals: Totals, entries: Iterator[StreamEntry]) -> Iterator[tuple[list[PairPart], list[StreamEntry]]]:
    """Yield the load of each call: some parts and some records, each within its bound."""
    for parts in _group_parts(totals.split()):
        yield parts, list(islice(entries, MAX_STREAM_ENTRIES))
    while rest := list(islice(entries, MAX_STREAM_ENTRIES)):
        yield [], rest


def _group_parts(parts: Iterator[PairPart]) -> Iterator[list[PairPart]]:
    """Yield as many parts at a time as one call may carry."""
    group: list[PairPart] = []
    updates = 0
    for part in parts:
        if updates + part.updates > MAX_UPDATES and group:
            yield group
            group, updates = [], 0
        group.append(part)
        updates += part.updates
    if group:
        yield group
