"""Purging of tombstones: a delete is kept as long as an edge may still not know of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from edge_redis._core.chunks import split_by_bytes
from edge_redis._core.operation import command
from edge_redis._sync import scripts
from edge_redis._sync.change import Change, visible_data
from edge_redis._sync.failures import perform_each
from edge_redis._sync.replica import Replica
from edge_redis.errors import EdgeRedisError

_log = logging.getLogger("edge_redis")

TOMBSTONE_SECONDS: Final = 10 * 86_400.0
"""Longer than an edge is cut off: an edge that was cut off for longer would not learn of a delete."""

_PAGE: Final = 200
_READ_BYTES: Final = 8 * 1024 * 1024
"""Bytes of the documents that are read in one round trip, or one document of more."""


def cutoff_clock(now: int, older_than_seconds: float) -> str:
    """Return the clock of the moment so many seconds before ``now``, in microseconds, but not before 1970."""
    return f"{max(0, now - round(min(older_than_seconds, now / 1e6) * 1e6)):018d}"


async def purge(replica: Replica, older_than_seconds: float) -> int:
    """Remove the scopes that were deleted longer ago than this, by the server's clock; return how many.

    A round trip is about a few hundred scopes, so that none blocks the server for long.
    """
    now: int = await command(lambda time: int(time[0]) * 1_000_000 + int(time[1]), "TIME")
    cutoff = cutoff_clock(now, older_than_seconds)
    purged, position = 0, -1
    while position != 0:
        position, scopes = await replica.scan_scopes(max(position, 0), _PAGE)
        deletes = await _find_deletes(replica, scopes, cutoff)
        removed = await perform_each([scripts.purge_tombstone(replica, scope, found.stamp) for scope, found in deletes])
        purged += sum(number or 0 for number in removed)
    return purged


async def _find_deletes(replica: Replica, scopes: Sequence[str], cutoff: str) -> list[tuple[str, Change]]:
    """Return the scopes deleted before ``cutoff``. Only merged fields are read, not the data of other states.

    A damaged document does not count as a delete, and does not stop the others.
    """
    docs = [replica.keys.doc(scope) for scope in scopes]
    heads = await perform_each([command(_decode_head, "HMGET", doc, "clock", "merged") for doc in docs])
    sizes = await perform_each([command(int, "HSTRLEN", doc, "data") for doc in docs])
    old = {
        scope: size or 0
        for scope, head, size in zip(scopes, heads, sizes, strict=True)
        if head is not None and head.clock <= cutoff and (size == 0 or head.is_merged)
    }
    deletes: list[tuple[str, Change]] = []
    for part in split_by_bytes([*old], [*old.values()], _READ_BYTES):
        found = await perform_each([replica.read_document(scope) for scope in part])
        deletes += [
            (scope, state) for scope, state in zip(part, found, strict=True) if state and _is_deleted(scope, state)
        ]
    return deletes


def _is_deleted(scope: str, state: Change) -> bool:
    try:
        state.verify()  # otherwise a body that was truncated to nothing would count as a delete
        return visible_data(state.body) is None
    except EdgeRedisError as error:
        _log.error("%r is not purged: %s", scope, error)
        return False


class _Head(NamedTuple):
    clock: str
    is_merged: bool


def _decode_head(reply: Any) -> _Head | None:
    clock, merged = reply
    return None if clock is None else _Head(clock.decode(errors="replace"), merged == b"1")
