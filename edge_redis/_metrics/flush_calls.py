"""The calls of the flush script that deliver a batch, each within its bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Final, NamedTuple

from edge_redis._core.shard_record import ShardPlace, choose_shard
from edge_redis._metrics import record_stream
from edge_redis._metrics.columns import EMPTY, Pair, RecordColumns
from edge_redis._metrics.keys import OTHER_PAIR, pair_name
from edge_redis._metrics.totals import PairPart, PairTotals, Totals, encode_body

MAX_STREAM_ENTRIES: Final = 6
"""Stream entries in one call: the 1,000 records of a usual flush fill five, and those that failed one more."""


MAX_WORK: Final = 2400
"""Work of one call: that of its parts in each of the four series of their pairs; less where parts share a series.

The 1,000 records of a usual flush fit into it. A call that adds its batch at once adds less (compaction.lua), and
leaves the rest in the logs. A call with one part alone may have more: four times ``MAX_UPDATES``.
"""

SHARE_OF_MERGED: Final = 0.06  # of the work of a part in a series that an earlier part of the call is added to

LOGS: Final = 6
"""Write-ahead logs of a writer, as the scripts have it: each holds other pairs, so that compacting one is short."""


class Body(NamedTuple):
    """The sums that a call adds to pairs whose log has this number; see ``totals``."""

    log: int
    text: bytes


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
    """The epoch that the batch's first call to this shard found; empty in that call."""
    pair_names: Sequence[str]
    """Of the pairs in the bodies."""
    bodies: Sequence[Body]
    """Each for another log."""
    entries: Sequence[StreamEntry]
    earliest_ms: int
    """The time of the earliest record of the batch, in ms since 1970."""
    shard: int = 0
    """The number of the shard that the call is for, of this number of ``shards``."""
    shards: int = 1
    sums: Sums | None = None
    """What all calls of the batch deliver to this shard, for the shards of another number where this one is closed."""

    @property
    def place(self) -> ShardPlace:
        """The shard that the call is for."""
        return ShardPlace(self.shards, self.shard)


class Sums(NamedTuple):
    """What a batch delivers to one shard: the sums of pairs, and records for the two streams."""

    totals: Totals
    recent: RecordColumns
    failed: RecordColumns


def split_calls(
    sums: Sums, *, shards: int, choose_log: Callable[[str], int], sequence: int, earliest_ms: int
) -> tuple[FlushCall, ...]:
    """Return the calls that deliver a batch; the first has the number that follows ``sequence``.

    ``choose_log`` returns the number of the log for the pair of a name.
    """
    calls: list[FlushCall] = []
    for shard, part in enumerate(_split_shards(sums, shards)):
        first = sequence + len(calls) + 1
        calls += _split_calls(part, choose_log, first, FlushCall(0, "", (), (), (), earliest_ms, shard, shards, part))
    return tuple(calls)


def _split_shards(sums: Sums, shards: int) -> list[Sums]:
    """Return what goes to each shard. A record goes where its pair does, and what overflowed here to ``_other``'s."""
    if shards == 1:
        return [sums]
    totals: list[dict[Pair, PairTotals]] = [{} for _ in range(shards)]
    for pair, each in sums.totals.pairs.items():
        totals[choose_shard(pair_name(*pair), shards)][pair] = each
    overflow = [0] * shards
    overflow[choose_shard(OTHER_PAIR, shards)] = sums.totals.overflow
    recent, failed = (_split_columns(columns, shards) for columns in (sums.recent, sums.failed))
    return [Sums(Totals(totals[at], overflow[at]), recent[at], failed[at]) for at in range(shards)]


def _split_columns(columns: RecordColumns, shards: int) -> list[RecordColumns]:
    shard_of = [choose_shard(pair_name(*pair), shards) for pair in columns.pairs]
    places: list[list[int]] = [[] for _ in range(shards)]
    for at, number in enumerate(columns.numbers):
        places[shard_of[number]].append(at)
    return [columns.select(some) if some else EMPTY for some in places]


def _split_calls(sums: Sums, choose_log: Callable[[str], int], first: int, call: FlushCall) -> Iterator[FlushCall]:
    """Yield the calls for one shard: ``call`` with numbers from ``first`` on, and with their contents."""
    entries = chain(_split_stream("recent", sums.recent), _split_stream("errors", sums.failed))
    overflow = sums.totals.overflow
    for number, (parts, some) in enumerate(_load_calls(sums.totals, entries), first):
        names = [pair_name(part.function_id, part.node_id) for part in parts]
        bodies = _encode_bodies(overflow, zip(map(choose_log, names), parts, strict=True))
        yield replace(call, sequence=number, pair_names=list(dict.fromkeys(names)), bodies=bodies, entries=some)
        overflow = 0


def _encode_bodies(overflow: int, parts: Iterable[tuple[int, PairPart]]) -> list[Body]:
    """Return parts as one body for each log; the overflow goes with the first."""
    of_log: dict[int, list[PairPart]] = {}
    for log, part in parts:
        of_log.setdefault(log, []).append(part)
    return [Body(log, encode_body(0 if at else overflow, some)) for at, (log, some) in enumerate(of_log.items())]


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
    names: set[str | None] = set()
    work = 0.0
    for part in parts:
        more = part.updates * _count_series(part, names)
        if work + more > MAX_WORK and group:
            yield group
            group, work = [], 0.0
            names.clear()
            more = part.updates * _count_series(part, names)
        group.append(part)
        work += more
        names.update((None, f"f:{part.function_id}", f"n:{part.node_id}"))
    if group:
        yield group


def _count_series(part: PairPart, names: set[str | None]) -> float:
    """Return how many of the four series of a part are not among these ``names`` (None: all)."""
    others = (None, f"f:{part.function_id}", f"n:{part.node_id}")
    return 1 + sum(SHARE_OF_MERGED if name in names else 1 for name in others)
