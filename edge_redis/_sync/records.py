"""Entries of the streams (outbox, history, conflicts) as users see them. A client gives an entry's fields as a dict."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, Literal, TypeVar

from edge_redis._sync import clock
from edge_redis._sync.change import check_body, visible_data
from edge_redis._sync.origin import name_of
from edge_redis._sync.wire import LeasedEntry
from edge_redis.errors import CorruptDataError
from edge_redis.models import SyncEvent, from_timestamp

T = TypeVar("T")

STREAM_ID: Final = re.compile(r"\d{1,19}-\d{1,19}", re.ASCII)
"""The id of an entry, as users pass it."""
StreamFields = dict[bytes, bytes]


def _raises_corrupt(read: Callable[[bytes, StreamFields], T]) -> Callable[[bytes, StreamFields], T]:
    @wraps(read)
    def decode(entry_id: bytes, fields: StreamFields) -> T:
        try:
            return read(entry_id, fields)
        except (KeyError, ValueError, OverflowError) as error:
            raise CorruptDataError(f"stream entry {entry_id!r} is damaged: {error!r}") from error

    return decode


def from_pending(entry: LeasedEntry) -> dict[str, Any]:
    """Return a change that waits in an outbox."""
    change = entry.change()
    data = visible_data(check_body(change.body, change.checksum, f"entry {entry.id!r} of the outbox"))
    return {
        "type": "delete" if data is None else "update",
        "version": change.version,
        "data": data,
        "timestamp": clock.to_datetime(change.clock),
        "is_delta": change.is_delta,
    }


@_raises_corrupt
def from_event(entry_id: bytes, fields: StreamFields) -> SyncEvent:
    """Return an exchange with the other end, as the history keeps it."""
    direction: Literal["push", "pull"] = "push" if fields[b"direction"] == b"push" else "pull"
    return SyncEvent(
        direction,
        int(fields[b"version"]),
        fields[b"success"] == b"1",
        from_timestamp(int(entry_id.partition(b"-")[0]) / 1000),
        fields[b"error"].decode(errors="replace"),
    )


@_raises_corrupt
def from_conflict(entry_id: bytes, fields: StreamFields) -> dict[str, Any]:
    """Return the losing side of a conflict, and the winner."""
    return {
        "id": entry_id.decode(),
        "lost": fields[b"lost"].decode(),
        "version": int(fields[b"version"]),
        "data": visible_data(check_body(fields[b"data"], fields[b"checksum"].decode(), f"conflict {entry_id!r}")),
        "checksum": fields[b"checksum"].decode(),
        "updated_at": clock.to_datetime(fields[b"clock"]),
        "origin": name_of(fields[b"origin"].decode()),
        "winner": {
            "version": int(fields[b"winner_version"]),
            "checksum": fields[b"winner_checksum"].decode(),
            "updated_at": clock.to_datetime(fields[b"winner_clock"]),
            "origin": name_of(fields[b"winner_origin"].decode()),
        },
        "timestamp": from_timestamp(int(entry_id.partition(b"-")[0]) / 1000),
    }
