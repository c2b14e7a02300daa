"""Components with several shards, each with a hash tag of its own: on a cluster, a master serves those of its slots.

Shard i of n is named so that its slot falls into the i-th of n equal parts of a cluster's 16,384, so that masters which
share the slots evenly share the component evenly. The number of shards is in the names, so that keys of different
numbers never mix. It is part of the layout record of shard 0 (``layout.py``), which all processes of a namespace read:
a component without a record there has as many shards as its first writer asks for.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import count
from typing import Final, Generic, TypeVar
from zlib import crc32

from edge_redis._core import validation
from edge_redis._core.keys import KeySpace
from edge_redis._core.layout import find_shard_count, layout_key, record_shard_count
from edge_redis._core.operation import command
from edge_redis.errors import InvalidArgumentError

SLOTS: Final = 16384
MAX_SHARDS: Final = 1024
CLUSTER_SHARDS: Final = 12
"""Shards of a component on a cluster, where none are asked for: 2, 3, 4, 6 or 12 masters get the same number each."""

S = TypeVar("S")
T = TypeVar("T")


def hash_slot(text: str) -> int:
    """Return the cluster's slot of a hash tag's text: CRC-16/XMODEM modulo 16,384."""
    return binascii.crc_hqx(text.encode(), 0) % SLOTS


@cache
def name_shards(namespace: str, component: str, shards: int) -> tuple[str, ...]:
    """Return the names of a component's shards, which follow the component in their hash tags."""
    if shards == 1:
        return ("0",)
    prefix = f"{namespace}:{component}"
    return tuple(name_in_part(prefix, f"{shards}.{number}.", number, shards) for number in range(shards))


def name_in_part(prefix: str, stem: str, number: int, shards: int) -> str:
    """Return the first of the names ``<stem>0``, ``<stem>1``... whose slot, after ``prefix``, is in part ``number``."""
    names = (f"{stem}{attempt}" for attempt in count())
    return next(name for name in names if hash_slot(prefix + name) * shards // SLOTS == number)


def choose_shard(name: str, shards: int) -> int:
    """Return the number of the shard that holds what has this name."""
    return 0 if shards == 1 else crc32(name.encode()) % shards


def group_by_shard(items: Iterable[T], shards: int, name_of: Callable[[T], str]) -> list[list[T]]:
    """Return for each shard those of the items that it holds, in their order."""
    if shards == 1:
        return [list(items)]
    groups: list[list[T]] = [[] for _ in range(shards)]
    for item in items:
        groups[choose_shard(name_of(item), shards)].append(item)
    return groups


def share_of(whole: int, number: int, shards: int) -> int:
    """Return the part of a bound that shard ``number`` has; the parts of all shards make the whole."""
    return whole // shards + (number < whole % shards)


def check_shards(shards: object) -> int | None:
    """Return the number of shards that a caller asks for; None where it takes the namespace's.

    Raises:
        InvalidArgumentError, InvalidTypeError: not such a number.

    """
    return None if shards is None else validation.check_integer("shards", shards, least=1, most=MAX_SHARDS)


class KnownCount:
    """The stored number of shards of one component, once it was read: the objects of a process may share it."""

    number: int | None = None


class ShardCount:
    """The number of shards of one component, as all processes of the namespace have it."""

    def __init__(
        self,
        namespace: str,
        component: str,
        version: int,
        given: int | None,
        default: int,
        known: KnownCount | None = None,
    ) -> None:
        """Name the component; ``given`` is what this process asks for, ``default`` is for a new namespace."""
        self._namespace = namespace
        self._component = component
        self._tag = KeySpace(namespace, component).tag
        self._version = version
        self._given = given
        self._wanted = default if given is None else given
        self._known = KnownCount() if known is None else known

    def share(self, known: KnownCount) -> None:
        """Read the number once for all objects that share ``known``."""
        self._known = known

    @property
    def is_known(self) -> bool:
        """Whether the stored number was read."""
        return self._known.number is not None

    async def find(self) -> int:
        """Return the number of shards, for a call that only reads; writes nothing.

        Raises:
            InvalidArgumentError: this process asks for another number.

        """
        if self._known.number is None:
            stored = await command(find_shard_count, "GET", layout_key(self._tag))
            if stored is None:  # nothing was ever written
                return self._wanted
            self._known.number = stored
        return self._accept(self._known.number)

    async def settle(self) -> int:
        """Return the number of shards, for a call that writes; stores it where there is none.

        Raises:
            InvalidArgumentError: this process asks for another number.
            LayoutVersionError: the keys have another layout version.

        """
        if self._known.number is None:
            self._known.number = await record_shard_count(self._tag, self._version, self._wanted)
        return self._accept(self._known.number)

    def names(self, shards: int) -> tuple[str, ...]:
        """Return the names of this number of shards."""
        return name_shards(self._namespace, self._component, shards)

    def _accept(self, stored: int) -> int:
        if self._given not in (None, stored):
            raise InvalidArgumentError(
                f"{self._component} of namespace {self._namespace!r} has shards={stored}, not {self._given}:"
                " give all processes the same number, or none"
            )
        return stored


class ShardSet(Generic[S]):
    """What a component has for each of its shards, made once their number is known."""

    def __init__(self, count: ShardCount, make: Callable[[str, int, int], S]) -> None:
        """Make shards by ``make``, which is given a shard's name, its number, and the number of shards."""
        self._count = count
        self._make = make
        self._made: dict[int, tuple[S, ...]] = {}
        self.known: tuple[S, ...] = ()
        """All shards, where a call has found their number; else none."""

    async def find(self) -> tuple[S, ...]:
        """Return all shards, for a call that only reads."""
        if not self.known:
            found = self.of(await self._count.find())
            if not self._count.is_known:
                return found
            self.known = found
        return self.known

    async def settle(self) -> tuple[S, ...]:
        """Return all shards, for a call that writes."""
        if not self.known:
            self.known = self.of(await self._count.settle())
        return self.known

    def of(self, shards: int) -> tuple[S, ...]:
        """Return all of this number of shards."""
        made = self._made.get(shards)
        if made is None:
            made = self._made[shards] = tuple(self._make_each(shards))
        return made

    def _make_each(self, shards: int) -> Iterator[S]:
        for number, name in enumerate(self._count.names(shards)):
            yield self._make(name, number, shards)
