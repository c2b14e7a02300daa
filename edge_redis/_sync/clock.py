"""The hybrid logical clock, as text and as the datetime that users see: the same instant, exactly.

A clock is the larger of the server's time and one microsecond past the latest clock seen
(Kulkarni et al., "Logical Physical Clocks", 2014; time and counter share one number here, since
the server's time already has microseconds that no scope uses up). It is written as 18 digits,
microseconds since 1970, so that text sorts as time does and nothing passes through a float.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from edge_redis._core import validation
from edge_redis.errors import CorruptDataError
from edge_redis.models import aware

MAX_YEAR: Final = 8999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_END: Final = f"{(datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MICROSECOND}"


def verify(text: str) -> None:
    """Raise CorruptDataError if a text is not a clock, or is later than any datetime."""
    if not (len(text) == len(_END) and text.isascii() and text.isdecimal() and text < _END):
        raise CorruptDataError(f"a clock does not decode: {text!r}")


def from_datetime(moment: datetime) -> str:
    """Return the clock of ``moment``; a naive one is taken as UTC, one before 1970 as 1970."""
    known = aware(moment)
    if known.year > MAX_YEAR:  # later clocks go on from the latest one seen, and need room to
        raise validation.value_error("updated_at", moment, f"must be before the year {MAX_YEAR + 1}")
    return f"{max(0, (known - _EPOCH) // _MICROSECOND):018d}"


def after(seconds: int, microseconds: int, latest: str) -> str:
    """Return the clock of a write now, by the server's time, and after the latest clock seen.

    Raises:
        CorruptDataError: the latest clock is not one.

    """
    try:
        return f"{max(seconds * 1_000_000 + microseconds, int(latest or 0) + 1):018d}"
    except ValueError as error:
        raise CorruptDataError(f"a clock does not decode: {latest!r}") from error


def to_datetime(clock: str | bytes) -> datetime:
    """Return the moment of ``clock``.

    Raises:
        CorruptDataError: the text is not a clock.

    """
    try:
        return _EPOCH + int(clock) * _MICROSECOND
    except (ValueError, OverflowError) as error:
        raise CorruptDataError(f"a clock does not decode: {clock!r}") from error
