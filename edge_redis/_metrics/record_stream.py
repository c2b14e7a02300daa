"""Records as the streams of recent records and of errors store them: many in one entry, msgpacked by column.

An entry is ``[pairs, indexes, durations, times, details]``: the distinct (function, node) pairs, then of
each record the index of its pair, its duration in ms and its time in seconds since 1970;
``details`` has ``[index, success, error]`` of the records that failed or have an error's text.
Times are whole microseconds up to the year 2242, and within 32 of them beyond.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgpack

from edge_redis._metrics.columns import RecordColumns
from edge_redis._metrics.records import validate_record
from edge_redis.errors import CorruptDataError
from edge_redis.models import InvocationRecord

MAX_RECORDS: Final = 200
"""Records in one entry."""

_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US_PER_SECOND: Final = 1_000_000
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


def split_entries(columns: RecordColumns) -> Iterator[tuple[int, bytes]]:
    """Yield entries: how many records, and their bytes."""
    for some in columns.split(MAX_RECORDS):
        yield len(some), encode_entry(some)


def encode_entry(columns: RecordColumns) -> bytes:
    """Return records as the bytes of one entry."""
    pairs, indexes = columns.number_used_pairs()
    details = [
        (at, record.success, record.error)
        for at, record in enumerate(columns.records)
        if record.error or not record.success
    ]
    body: bytes = msgpack.packb([pairs, indexes, columns.durations, columns.timestamps, details])
    return body


def decode_entry(body: bytes) -> list[InvocationRecord]:
    """Return the records of one entry.

    Raises:
        CorruptDataError: the bytes are not those of an entry.

    """
    try:
        pairs, indexes, durations, timestamps, details = msgpack.unpackb(body)
        detail_of = {at: (success, error) for at, success, error in details}
        return [
            _record(pairs[index], duration, timestamp, *detail_of.get(at, (True, "")))
            for at, (index, duration, timestamp) in enumerate(zip(indexes, durations, timestamps, strict=True))
        ]
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise CorruptDataError(f"a recent record does not decode: {error!r}") from error


def _record(pair: Any, duration_ms: Any, timestamp: Any, success: Any, error: Any) -> InvocationRecord:
    function_id, node_id = pair
    return validate_record(InvocationRecord(function_id, node_id, duration_ms, success, _time(timestamp), error))


def _time(timestamp: float) -> datetime:
    microseconds = round(timestamp * _US_PER_SECOND)
    # The last microseconds of the year 9999 round up into the year 10000, which no datetime can be.
    return min(_LATEST - _1970, timedelta(microseconds=microseconds)) + _1970
