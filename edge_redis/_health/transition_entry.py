"""Transitions, decoded from the entries of their stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from edge_redis.models import Transition, from_timestamp

Entry: TypeAlias = tuple[bytes, Mapping[bytes, bytes] | None]


def from_entry(entry: Entry) -> Transition | None:
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
        )
    except (KeyError, ValueError, OverflowError, OSError):
        return None
