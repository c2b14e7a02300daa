"""The transitions of several shards as one list, and the position of each in all of their streams.

A position is the id of an entry, or, of several shards, the ids up to which their streams were read, as in
``1700000000000-0,1700000000005-1``. One id alone stands for that moment in every stream, by the clock of its server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from edge_redis._core import validation
from edge_redis._health.transition_entry import position_before
from edge_redis.models import Transition

_BEGINNING = "0"


def order_of(position: str) -> tuple[int, int]:
    """Return the time and the number of an entry's id, which order the entries of all streams."""
    milliseconds, _, place = position.partition("-")
    return int(milliseconds), int(place or 0)


def split_position(position: str, shards: int) -> list[str]:
    """Return the position in each shard's stream.

    Raises:
        InvalidArgumentError: the position is one of another number of shards.

    """
    ids = position.split(",")
    if len(ids) == 1:
        return ids * shards
    if len(ids) != shards:
        raise validation.value_error("position", position, f"must be one id or {shards}")
    return ids


def merge(parts: Sequence[Sequence[Transition]], positions: Sequence[str]) -> Iterator[Transition]:
    """Yield the transitions of all shards by their times, each with its position in all streams.

    ``positions`` are those before the first of each part.
    """
    reached = list(positions)
    rows = [(order_of(change.position), shard, change) for shard, part in enumerate(parts) for change in part]
    for _, shard, change in sorted(rows, key=lambda row: row[:2]):
        reached[shard] = change.position
        yield replace(change, position=",".join(reached))


def merge_newest(parts: Sequence[list[Transition]], limit: int) -> list[Transition]:
    """Return the newest of all shards, oldest first, given the newest of each."""
    if len(parts) == 1:
        return parts[0]
    positions = [position_before(part[0].position) if part else _BEGINNING for part in parts]
    return list(merge(parts, positions))[-limit:]
