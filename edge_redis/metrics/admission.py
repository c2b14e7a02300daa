"""What may be recorded: each record is checked when it is handed over, so a batch holds sound ones only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from edge_redis.core import check
from edge_redis.metrics.sketch import MAX_DURATION_MS
from edge_redis.models import InvocationRecord

MAX_ERROR_CHARS: Final = 1000
"""An error's text is kept up to here: ten thousand of them stay in Redis."""

_KNOWN_PAIRS: Final = 20_000


class Admission:
    """Checks records, quickly where the (function, node) pair has been seen before."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def is_sound(self, record: InvocationRecord) -> bool:
        """Whether a record is known to be sound as it is. It costs the most of ``record``: every test counts."""
        try:
            return (
                type(record) is InvocationRecord
                and type(record.duration_ms) is float
                and 0.0 <= record.duration_ms <= MAX_DURATION_MS
                and (record.success is True or record.success is False)
                and type(record.timestamp) is datetime
                and record.timestamp.tzinfo is UTC
                and (record.error == "" or _is_plain(record.error))
                and (record.function_id, record.node_id) in self._known
            )
        except TypeError:  # an id that cannot even be hashed
            return False

    def admit(self, record: InvocationRecord) -> InvocationRecord:
        """Return the record with its time in UTC and its error cut to length.

        Raises InvalidTypeError or InvalidArgumentError and takes nothing where it is not sound.
        """
        sound = checked(record)
        if len(self._known) >= _KNOWN_PAIRS:
            self._known.clear()
        self._known.add((sound.function_id, sound.node_id))
        return sound


def _is_plain(error: str) -> bool:
    return type(error) is str and error.isascii() and len(error) <= MAX_ERROR_CHARS


def checked(record: InvocationRecord) -> InvocationRecord:
    """Return a sound record, every field checked; see ``Admission.admit``."""
    check.instance("record", record, InvocationRecord)
    return InvocationRecord(
        check.identifier("function_id", record.function_id),
        check.identifier("node_id", record.node_id),
        duration(record.duration_ms),
        check.instance("success", record.success, bool),
        moment(record.timestamp),
        check.text("error", record.error)[:MAX_ERROR_CHARS],
    )


def duration(value: object) -> float:
    """Return a duration in ms that can be counted."""
    known = float(check.non_negative("duration_ms", value))
    if known > MAX_DURATION_MS:
        raise check.value_error("duration_ms", value, f"must be at most {MAX_DURATION_MS:.0f} ms")
    return known


def moment(value: object) -> datetime:
    """Return a time in UTC; a naive one is taken as UTC."""
    known: datetime = check.instance("timestamp", value, datetime)
    if known.tzinfo is None:
        return known.replace(tzinfo=UTC)
    try:
        return known.astimezone(UTC)
    except OverflowError as error:
        raise check.value_error("timestamp", value, "must be between the years 1 and 9999 in UTC") from error
