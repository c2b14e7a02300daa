"""Forgetting what was deleted long ago: a delete is kept as long as somebody may still not know of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from edge_redis.core.operation import Batch, Flow, Operation, T, command
from edge_redis.state.change import Change, shown
from edge_redis.state.operations import Replica

COLLECTED_AFTER: Final = 10 * 86_400.0
"""In seconds: longer than an edge is cut off, or it would not hear of a delete."""

_PAGE: Final = 200


def collect(replica: Replica, seconds: float) -> Flow[int]:
    """Forget the scopes that were deleted more than ``seconds`` ago, by the server's clock; return how many.

    A few hundred scopes a round trip, so that no call holds the server.
    """
    now: int = yield from command(lambda time: int(time[0]) * 1_000_000 + int(time[1]), "TIME")
    cutoff = f"{max(0, now - round(seconds * 1e6)):018d}"
    collected, place = 0, -1
    while place != 0:
        place, scopes = yield from replica.scopes(max(place, 0), _PAGE)
        for scope, found in (yield from _deletes(replica, scopes, cutoff)):
            collected += yield from replica.collect(scope, found.stamp)
    return collected


def _deletes(replica: Replica, scopes: Sequence[str], cutoff: str) -> Flow[list[tuple[str, Change]]]:
    """Return those that were deleted before ``cutoff``; of the others no data are read, but of merged ones."""
    docs = [replica.keys.doc(scope) for scope in scopes]
    heads: list[list[Any]] = yield from _all([command(list, "HMGET", doc, "clock", "merged") for doc in docs])
    sizes = yield from _all([command(int, "HSTRLEN", doc, "data") for doc in docs])
    old = [
        scope
        for scope, (clock, merged), size in zip(scopes, heads, sizes, strict=True)
        if clock is not None and clock.decode() <= cutoff and (size == 0 or merged == b"1")
    ]
    found = yield from _all([replica.document(scope) for scope in old])
    return [(scope, each) for scope, each in zip(old, found, strict=True) if each and shown(each.body) is None]


def _all(operations: Sequence[Operation[T]]) -> Flow[list[T]]:
    return (yield from Batch(operations)) if operations else []
