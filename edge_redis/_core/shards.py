"""Components with several shards, each with a hash tag of its own: on a cluster, a master serves those of its slots.

Shard i of n is named so that its slot falls into the i-th of n equal parts of a cluster's 16,384, so that masters which
share the slots evenly share the component evenly. The number of shards is in the names, so that keys of different
numbers never mix. It is part of the layout record of shard 0 (``shard_record.py``), which all processes of a namespace
read: a component without a record there has as many shards as its first writer asks for.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any, Final, Generic, TypeVar

from edge_redis._core import validation
from edge_redis._core.keys import KeySpace
from edge_redis._core.layout import find_record, layout_key, replace_record, store_record
from edge_redis._core.operation import Batch, Operation, command
from edge_redis._core.reply_values import decode_text
from edge_redis._core.shard_record import ShardPlace, ShardRecord
from edge_redis._core.slots import name_in_part
from edge_redis.errors import InvalidArgumentError

MAX_SHARDS: Final = 1024
CLUSTER_SHARDS: Final = 12
"""Shards of a component on a cluster, where none are asked for: 2, 3, 4, 6 or 12 masters get the same number each."""

S = TypeVar("S")
T = TypeVar("T")


@cache
def name_shards(namespace: str, component: str, shards: int, generation: int = 0) -> tuple[str, ...]:
    """Return the names of a component's shards, which follow the component in their hash tags."""
    if shards == 1 and not generation:
        return ("0",)
    prefix = f"{namespace}:{component}"
    return tuple(name_in_part(prefix, f"{shards}.{number}.", number, shards, generation) for number in range(shards))


def share_of(whole: int, number: int, shards: int) -> int:
    """Return the part of a bound that shard ``number`` has; the parts of all shards make the whole."""
    return whole // shards + (number < whole % shards)


def check_shards(shards: object) -> int | None:
    """Return the number of shards that a caller asks for; None where it takes the namespace's.

    Raises:
        InvalidArgumentError, InvalidTypeError: not such a number.

    """
    return None if shards is None else validation.check_integer("shards", shards, least=1, most=MAX_SHARDS)


async def close_shard(moved: str) -> str:
    """Close a shard by its key ``moved``; return the name of the move, the same until the keys of the shard are lost.

    A shard that is closed anew, since its key was lost, has another name: the new shards take what it has then, also
    where they had taken all of it before.
    """
    name = secrets.token_hex(8)
    _, found = await Batch[Any]([command(bool, "SET", moved, name, "NX"), command(decode_text, "GET", moved)])
    return found or name


class KnownRecord:
    """The stored record of the shards of one component, once it was read: the objects of a process may share it."""

    record: ShardRecord | None = None


class ShardCount:
    """The record of the shards of one component, as all processes of the namespace have it."""

    def __init__(
        self,
        namespace: str,
        component: str,
        version: int,
        given: int | None,
        default: int,
        known: KnownRecord | None = None,
    ) -> None:
        """Name the component; ``given`` is what this process asks for, ``default`` is for a new namespace."""
        self._namespace = namespace
        self._component = component
        self._tag = KeySpace(namespace, component).tag
        self._version = version
        self._given = given
        self._wanted = ShardRecord(str(version), default if given is None else given)
        self._known = KnownRecord() if known is None else known

    def share(self, known: KnownRecord) -> None:
        """Read the record once for all objects that share ``known``."""
        self._known = known

    @property
    def is_known(self) -> bool:
        """Whether the stored record was read."""
        return self._known.record is not None

    async def find(self) -> ShardRecord:
        """Return the record, for a call that only reads; writes nothing.

        Raises:
            InvalidArgumentError: this process asks for another number of shards.

        """
        if self._known.record is None:
            stored = await self.read()
            if stored is None:  # nothing was ever written
                return self._wanted
            self._known.record = stored
        return self.accept(self._known.record)

    async def settle(self) -> ShardRecord:
        """Return the record, for a call that writes; stores it where there is none.

        Raises:
            InvalidArgumentError: this process asks for another number of shards.
            LayoutVersionError: the keys have another layout version.

        """
        if self._known.record is None:
            self._known.record = await store_record(self._tag, self._wanted)
        return self.accept(self._known.record)

    def read(self) -> Operation[ShardRecord | None]:
        """Read the stored record, None where there is none."""
        return command(find_record, "GET", layout_key(self._tag))

    def store(self, shards: int) -> Operation[ShardRecord]:
        """Store this number where none is stored; return the record that is stored then."""
        return store_record(self._tag, replace(self._wanted, shards=shards))

    def replace(self, old: ShardRecord, new: ShardRecord) -> Operation[ShardRecord | None]:
        """Replace the stored record where it is still ``old``; return the one that is stored then."""
        return replace_record(self._tag, old, new)

    def learn(self, record: ShardRecord) -> None:
        """Take a record that was read now. A number that this process asked for was accepted before."""
        self._known.record = record

    def names(self, shards: int, generation: int = 0) -> tuple[str, ...]:
        """Return the names of this number of shards."""
        return name_shards(self._namespace, self._component, shards, generation)

    def accept(self, stored: ShardRecord) -> ShardRecord:
        """Return a record that was read for the first time.

        Raises:
            InvalidArgumentError: this process asks for another number of shards.

        """
        if self._given is not None and self._given not in stored.numbers:
            raise InvalidArgumentError(
                f"{self._component} of namespace {self._namespace!r} has shards={stored.shards}, not {self._given}:"
                " give all processes the same number, or none"
            )
        return stored


class Shards(tuple[S, ...]):  # noqa: SLOT001 -- a tuple has no slots for attributes
    """What a component has for each of its shards, in the order of ``ShardRecord.list_places``."""

    record: ShardRecord

    @classmethod
    def of(cls, record: ShardRecord, parts: Iterable[S]) -> Shards[S]:
        """Return the shards of a record."""
        made = cls(parts)
        made.record = record
        return made

    def choose(self, name: str) -> S:
        """Return the shard that what has this name is written to."""
        return self[0] if len(self) == 1 else self[self.record.choose(name)]

    def group(self, items: Iterable[T], name_of: Callable[[T], str]) -> list[list[T]]:
        """Return for each shard those of the items that are written to it, in their order."""
        if len(self) == 1:
            return [list(items)]
        groups: list[list[T]] = [[] for _ in self]
        for item in items:
            groups[self.record.choose(name_of(item))].append(item)
        return groups


class ShardSet(Generic[S]):
    """What a component has for each of its shards, made once their record is known."""

    def __init__(self, count: ShardCount, make: Callable[[str, int, int], S]) -> None:
        """Make shards by ``make``, which is given a shard's name, its number, and the number of shards."""
        self.count = count
        self._make = make
        self._made: dict[tuple[int, int], tuple[S, ...]] = {}
        self.known: Shards[S] = Shards()
        """All shards, where a call has found their record; else none."""

    async def find(self) -> Shards[S]:
        """Return all shards, for a call that only reads."""
        if not self.known:
            found = self.at(await self.count.find())
            if not self.count.is_known:
                return found
            self.known = found
        return self.known

    async def settle(self) -> Shards[S]:
        """Return all shards, for a call that writes."""
        if not self.known:
            self.known = self.at(await self.count.settle())
        return self.known

    async def refresh(self) -> Shards[S]:
        """Read the record again, and return all shards; for a call that has met a change of it."""
        self.learn(await self.count.read())
        return await self.find()

    def learn(self, record: ShardRecord | None) -> bool:
        """Take a record that was read now; return whether it is another one than the known one."""
        if record is None or (self.known and self.known.record == record):
            return False
        self.count.learn(record)
        self.known = self.at(record)
        return True

    def at(self, record: ShardRecord) -> Shards[S]:
        """Return all shards of a record."""
        return Shards.of(record, (self._at(place) for place in record.list_places()))

    def _at(self, place: ShardPlace) -> S:
        return self.of(place.shards, place.generation)[place.number]

    def of(self, shards: int, generation: int = 0) -> tuple[S, ...]:
        """Return all shards of this number of them."""
        made = self._made.get((shards, generation))
        if made is None:
            made = self._made[shards, generation] = tuple(self._make_each(shards, generation))
        return made

    def _make_each(self, shards: int, generation: int) -> Iterator[S]:
        for number, name in enumerate(self.count.names(shards, generation)):
            yield self._make(name, number, shards)
