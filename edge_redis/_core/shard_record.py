"""The record of a component's shards: their number, and what is left of another number while it is changed.

The record is the layout record of shard 0 (``layout.py``), the layout version with what follows it:

    1            one shard
    1/12         12 shards
    1/24+12      24 shards that are written to, and 12 of an earlier number, which are still read
    1/12>24:3    12 shards that become 24: what the shards 0, 1 and 2 of the 12 had was moved
    1/24>12.1:0  24 shards that become 12, for the second time
    1/24~12      24 shards, and 12 that were moved, whose logs are still read

Metrics have earlier numbers, since their counts add up wherever they are. Other components move their units, a
shard at a time: a unit (a node, a scope) whose shard of the old number was moved is in its shard of the new one. The
record only goes forward, in one step of shard 0. A number that comes back is of another *generation*, whose shards have
other names: a process that still has the record of the first time finds its shards closed, and cannot write to the new
ones before units are moved there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, NamedTuple
from zlib import crc32

_RECORD: Final = re.compile(
    r"(?P<version>[^/]*)(?:/(?P<shards>[1-9]\d{0,5})(?:\.(?P<generation>[1-9]\d{0,5}))?"
    r"(?:>(?P<target>[1-9]\d{0,5})(?:\.(?P<next>[1-9]\d{0,5}))?:(?P<moved>0|[1-9]\d{0,5}))?"
    r"(?P<earlier>(?:\+[1-9]\d{0,5})*)(?P<left>(?:~[1-9]\d{0,5}(?:\.[1-9]\d{0,5})?)*))?",
    re.ASCII,
)


class ShardPlace(NamedTuple):
    """One shard: its number, and the number of shards that it is one of, with the generation of that."""

    shards: int
    number: int
    generation: int = 0


def choose_shard(name: str, shards: int) -> int:
    """Return the number of the shard, one of ``shards``, that holds what has this name."""
    return 0 if shards == 1 else crc32(name.encode()) % shards


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """The shards of one component. Equal records have equal shards."""

    version: str
    """The layout version, as it is stored."""
    shards: int = 1
    """The number of shards; while it is changed, the old one."""
    target: int | None = None
    """The number that it becomes, while it is changed."""
    moved: int = 0
    """How many of the old shards, the first ones, were moved."""
    earlier: tuple[int, ...] = ()
    """Earlier numbers, the latest first, whose shards are still read."""
    generation: int = 0
    """How often this number was left and came back."""
    next_generation: int = 0
    """The same of ``target``."""
    left: tuple[tuple[int, int], ...] = ()
    """Numbers that were left, and the generation of each, the latest first, whose shards keep logs that are read."""

    def __str__(self) -> str:
        """Return the record as it is stored."""
        text = _number(self.shards, self.generation)
        if self.target is not None:
            text += f">{_number(self.target, self.next_generation)}:{self.moved}"
        else:
            text += "".join(f"+{number}" for number in self.earlier)
        text += "".join(f"~{_number(*each)}" for each in self.left)
        return self.version if text == "1" else f"{self.version}/{text}"

    @property
    def latest(self) -> int:
        """The number of shards that the component has, or will have once its change is complete."""
        return self.shards if self.target is None else self.target

    @property
    def numbers(self) -> tuple[int, ...]:
        """Every number of shards that may be written to, or that refuse writes because they were moved."""
        others = self.earlier if self.target is None else (self.target,)
        return (self.shards, *others, *(shards for shards, _ in self.left))

    @property
    def home(self) -> int:
        """The index, in ``list_places``, of the shard that has what is in the first shard alone."""
        return 0 if self.target is None or self.moved == 0 else self.shards - self.moved

    def list_logs(self) -> list[ShardPlace]:
        """Return every shard whose log is read: those that units were moved from too."""
        numbers = [(self.shards, self.generation)]
        if self.target is not None:
            numbers.append((self.target, self.next_generation))
        return [
            ShardPlace(shards, number, generation)
            for shards, generation in (*numbers, *self.left)
            for number in range(shards)
        ]

    def find_logs(self, name: str) -> list[int]:
        """Return the indexes, in ``list_logs``, of the shards whose log may name this unit."""
        return [at for at, place in enumerate(self.list_logs()) if place.number == choose_shard(name, place.shards)]

    def list_places(self) -> list[ShardPlace]:
        """Return every shard that may hold something: first the present ones that were not moved."""
        places = [ShardPlace(self.shards, number, self.generation) for number in range(self.moved, self.shards)]
        for shards in self.earlier if self.target is None else (self.target,):
            places += [ShardPlace(shards, number, self.next_generation) for number in range(shards)]
        return places

    def choose(self, name: str) -> int:
        """Return the index, in ``list_places``, of the shard to which what has this name is written."""
        number = choose_shard(name, self.shards)
        if self.target is None or number >= self.moved:
            return number - self.moved
        return self.shards - self.moved + choose_shard(name, self.target)

    def find(self, name: str) -> list[int]:
        """Return the indexes, in ``list_places``, of the shards that may hold what has this name."""
        found, begin = [self.choose(name)], self.shards
        for shards in self.earlier:
            found.append(begin + choose_shard(name, shards))
            begin += shards
        return found

    def begin_move(self, target: int, generation: int = 0) -> ShardRecord:
        """Return the record with which shards begin to be moved."""
        return replace(self, target=target, next_generation=generation, moved=0)

    def advance(self) -> ShardRecord:
        """Return the record once one more of the old shards was moved."""
        moved = self.moved + 1
        if moved == self.shards and self.target is not None:
            return ShardRecord(self.version, self.target, generation=self.next_generation)
        return replace(self, moved=moved)

    def advance_with_logs(self) -> ShardRecord:
        """Return the same, of a component whose old shards keep logs that are read."""
        after = self.advance()
        left = ((self.shards, self.generation), *self.left) if after.target is None else self.left
        return replace(after, left=left)

    def begin_epoch(self, shards: int) -> ShardRecord:
        """Return the record of metrics that are written to another number of shards, and read from the present ones."""
        earlier = dict.fromkeys((self.shards, *self.earlier))
        earlier.pop(shards, None)
        return replace(self, shards=shards, earlier=tuple(earlier))


def _number(shards: int, generation: int) -> str:
    return f"{shards}.{generation}" if generation else str(shards)


def _parse_number(text: str) -> tuple[int, int]:
    shards, _, generation = text.partition(".")
    return int(shards), int(generation or 0)


@cache
def parse(record: bytes) -> ShardRecord | None:
    """Return the record that is stored as this; None where none is."""
    found = _RECORD.fullmatch(record.decode(errors="replace"))
    if found is None:
        return None
    parsed = ShardRecord(
        found["version"],
        int(found["shards"] or 1),
        int(found["target"]) if found["target"] else None,
        int(found["moved"] or 0),
        tuple(map(int, found["earlier"].split("+")[1:])) if found["earlier"] else (),
        int(found["generation"] or 0),
        int(found["next"] or 0),
        tuple(map(_parse_number, found["left"].split("~")[1:])) if found["left"] else (),
    )
    return parsed if str(parsed).encode() == record and parsed.moved < parsed.shards else None
