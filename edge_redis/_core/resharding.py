"""Changes the number of shards of a component with its units in place, one shard after another.

While it changes, the record of shard 0 says how many of the old shards, the first ones, were moved
(``shard_record.py``). A unit (a node, a scope) whose shard was moved is in its new shard, every other one is where it
was. For each old shard:

1. It is closed: its key ``moved`` makes every script that would write there refuse (``ERMOVED``).
2. Its units are copied to their new shards. A process that copies claims the new shards first (``claim_source.lua``),
   so that what another one, which was stopped and goes on, still sends is refused; and so it is once everything was
   copied, for then the units may be written there.
3. The units are removed from the old shard, which stays closed.
4. The record names it as moved. Until then nobody writes to these units: writers wait for it.

A process that ends anywhere in this leaves a closed shard at most; the same change goes on with it. Keys ``moved`` stay
for ever, since a process may have an old record for ever. A number that comes back has shards of other names.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from edge_redis._core.operation import Batch, command
from edge_redis._core.reply_values import decode_text
from edge_redis._core.script import load
from edge_redis._core.shard_record import ShardRecord
from edge_redis._core.shards import ShardSet, check_shards, close_shard
from edge_redis.errors import InvalidArgumentError, StoreError

_CLAIM: Final = load("edge_redis._core", "claim_source")
_REMOVE: Final = load("edge_redis._core", "remove_moved")
_MAX_ATTEMPTS: Final = 10


class MovableKeys(Protocol):
    """The keys of a shard whose units can be moved."""

    tag: str
    moved: str
    """Exists where the shard is closed."""
    received: str
    """What the shard has received from other ones."""


K = TypeVar("K", bound=MovableKeys)


class Claim(NamedTuple):
    """The right of one process to copy an old shard."""

    source: str
    """The old shard."""
    token: str
    """The name of the move, and what distinguishes the process."""

    @property
    def move(self) -> str:
        """The name of the move: the value of ``moved`` until the shard is closed anew."""
        return self.token.partition(":")[0]


class ShardChange(ABC, Generic[K]):
    """The change of the number of shards of one component."""

    units: str
    """What is moved, for messages."""

    def __init__(self, shards: ShardSet[K]) -> None:
        self.shards = shards

    async def is_complete(self, record: ShardRecord) -> bool:
        """Return whether no change ended halfway."""
        return record.target is None

    async def change(self, shards: int, report: Callable[[ShardRecord], object] = lambda _: None) -> ShardRecord:
        """Move all units to this number of shards; return the record. ``report`` is called with each one on the way.

        Raises:
            InvalidArgumentError: a change to another number was begun and is not complete, or this one may not begin.

        """
        check_shards(shards)
        record = await self._begin(shards)
        while record.target is not None:
            report(record)
            record = await self._move_next(record)
        report(record)
        return record

    async def _begin(self, shards: int) -> ShardRecord:
        count = self.shards.count
        for _ in range(_MAX_ATTEMPTS):
            record = await count.read() or await count.store(shards)
            if record.target not in (None, shards):
                raise InvalidArgumentError(
                    f"a change from {record.shards} to {record.target} shards is not complete: complete it first"
                )
            if record.latest == shards:
                return record
            begun = record.begin_move(shards, await self._find_generation(shards))
            await self.prepare(record, begun)
            if await count.replace(record, begun) == begun:
                return begun
        raise StoreError(f"the number of shards of {self.units} is being changed by another process")

    async def _find_generation(self, shards: int) -> int:
        """Return the first generation of this number that was not left yet: the first shard of one is closed first."""
        generation = 0
        while await command(int, "EXISTS", self.shards.of(shards, generation)[0].moved):
            generation += 1
        return generation

    async def _move_next(self, record: ShardRecord) -> ShardRecord:
        """Move the next old shard; return the record after that."""
        assert record.target is not None
        old = self.shards.of(record.shards, record.generation)[record.moved]
        new = self.shards.of(record.target, record.next_generation)
        await self.look_at(new)
        move = await close_shard(old.moved)
        claim = Claim(f"{record.shards}.{record.moved}", f"{move}:{secrets.token_hex(8)}")
        claimed = await Batch([_CLAIM([keys.received], [*claim], int) for keys in new])
        await self.move(old, new, claim, is_copied=not any(claimed))
        after = await self.shards.count.replace(record, self.advance(record))
        if after is None:
            raise StoreError("the record of the shards is gone")
        await self.on_moved()
        return after

    async def prepare(self, record: ShardRecord, begun: ShardRecord) -> None:
        """Check whether the change may begin, and prepare the new shards. It may be repeated, and come late."""

    async def look_at(self, new: Sequence[K]) -> None:
        """Read what is to be known of the new shards before the next old one is closed."""

    @abstractmethod
    async def move(self, old: K, new: Sequence[K], claim: Claim, *, is_copied: bool) -> None:
        """Copy the units of a closed shard, where that is not done yet, end the copying, and remove them."""

    def advance(self, record: ShardRecord) -> ShardRecord:
        """Return the record once one more of the old shards was moved."""
        return record.advance()

    async def on_moved(self) -> None:
        """Tell other processes that a shard was moved."""


async def check_closed(old: MovableKeys, claim: Claim) -> None:
    """Check that a shard was closed since this move began.

    Raises:
        StoreError: it was not: its master was lost before the key was replicated.

    """
    if await command(decode_text, "GET", old.moved) != claim.move:
        raise not_closed(old)


async def remove_keys(old: MovableKeys, claim: Claim, keys: Sequence[str]) -> None:
    """Remove keys of a shard as a whole, once its units were removed.

    Raises:
        StoreError: the shard is not closed any more.

    """
    if not await _REMOVE([old.moved, *keys], [claim.move], int):
        raise not_closed(old)


def not_closed(old: MovableKeys) -> StoreError:
    """Return the error of a move whose shard is not closed any more."""
    return StoreError(f"{old.tag} is not closed any more: change the number of shards again")
