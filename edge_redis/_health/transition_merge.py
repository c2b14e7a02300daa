"""The transitions of several shards as one list, and the position of each in all of their streams.

A position is the id of an entry, or, of several shards, the ids up to which their streams were read, as in
``1700000000000-0,1700000000005-1``. Where shards of several numbers have streams, the ids of each number stand behind
it, as in ``3=1700000000000-0,0,0;1=1700000000005-1``. One id alone stands for that moment in every stream, by the clock
of its server. A position has nothing of shards that came after it: their streams are read from the beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from edge_redis._core import validation
from edge_redis._core.shard_record import ShardPlace
from edge_redis._health.transition_entry import position_before
from edge_redis.models import Transition

_BEGINNING: Final = "0"
_IDS: Final = r"\d{1,20}(?:-\d{1,20})?(?:,\d{1,20}(?:-\d{1,20})?)*"
_GROUP: Final = rf"[1-9]\d{{0,5}}(?:\.[1-9]\d{{0,5}})?={_IDS}"
POSITION: Final = re.compile(rf"{_IDS}|{_GROUP}(?:;{_GROUP})*", re.ASCII)


def order_of(position: str) -> tuple[int, int]:
    """Return the time and the number of an entry's id, which order the entries of all streams."""
    milliseconds, _, place = position.partition("-")
    return int(milliseconds), int(place or 0)


def join_positions(ids: Sequence[str], logs: Sequence[ShardPlace]) -> str:
    """Return the positions in the streams of these shards as one text."""
    groups = [
        (name, ",".join(ids[at] for at, _ in group))
        for name, group in groupby(enumerate(logs), lambda each: _name(each[1]))
    ]
    if len(groups) == 1 and logs[0].generation == 0:
        return groups[0][1]
    return ";".join(f"{name}={text}" for name, text in groups)


def split_position(position: str, logs: Sequence[ShardPlace]) -> list[str]:
    """Return the position in the stream of each of these shards.

    Raises:
        InvalidArgumentError: the position is one of another number of shards.

    """
    if "=" not in position and "," not in position:
        return [position] * len(logs)
    if "=" not in position:
        position = f"{position.count(',') + 1}={position}"
    known = {name: ids.split(",") for name, _, ids in (group.partition("=") for group in position.split(";"))}
    for name, ids in known.items():
        wanted = sum(_name(place) == name for place in logs)
        if wanted != len(ids):
            numbers = " or ".join(dict.fromkeys(str(place.shards) for place in logs))
            raise validation.value_error("position", position, f"must be one id or {numbers}")
    return [known[_name(place)][place.number] if _name(place) in known else _BEGINNING for place in logs]


def _name(place: ShardPlace) -> str:
    return f"{place.shards}.{place.generation}" if place.generation else str(place.shards)


def merge(
    parts: Sequence[Sequence[Transition]], positions: Sequence[str], logs: Sequence[ShardPlace]
) -> Iterator[Transition]:
    """Yield the transitions of all shards by their times, each with its position in all streams.

    ``positions`` are those before the first of each part.
    """
    reached = list(positions)
    rows = [(order_of(change.position), shard, change) for shard, part in enumerate(parts) for change in part]
    for _, shard, change in sorted(rows, key=lambda row: row[:2]):
        reached[shard] = change.position
        yield replace(change, position=join_positions(reached, logs))


def merge_newest(parts: Sequence[list[Transition]], limit: int, logs: Sequence[ShardPlace]) -> list[Transition]:
    """Return the newest of all shards, oldest first, given the newest of each."""
    if len(parts) == 1 and logs[0].generation == 0:
        return parts[0]
    positions = [position_before(part[0].position) if part else _BEGINNING for part in parts]
    return list(merge(parts, positions, logs))[-limit:]
