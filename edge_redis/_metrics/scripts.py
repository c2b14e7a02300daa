"""The scripts of the metrics, one function each: its keys and arguments, and how its reply is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple, NoReturn, TypeAlias

from edge_redis._core.operation import Argument, Operation, command, identity
from edge_redis._core.packing import unpack_strings
from edge_redis._core.script import load
from edge_redis._core.sketch import GROUP, MAX_DURATION_MS, MAX_INDEX, ZERO_INDEX
from edge_redis._metrics.config import MetricsConfig
from edge_redis._metrics.flush_calls import FlushCall
from edge_redis._metrics.keys import MetricsKeys, pair_name, parse_pair
from edge_redis._metrics.series import SUM_FIELDS, MinutePage, MinuteTotals, Series
from edge_redis.errors import CorruptDataError, ShardMovedError, StoreError

PURGED_PAIRS: Final = 10
"""Pairs whose keys one call removes: about a thousand names, as a timeline has one for each hour of a day."""

FORGOTTEN_PAIRS: Final = 10
"""Pairs whose series one call of forget removes."""

LISTED_PAIRS: Final = 500

_MAX_COUNT: Final = 1 << 63

Mark: TypeAlias = Literal["look", "closed"]
"""What a shard of an earlier number has: ``look`` while another number begins, then ``closed``."""

_add_pairs = load(__package__, "add_pairs")
_compact = load(__package__, "compact")
_flush = load(__package__, "flush")
_forget = load(__package__, "forget")
_list_pairs = load(__package__, "list_pairs")
_purge = load(__package__, "purge")
_read_minutes = load(__package__, "read_minutes")
_read_records = load(__package__, "read_records")
_read_series = load(__package__, "read_series")
_read_totals = load(__package__, "read_totals")
_reset = load(__package__, "reset")
_set_extra = load(__package__, "set_extra")


class Uncompacted(NamedTuple):
    """The reply to a read where the logs of these writers must be compacted first."""

    writers: list[str]


class PairPage(NamedTuple):
    """Some pairs, the cursor to go on from (0 at the end), and the number and the overflow of all.

    ``has_other`` says whether ``_other`` is among all: of several shards each may have it.
    """

    cursor: int
    pairs: list[tuple[str, str]]
    total: int
    overflow: int
    has_other: bool


class RecordPage(NamedTuple):
    """Entries of recent records with their ids, newest first, and the position to go on from; empty at the end."""

    position: bytes
    entries: list[tuple[bytes, bytes]]


def raise_corrupt(found: object) -> NoReturn:
    """Raise the error for a value in Redis that this package did not write."""
    raise CorruptDataError(f"{found!r} does not hold what was written there")


def _parse_int(text: bytes) -> int:
    try:
        number = int(text)
    except ValueError:
        raise_corrupt(text)
    if not 0 <= number < _MAX_COUNT:
        raise_corrupt(text)
    return number


class EarlierShardError(ShardMovedError):
    """A read has met a shard that is not of the present number, or a flush a closed one: nothing was done."""

    def __init__(self) -> None:
        super().__init__("the number of shards of the metrics is being changed: try again")


class CompactedLogError(StoreError):
    """A flush was to replace the last body of a log that was compacted: nothing was done."""

    def __init__(self) -> None:
        super().__init__("a write-ahead log of the metrics was compacted meanwhile: try again")


def _decode_epoch(reply: Any) -> str | None:
    if isinstance(reply, list):
        raise_corrupt(reply[1])
    text: str = reply.decode()
    if text == "CLOSED":
        raise EarlierShardError
    if text == "COMPACTED":
        raise CompactedLogError
    return None if text == "STALE" else text


def _decode_counts(fields: Sequence[bytes]) -> dict[bytes, int]:
    return {fields[at]: _parse_int(fields[at + 1]) for at in range(0, len(fields), 2)}


def _decode_series(packed: bytes) -> Series:
    words = unpack_strings(packed)
    fields = dict(zip(words[::2], words[1::2], strict=True))
    count, errors, slow, ms, ns = (_parse_int(fields.pop(name, b"0")) for name in SUM_FIELDS)
    started = fields.pop(b"b", None)
    longest = fields.pop(b"x", None)
    try:
        buckets = _decode_buckets(fields)
        max_ms = None if longest is None else float(longest)
    except ValueError:
        raise_corrupt(fields)
    if max_ms is not None and not 0.0 <= max_ms <= MAX_DURATION_MS:
        raise_corrupt(longest)
    return Series(count, errors, slow, ms, ns, buckets, None if started is None else _parse_int(started), max_ms)


def _decode_buckets(groups: Mapping[bytes, bytes]) -> dict[int, int]:
    buckets: dict[int, int] = {}
    for group, text in groups.items():
        counts = text.split(b",")
        if len(counts) != GROUP:
            raise ValueError("not the counts of a group")
        for index, count in enumerate(counts, GROUP * int(group)):
            if count != b"0":
                buckets[index] = int(count)
    if buckets and not (
        min(buckets) >= ZERO_INDEX
        and max(buckets) <= MAX_INDEX
        and 0 <= min(buckets.values()) <= max(buckets.values()) < _MAX_COUNT
    ):
        raise ValueError("a bucket or its count is out of range")
    return buckets


def _decode_sums(text: bytes) -> Series:
    try:
        count, errors, slow, ms, ns = map(int, text.split(b" "))
    except ValueError:
        raise_corrupt(text)
    if not 0 <= min(count, errors, slow, ms, ns) <= max(count, errors, slow, ms, ns) < _MAX_COUNT:
        raise_corrupt(text)
    return Series(count, errors, slow, ms, ns)


def _decode_uncompacted(reply: Sequence[Any]) -> Uncompacted | None:
    _check_present(reply)
    return Uncompacted([writer.decode() for writer in reply[1:]]) if reply[0] == b"WAL" else None


def _check_present(reply: Sequence[Any]) -> None:
    if reply[0] == b"EARLIER":
        raise EarlierShardError


def _decode_all_series(reply: Sequence[Any]) -> list[Series] | Uncompacted:
    return _decode_uncompacted(reply) or [_decode_series(fields) for fields in reply]


def _decode_all_sums(reply: Sequence[Any]) -> list[Series] | Uncompacted:
    return _decode_uncompacted(reply) or [_decode_sums(sums) for sums in reply]


def _decode_totals(reply: Sequence[Any], minutes: int) -> MinuteTotals | Uncompacted:
    if found := _decode_uncompacted(reply):
        return found
    return MinuteTotals(_parse_int(reply[0]), [_decode_minute_counts(text, minutes) for text in reply[1:]])


def _decode_minute_counts(text: bytes, minutes: int) -> list[int]:
    try:
        counts = list(map(int, text.split(b" ")))
    except ValueError:
        raise_corrupt(text)
    if len(counts) != minutes or not 0 <= min(counts) <= max(counts) < _MAX_COUNT:
        raise_corrupt(text)
    return counts


def _decode_count(reply: Any) -> int:
    if isinstance(reply, list):
        raise_corrupt(reply[1])
    return int(reply)


def _decode_minutes(reply: Sequence[Any]) -> MinutePage | Uncompacted:
    if found := _decode_uncompacted(reply):
        return found
    hours = {_parse_int(hour): _decode_counts(fields) for hour, fields in reply[1:]}
    return MinutePage(_parse_int(reply[0]), hours)


def _decode_pairs(reply: Sequence[Any]) -> PairPage | Uncompacted:
    if found := _decode_uncompacted(reply):
        return found
    try:
        pairs = [parse_pair(name) for name in unpack_strings(reply[1])]
    except ValueError:
        raise_corrupt(reply[1])
    return PairPage(_parse_int(reply[0]), pairs, _parse_int(reply[2]), _parse_int(reply[3]), reply[4] == 1)


def _decode_records(reply: Sequence[bytes]) -> RecordPage:
    _check_present(reply)
    return RecordPage(reply[0], list(zip(reply[1::2], reply[2::2], strict=True)))


class MetricsScripts:
    """Builds the operations on one shard of a namespace's metrics."""

    def __init__(self, keys: MetricsKeys, config: MetricsConfig, *, max_series: int, is_checked: bool = True) -> None:
        """Build them for a shard that gives ``max_series`` pairs a series.

        A read raises EarlierShardError where the shard is not of the present number, unless ``is_checked`` is false.
        """
        self._keys = keys
        self._config = config
        self._max_series = max_series
        self._data = [keys.epoch, keys.root]
        self._read = [*self._data, keys.earlier if is_checked else keys.root]

    def flush(self, call: FlushCall, writer_id: str, *, compact: bool = True) -> Operation[str | None]:
        """Add a batch; the epoch it belongs to, None where the server has seen later calls."""
        config = self._config
        args: list[Argument] = [
            writer_id,
            call.sequence,
            call.epoch,
            self._max_series,
            config.timeline_minutes,
            config.max_recent,
            config.max_errors,
            int(compact),
            call.earliest_ms,
            len(call.bodies),
            len(call.pair_names),
            *call.pair_names,
        ]
        for body in call.bodies:
            args += (body.log, len(body.text), body.replaces)
        for stream, count, entry in call.entries:
            args += (stream, count, len(entry))
        # A client sends a long argument by itself, and each such write wakes the server up: hence one argument.
        args.append(b"".join([body.text for body in call.bodies] + [entry for _, _, entry in call.entries]))
        keys = self._keys
        return _flush([keys.epoch, keys.flushes, keys.root, keys.since, keys.earlier], args, _decode_epoch)

    def compact(self, writer_id: str) -> Operation[int]:
        """Add up some of what a writer's logs hold; return how many bodies are left in them."""
        return _compact(self._data, [writer_id, self._config.timeline_minutes], _decode_count)

    def read_series(
        self, series: Sequence[str], *, buckets: bool = False, compacted: bool = True
    ) -> Operation[list[Series] | Uncompacted]:
        """Read series, on demand with their buckets."""
        decode = _decode_all_series if buckets else _decode_all_sums
        return _read_series(self._read, [int(buckets), int(compacted), *series], decode)

    def read_minutes(
        self, series: str, last: int | None, minutes: int, *, compacted: bool = True
    ) -> Operation[MinutePage | Uncompacted]:
        """Read minutes up to ``last``, or up to the current one."""
        args: list[Argument] = [series, "" if last is None else last, minutes, int(compacted)]
        return _read_minutes(self._read, args, _decode_minutes)

    def read_totals(
        self, series: Sequence[str], minutes: int, *, compacted: bool = True
    ) -> Operation[MinuteTotals | Uncompacted]:
        """Read the invocations of series in each minute up to the current one."""
        return _read_totals(self._read, [minutes, int(compacted), *series], partial(_decode_totals, minutes=minutes))

    def read_records(self, stream: str, before: bytes, records: int) -> Operation[RecordPage]:
        """Read entries of a stream of records, from the newest, or from before a position."""
        return _read_records(self._read, [before, records, stream], _decode_records)

    def list_pairs(
        self, cursor: int, count: int = LISTED_PAIRS, *, compacted: bool = True
    ) -> Operation[PairPage | Uncompacted]:
        """List some of the pairs."""
        return _list_pairs(self._read, [cursor, count, int(compacted)], _decode_pairs)

    def reset(self, client_id: str, sequence: int, *, close: bool) -> Operation[str | None]:
        """Begin a new epoch; ``close`` a shard of an earlier number, so that no batch begins there."""
        keys = self._keys
        names = [keys.epoch, keys.retired, keys.repeats, keys.since, keys.earlier]
        return _reset(names, [client_id, sequence, int(close)], _decode_epoch)

    def add_pairs(self, pairs: Sequence[tuple[str, str]]) -> Operation[int]:
        """Add pairs to the list, without a series."""
        return _add_pairs(self._data, [pair_name(*pair) for pair in pairs], int)

    def set_extra(self, extra: int) -> Operation[int]:
        """Set how many more pairs get a series than in a shard of an equal share."""
        return _set_extra(self._data, [extra], int)

    def mark(self, mark: Mark | None) -> Operation[object]:
        """Mark the shard as one of an earlier number, or as one of the present number."""
        key = self._keys.earlier
        return command(identity, "DEL", key) if mark is None else command(identity, "SET", key, mark)

    def read_mark(self) -> Operation[bytes | None]:
        """Return the mark of a shard of an earlier number."""
        return command(identity, "GET", self._keys.earlier)

    def forget(self, client_id: str, sequence: int, series: Sequence[str], pairs: Sequence[str]) -> Operation[bool]:
        """Remove series, and pairs from the list; False where write-ahead logs must be compacted first."""
        keys = self._keys
        args: list[Argument] = [client_id, sequence, self._config.timeline_minutes, len(series), *series, *pairs]
        return _forget([keys.epoch, keys.root, keys.repeats, keys.since], args, lambda reply: reply == b"OK")

    def purge(self) -> Operation[int]:
        """Remove some keys of past epochs; 1 where there are more."""
        args: list[Argument] = [PURGED_PAIRS, self._config.timeline_minutes]
        return _purge([self._keys.retired, self._keys.root], args, int)
