"""Calls that follow nodes to the shards that they are moved to (``resharding.py``).

A shard that is closed refuses, and the record says where its nodes are, or will be: the caller waits for it for some
seconds, as for a slot of a cluster that moves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

from edge_redis._core.operation import Batch, Operation, Sleep, command
from edge_redis._core.shards import Shards, ShardSet
from edge_redis._health.keys import HealthKeys
from edge_redis.errors import ShardMovedError

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
_MAX_SECONDS: Final = 5.0
"""How long a call waits until a closed shard was moved."""


class HasKeys(Protocol):
    """A shard with its keys."""

    keys: HealthKeys


S = TypeVar("S", bound=HasKeys)
T = TypeVar("T")


async def follow(shards: ShardSet[S], call: Callable[[Shards[S]], Awaitable[T]]) -> T:
    """Return what a call on the present shards returns; call again with the new ones where it met a closed shard.

    Raises:
        ShardMovedError: a shard was closed, and not moved in time.

    """
    found = shards.known or await shards.find()
    waited = pause = 0.0
    while True:
        try:
            return await call(found)
        except ShardMovedError:
            before, found = found, await shards.refresh()
            if found.record == before.record:
                if waited >= _MAX_SECONDS:
                    raise
                pause = min(2 * pause, _LONGEST_PAUSE) or _FIRST_PAUSE
                waited += pause
                await Sleep(pause)


async def follow_all(shards: ShardSet[S], read: Callable[[Shards[S]], Awaitable[T]]) -> T:
    """Return what a read of all nodes returns, so that no node is in it twice."""
    return await follow(shards, lambda found: _read_once(shards, found, read))


async def _read_once(shards: ShardSet[S], found: Shards[S], read: Callable[[Shards[S]], Awaitable[T]]) -> T:
    result = await read(found)
    if found.record.target is not None:  # nodes of the next shard may have been read before they were copied, and after
        record, is_closed = await Batch[Any]([shards.count.read(), _is_closed(found[0].keys)])
        if is_closed or record != found.record:
            raise ShardMovedError("nodes were moved while they were read")
    return result


async def refuse_closed(keys: HealthKeys, *reads: Operation[T]) -> list[T]:
    """Return what commands read that are no scripts, and so are not refused by a closed shard."""
    *results, is_closed = await Batch[Any]([*reads, _is_closed(keys)])
    if is_closed:
        raise ShardMovedError("this shard is being moved, or was")
    return results


def _is_closed(keys: HealthKeys) -> Operation[int]:
    return command(int, "EXISTS", keys.moved)
