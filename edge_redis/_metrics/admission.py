"""What may be recorded: each record is checked when it is handed over, so a batch holds sound ones only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from edge_redis._core import validation
from edge_redis._metrics.sketch import MAX_DURATION_MS
from edge_redis.models import InvocationRecord

MAX_ERROR_CHARS: Final = 1000
"""An error's text is kept up to here: ten thousand of them stay in Redis."""

_KNOWN_PAIRS: Final = 20_000


class Admission:
    """Checks records, and remembers the (function, node) pairs of those that were sound."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: set[tuple[str, str]] = set()

    def admit(self, record: InvocationRecord) -> InvocationRecord:
        """Return the record with its time in UTC and its error cut to length.

        Raises InvalidTypeError or InvalidArgumentError and takes nothing where it is not sound.
        """
        sound = checked(record)
        if len(self.known) >= _KNOWN_PAIRS:
            self.known.clear()
        self.known.add((sound.function_id, sound.node_id))
        return sound


def is_plain(error: str) -> bool:
    """Whether an error's text may be kept as it is, without a closer look."""
    return type(error) is str and error.isascii() and len(error) <= MAX_ERROR_CHARS


def checked(record: InvocationRecord) -> InvocationRecord:
    """Return a sound record, every field checked; see ``Admission.admit``."""
    validation.instance("record", record, InvocationRecord)
    return InvocationRecord(
        validation.identifier("function_id", record.function_id),
        validation.identifier("node_id", record.node_id),
        duration(record.duration_ms),
        validation.instance("success", record.success, bool),
        moment(record.timestamp),
        validation.text("error", record.error)[:MAX_ERROR_CHARS],
    )


def duration(value: object) -> float:
    """Return a duration in ms that can be counted."""
    known = float(validation.non_negative("duration_ms", value))
    if known > MAX_DURATION_MS:
        raise validation.value_error("duration_ms", value, f"must be at most {MAX_DURATION_MS:.0f} ms")
    return known


def moment(value: object) -> datetime:
    """Return a time in UTC; a naive one is taken as UTC."""
    known: datetime = validation.instance("timestamp", value, datetime)
    if known.tzinfo is None:
        return known.replace(tzinfo=UTC)
    try:
        return known.astimezone(UTC)
    except OverflowError as error:
        raise validation.value_error("timestamp", value, "must be between the years 1 and 9999 in UTC") from error
