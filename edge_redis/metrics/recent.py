"""Records as the stream of recent ones keeps them: many in one entry, msgpacked.

An entry is ``[pairs, rows]``: the (function, node) pairs it speaks of, and for each record the
number of its pair, its duration in ms, whether it succeeded, its time and its error.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgpack

from edge_redis.errors import CorruptDataError
from edge_redis.metrics.admission import checked
from edge_redis.models import InvocationRecord

CHUNK: Final = 200
"""Records in one entry, at most."""


def pack(records: Sequence[InvocationRecord]) -> bytes:
    """Return records as one entry's bytes. Their times are in UTC."""
    pairs: dict[tuple[str, str], int] = {}
    rows = [
        (
            pairs.setdefault((record.function_id, record.node_id), len(pairs)),
            record.duration_ms,
            record.success,
            record.timestamp,
            record.error,
        )
        for record in records
    ]
    body: bytes = msgpack.packb([list(pairs), rows], datetime=True)
    return body


def unpack(body: bytes) -> list[InvocationRecord]:
    """Return the records of one entry.

    Raises:
        CorruptDataError: the bytes are not what ``pack`` writes.

    """
    try:
        pairs, rows = msgpack.unpackb(body, timestamp=3)
        return [_record(pairs, row) for row in rows]
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise CorruptDataError(f"a recent record does not decode: {error!r}") from error


def _record(pairs: Any, row: Any) -> InvocationRecord:  # noqa: ANN401 -- whatever was found in Redis
    pair, duration_ms, success, timestamp, error = row
    function_id, node_id = pairs[pair]
    when: datetime = timestamp.astimezone(UTC) if isinstance(timestamp, datetime) else timestamp
    return checked(InvocationRecord(function_id, node_id, duration_ms, success, when, error))
