"""Transitions, decoded from the entries of their stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from edge_redis.models import Transition, from_timestamp

_LAST_OF_A_MILLISECOND: Final = (1 << 64) - 1
_MAX_DIGITS: Final = 19

StreamEntry: TypeAlias = tuple[bytes, Mapping[bytes, bytes] | None]


def decode_entry(entry: StreamEntry) -> Transition | None:
    """Return the transition of an entry, or None where it does not decode."""
    position, fields = entry
    try:
        text = {name.decode(): value.decode("utf-8", "replace") for name, value in (fields or {}).items()}
        return Transition(
            node_id=text["node"],
            state=text["state"],
            previous=text["previous"],
            at=from_timestamp(int(text["at"]) / 1000),
            reason=text["reason"],
            position=position.decode(),
            flapping=text.get("flapping") == "1",
        )
    except (KeyError, ValueError, OverflowError, OSError):
        return None


def decode_number(entry: StreamEntry) -> int | None:
    """Return the number of an entry, one higher than that of the entry before it; None where it does not decode."""
    number = (entry[1] or {}).get(b"number", b"")
    return int(number) if number.isdigit() and len(number) <= _MAX_DIGITS else None


def position_before(position: str) -> str:
    """Return the position just before that of an entry."""
    milliseconds, _, place = position.partition("-")
    if int(place or 0) > 0:
        return f"{milliseconds}-{int(place) - 1}"
    return f"{max(0, int(milliseconds) - 1)}-{_LAST_OF_A_MILLISECOND}"


def make_lost_transition(following: StreamEntry, count: int) -> Transition:
    """Return the transition that stands for ``count`` transitions which the stream's cap removed."""
    change = decode_entry(following)
    return Transition(
        node_id="",
        state="transitions_lost",
        previous="unknown",
        at=change.at if change else from_timestamp(int(following[0].partition(b"-")[0]) / 1000),
        reason=f"{count} transitions were removed from the stream before they were read",
        position=position_before(following[0].decode()),
    )
