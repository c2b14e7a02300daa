"""Records as the streams of recent ones and of errors keep them: many in one entry, msgpacked by column.

An entry is ``[pairs, numbers, durations, times, odd]``: the (function, node) pairs it speaks of,
then of each record the number of its pair, its duration in ms and its time in seconds since 1970;
``odd`` has ``[which, success, error]`` of those that did not succeed, or have an error's text.
Times are whole microseconds up to the year 2242, and within 32 of them beyond.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgpack

from edge_redis._metrics.admission import checked
from edge_redis._metrics.columns import Columns, numbered
from edge_redis.errors import CorruptDataError
from edge_redis.models import InvocationRecord

CHUNK: Final = 200
"""Records in one entry, at most."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = 1_000_000


def packed(columns: Columns) -> Iterator[tuple[int, bytes]]:
    """Yield entries: how many records, and their bytes."""
    for some in columns.sliced(CHUNK):
        yield len(some), pack(some)


def pack(columns: Columns) -> bytes:
    """Return records as one entry's bytes."""
    pairs, numbers = numbered(columns.pairs)
    odd = [
        (at, record.success, record.error)
        for at, record in enumerate(columns.records)
        if record.error or not record.success
    ]
    body: bytes = msgpack.packb([pairs, numbers, columns.durations, columns.stamps, odd])
    return body


def unpack(body: bytes) -> list[InvocationRecord]:
    """Return the records of one entry.

    Raises:
        CorruptDataError: the bytes are not what ``pack`` writes.

    """
    try:
        pairs, numbers, durations, stamps, odd = msgpack.unpackb(body)
        oddities = {at: (success, error) for at, success, error in odd}
        return [
            _record(pairs[number], duration, stamp, *oddities.get(at, (True, "")))
            for at, (number, duration, stamp) in enumerate(zip(numbers, durations, stamps, strict=True))
        ]
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise CorruptDataError(f"a recent record does not decode: {error!r}") from error


def _record(pair: Any, duration_ms: Any, stamp: Any, success: Any, error: Any) -> InvocationRecord:
    function_id, node_id = pair
    when = _EPOCH + timedelta(microseconds=round(stamp * _US))
    return checked(InvocationRecord(function_id, node_id, duration_ms, success, when, error))
