"""The calls of the flush script that deliver a batch, each within its bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Final, NamedTuple

from edge_redis._core.shard_record import ShardPlace, choose_shard
from edge_redis._metrics import record_stream
from edge_redis._metrics.columns import EMPTY, Pair, RecordColumns
from edge_redis._metrics.keys import OTHER_PAIR, pair_name
from edge_redis._metrics.log_tails import Body, LogTail, PairSums, Tails, append_sums, extend_tail, make_body
from edge_redis._metrics.totals import PairPart, PairTotals, Totals

MAX_STREAM_ENTRIES: Final = 6
"""Stream entries in one call: the 1,000 records of a usual flush fill five, and those that failed one more."""


MAX_WORK: Final = 2400
"""Work of one call: that of its parts in each of the four series of their pairs; less where parts share a series.

The 1,000 records of a usual flush fit into it. A call that adds its batch at once adds less (compaction.lua), and
leaves the rest in the logs. A call with one part alone may have more: four times ``MAX_UPDATES``.
"""

SHARE_OF_MERGED: Final = 0.06  # of the work of a part in a series that an earlier part of the call is added to

COMPACTED_UPDATES: Final = 300
"""Work of parts that one call adds up in any case: each is in four series, see MAX_WORK of compaction.lua."""

LOGS: Final = 6
"""Write-ahead logs of a writer, as the scripts have it: each holds other pairs, so that compacting one is short."""


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
    added: Mapping[int, PairSums] = field(default_factory=dict)
    """What the call adds to each log. Empty in a batch of several calls to one shard, whose bodies are appended."""
    tails: Tails = field(default_factory=dict)
    """The last bodies of these logs once the call is applied, where they are known."""

    @property
    def is_compacted_at_once(self) -> bool:
        """Whether the server adds up all that the call brings, where it is to do so: it does a bounded amount."""
        return sum(body.updates for body in self.bodies) <= COMPACTED_UPDATES

    @property
    def place(self) -> ShardPlace:
        """The shard that the call is for."""
        return ShardPlace(self.shards, self.shard)

    def append_all(self) -> FlushCall:
        """Return this call with bodies that are appended: for a server that refused to replace others.

        Their tokens are others too, so that a body with the tokens of this call is always one of this call.
        """
        made = {log: append_sums(log, sums, f"{self.sequence}a") for log, sums in self.added.items()}
        bodies = [body for body, _ in made.values()]
        return replace(self, bodies=bodies, tails={log: tail for log, (_, tail) in made.items()})


class Sums(NamedTuple):
    """What a batch delivers to one shard: the sums of pairs, and records for the two streams."""

    totals: Totals
    recent: RecordColumns
    failed: RecordColumns


def split_calls(
    sums: Sums,
    *,
    shards: int,
    choose_log: Callable[[str], int],
    sequence: int,
    earliest_ms: int,
    tails: Mapping[int, Tails],
) -> tuple[FlushCall, ...]:
    """Return the calls that deliver a batch; the first has the number that follows ``sequence``.

    ``choose_log`` returns the number of the log for the pair of a name; ``tails`` are those of each shard.
    """
    calls: list[FlushCall] = []
    for shard, part in enumerate(_split_shards(sums, shards)):
        first = FlushCall(sequence + len(calls) + 1, "", (), (), (), earliest_ms, shard, shards, part)
        calls += _split_calls(part, choose_log, first, tails.get(shard, {}))
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


def _split_calls(sums: Sums, choose_log: Callable[[str], int], first: FlushCall, tails: Tails) -> Iterator[FlushCall]:
    """Yield the calls for one shard: ``first`` and further ones like it, with their contents."""
    entries = chain(_split_stream("recent", sums.recent), _split_stream("errors", sums.failed))
    loads = list(_load_calls(sums.totals, entries))
    if len(loads) == 1 and not sums.totals.overflow:
        yield _extend_tails(first, sums.totals.pairs, choose_log, tails, loads[0][1])
        return
    overflow = sums.totals.overflow
    for number, (parts, some) in enumerate(loads, first.sequence):
        names = [pair_name(part.function_id, part.node_id) for part in parts]
        bodies = _encode_bodies(overflow, zip(map(choose_log, names), parts, strict=True), str(number))
        yield replace(first, sequence=number, pair_names=list(dict.fromkeys(names)), bodies=bodies, entries=some)
        overflow = 0


def _extend_tails(
    call: FlushCall,
    pairs: PairSums,
    choose_log: Callable[[str], int],
    tails: Tails,
    entries: Sequence[StreamEntry],
) -> FlushCall:
    """Return the call with the sums of ``pairs``, each body with those of its log's last body where that pays."""
    names = [pair_name(*pair) for pair in pairs]
    added: dict[int, dict[Pair, PairTotals]] = {}
    for name, (pair, totals) in zip(names, pairs.items(), strict=True):
        added.setdefault(choose_log(name), {})[pair] = totals
    bodies: list[Body] = []
    new_tails: dict[int, LogTail] = {}
    for log, sums in added.items():
        body, new_tails[log] = extend_tail(log, tails.get(log), sums, str(call.sequence))
        bodies.append(body)
    return replace(call, pair_names=names, bodies=bodies, entries=entries, added=added, tails=new_tails)


def _encode_bodies(overflow: int, parts: Iterable[tuple[int, PairPart]], token: str) -> list[Body]:
    """Return parts as one body for each log; the overflow goes with the first."""
    of_log: dict[int, list[PairPart]] = {}
    for log, part in parts:
        of_log.setdefault(log, []).append(part)
    some = enumerate(of_log.items())
    return [make_body(log, parts, token, overflow=0 if at else overflow) for at, (log, parts) in some]


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
