"""Finds a scope that was moved to another shard while a call was made to the one before (``resharding.py``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from edge_redis._core.operation import Sleep, command
from edge_redis._core.shard_record import choose_shard
from edge_redis._core.shards import ShardSet
from edge_redis.errors import ShardMovedError

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
_MAX_SECONDS: Final = 5.0
"""How long a write waits until its scope is in the new shard, and the record says so."""

_MAX_SHARDS: Final = 8
"""Shards that a read follows a scope through."""


class MovableShard(Protocol):
    """A shard of an edge or of a cloud, or its keys."""

    tag: str
    moved: str


S = TypeVar("S", bound=MovableShard)
T = TypeVar("T")


async def wait_for_new_shard(shards: ShardSet[S], scope: str, old: MovableShard) -> S:
    """Return the shard that a scope is written in now, for a write that ``old`` has refused.

    Raises:
        ShardMovedError: the scope was not there in time.

    """
    pause = waited = 0.0
    while True:
        present = (await shards.refresh()).choose(scope)
        if present.tag != old.tag:
            return present
        if waited >= _MAX_SECONDS:
            raise ShardMovedError(f"{scope!r} is being moved to another shard: after {waited:.0f} s it was not there")
        pause = min(2 * pause, _LONGEST_PAUSE) or _FIRST_PAUSE
        waited += pause
        await Sleep(pause)


async def read_where_it_is(shards: ShardSet[S], scope: str, read: Callable[[S], Awaitable[T]], found: T, old: S) -> T:
    """Return what a read of a scope finds, which has found nothing, as in ``found``, in the shard ``old``.

    A scope is removed from a shard only after the shard was closed and the scope copied to its new one. So where the
    shard is open, there was nothing to be found; and where it is closed, the scope is in the new shard if anywhere.
    """
    for _ in range(_MAX_SHARDS):
        if not await command(int, "EXISTS", old.moved):
            return found
        present = await shards.refresh()
        shard = present.choose(scope)
        if shard.tag == old.tag:  # not recorded as moved yet
            record = present.record
            if record.target is None:
                return found
            shard = shards.of(record.target, record.next_generation)[choose_shard(scope, record.target)]
        found, old = await read(shard), shard
        if found:
            return found
    return found
