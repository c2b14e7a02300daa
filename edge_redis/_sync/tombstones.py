"""Forgetting what was deleted long ago: a delete is kept as long as somebody may still not know of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from edge_redis._core.operation import command
from edge_redis._sync.change import Change, shown
from edge_redis._sync.failures import each
from edge_redis._sync.replica import Replica
from edge_redis.errors import EdgeRedisError

_log = logging.getLogger("edge_redis")

COLLECTED_AFTER: Final = 10 * 86_400.0
"""In seconds: longer than an edge is cut off, or it would not hear of a delete."""

_PAGE: Final = 200


async def collect(replica: Replica, seconds: float) -> int:
    """Forget the scopes that were deleted more than ``seconds`` ago, by the server's clock; return how many.

    A few hundred scopes a round trip, so that no call holds the server.
    """
    now: int = await command(lambda time: int(time[0]) * 1_000_000 + int(time[1]), "TIME")
    cutoff = f"{max(0, now - round(seconds * 1e6)):018d}"
    collected, place = 0, -1
    while place != 0:
        place, scopes = await replica.scopes(max(place, 0), _PAGE)
        deletes = await _deletes(replica, scopes, cutoff)
        forgotten = await each([replica.collect(scope, found.stamp) for scope, found in deletes])
        collected += sum(number or 0 for number in forgotten)
    return collected


async def _deletes(replica: Replica, scopes: Sequence[str], cutoff: str) -> list[tuple[str, Change]]:
    """Return those that were deleted before ``cutoff``; of the others no data are read, but of merged ones.

    What is damaged is no delete, and does not hold up the others.
    """
    docs = [replica.keys.doc(scope) for scope in scopes]
    heads = await each([command(_head, "HMGET", doc, "clock", "merged") for doc in docs])
    sizes = await each([command(int, "HSTRLEN", doc, "data") for doc in docs])
    old = [
        scope
        for scope, head, size in zip(scopes, heads, sizes, strict=True)
        if head is not None and head.clock <= cutoff and (size == 0 or head.is_merged)
    ]
    found = await each([replica.document(scope) for scope in old])
    return [(scope, state) for scope, state in zip(old, found, strict=True) if state and _is_deleted(scope, state)]


def _is_deleted(scope: str, state: Change) -> bool:
    try:
        state.verify()  # or what was cut down to nothing would be taken for a delete
        return shown(state.body) is None
    except EdgeRedisError as error:
        _log.error("%r is not collected: %s", scope, error)
        return False


class _Head(NamedTuple):
    clock: str
    is_merged: bool


def _head(reply: Any) -> _Head | None:
    clock, merged = reply
    return None if clock is None else _Head(clock.decode(errors="replace"), merged == b"1")
