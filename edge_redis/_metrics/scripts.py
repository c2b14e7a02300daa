"""The scripts of the metrics, as operations: which keys and arguments each takes, and what its reply means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, NoReturn

from edge_redis._core.operation import Argument, Operation
from edge_redis._core.script import load
from edge_redis._metrics.buffer import Call
from edge_redis._metrics.config import Settings
from edge_redis._metrics.keys import MetricsKeys, pair_of
from edge_redis._metrics.rollup import FIELDS, Minutes, Series
from edge_redis._metrics.sketch import GROUP
from edge_redis.errors import CorruptDataError

SWEPT_PAIRS: Final = 10
"""Pairs whose keys one call removes: about a thousand names, where a timeline has the hours of a day."""

LISTED_PAIRS: Final = 500

FOLD_AT: Final = 16
"""Bodies that a writer leaves to be added up, at most, as the flush script has it."""

_flush, _fold, _pairs, _read, _recent, _reset, _sweep, _timeline = (
    load(__package__, name) for name in ("flush", "fold", "pairs", "read", "recent", "reset", "sweep", "timeline")
)


class Unsettled(NamedTuple):
    """What a read says where these writers have left something that is to be added up first."""

    slots: list[str]


class Listing(NamedTuple):
    """Some of the pairs, where to go on (0 at the end), how many there are, and how much went past the bound."""

    cursor: int
    pairs: list[tuple[str, str]]
    total: int
    overflow: int


class Page(NamedTuple):
    """Entries of recent records, newest first, and where to go on; empty where there is nothing older."""

    position: bytes
    entries: list[bytes]


def corrupt(what: object) -> NoReturn:
    """Raise the error for a key whose value this package did not write."""
    raise CorruptDataError(f"{what!r} does not hold what was written there")


def _whole(word: bytes) -> int:
    try:
        return int(word)
    except ValueError:
        corrupt(word)


def _generation(reply: Any) -> str | None:
    if isinstance(reply, list):
        corrupt(reply[1])
    text: str = reply.decode()
    return None if text == "STALE" else text


def _table(words: Sequence[bytes]) -> dict[bytes, int]:
    return {words[at]: _whole(words[at + 1]) for at in range(0, len(words), 2)}


def _series(words: Sequence[bytes]) -> Series:
    fields = dict(zip(words[::2], words[1::2], strict=True))
    count, errors, slow, ms, ns = (_whole(fields.pop(name, b"0")) for name in FIELDS)
    buckets: dict[int, int] = {}
    for group, counts in fields.items():
        first = GROUP * _whole(group)
        for index, number in enumerate(counts.split(b","), first):
            if number != b"0":
                buckets[index] = _whole(number)
    return Series(count, errors, slow, ms, ns, buckets)


def _sums(text: bytes) -> Series:
    try:
        count, errors, slow, ms, ns = map(int, text.split(b" "))
    except ValueError:
        corrupt(text)
    return Series(count, errors, slow, ms, ns)


def _unsettled(reply: Sequence[Any]) -> Unsettled | None:
    return Unsettled([slot.decode() for slot in reply[1:]]) if reply[0] == b"LOG" else None


def _read_series(reply: Sequence[Any]) -> list[Series] | Unsettled:
    return _unsettled(reply) or [_series(words) for words in reply]


def _read_sums(reply: Sequence[Any]) -> list[Series] | Unsettled:
    return _unsettled(reply) or [_sums(words) for words in reply]


def _count(reply: Any) -> int:
    if isinstance(reply, list):
        corrupt(reply[1])
    return int(reply)


def _minutes(reply: Sequence[Any]) -> Minutes | Unsettled:
    if found := _unsettled(reply):
        return found
    hours = {_whole(hour): _table(words) for hour, words in reply[1:]}
    return Minutes(_whole(reply[0]), hours)


def _listing(reply: Sequence[Any]) -> Listing | Unsettled:
    if found := _unsettled(reply):
        return found
    try:
        pairs = [pair_of(name) for name in reply[1]]
    except ValueError:
        corrupt(reply[1])
    return Listing(_whole(reply[0]), pairs, _whole(reply[2]), _whole(reply[3]))


class Scripts:
    """Builds the operations of one namespace's metrics."""

    def __init__(self, keys: MetricsKeys, settings: Settings) -> None:
        self._keys = keys
        self._settings = settings
        self._data = [keys.generation, keys.root]

    def flush(self, call: Call, slot: str, *, fold: bool = True) -> Operation[str | None]:
        """Add a batch; the generation it belongs to, None where the server has seen later calls."""
        known, body = self._settings, call.body.encode()
        words: list[Argument] = [
            slot,
            call.number,
            call.batch.generation,
            known.max_series,
            known.timeline_minutes,
            known.max_recent,
            known.max_errors,
            int(fold),
            len(body),
            len(call.names),
            *call.names,
        ]
        for stream, count, chunk in call.chunks:
            words += (stream, count, len(chunk))
        # A client sends a long argument by itself, and each such piece wakes the server up: hence one piece.
        words.append(b"".join([body, *(chunk for _, _, chunk in call.chunks)]))
        return _flush([self._keys.generation, self._keys.flushes, self._keys.root], words, _generation)

    def fold(self, slot: str) -> Operation[int]:
        """Add up what a writer has left; how many bodies it has left still."""
        return _fold(self._data, [slot, self._settings.timeline_minutes], _count)

    def read(
        self, series: Sequence[str], *, buckets: bool = False, settled: bool = True
    ) -> Operation[list[Series] | Unsettled]:
        """Read series, with their buckets where these are wanted."""
        decode = _read_series if buckets else _read_sums
        return _read(self._data, [int(buckets), int(settled), *series], decode)

    def timeline(
        self, series: str, last: int | None, minutes: int, *, settled: bool = True
    ) -> Operation[Minutes | Unsettled]:
        """Read minutes up to ``last``, or up to the current one."""
        words: list[Argument] = [series, "" if last is None else last, minutes, int(settled)]
        return _timeline(self._data, words, _minutes)

    def recent(self, stream: str, before: bytes, records: int) -> Operation[Page]:
        """Read entries of a stream of records, from the newest, or from before a position."""
        return _recent(self._data, [before, records, stream], lambda reply: Page(reply[0], reply[1:]))

    def pairs(self, cursor: int, count: int = LISTED_PAIRS, *, settled: bool = True) -> Operation[Listing | Unsettled]:
        """List pairs."""
        return _pairs(self._data, [cursor, count, int(settled)], _listing)

    def reset(self, slot: str, number: int) -> Operation[str | None]:
        """Begin a new generation."""
        return _reset([self._keys.generation, self._keys.retired, self._keys.repeats], [slot, number], _generation)

    def sweep(self) -> Operation[int]:
        """Remove some keys of past generations; 1 where there are more."""
        words: list[Argument] = [SWEPT_PAIRS, self._settings.timeline_minutes]
        return _sweep([self._keys.retired, self._keys.root], words, int)
