"""The scopes of a namespace at an edge."""

from __future__ import annotations

from typing import Final, cast

from edge_redis._core.gather import gather
from edge_redis._core.operation import Batch, command
from edge_redis._core.shards import ShardSet
from edge_redis._sync.keys import SyncKeys
from edge_redis.types import ScopeSummary

_SCOPES_A_STEP: Final = 200


async def list_scopes(edge: ShardSet[SyncKeys]) -> list[ScopeSummary]:
    """Return the scopes of this edge, sorted by name, a few hundred of each shard a round trip."""
    shards = await edge.find()
    if len(shards) == 1:
        return await _list_shard(shards[0])
    found = await gather([_list_shard(keys) for keys in shards])
    return sorted((each for scopes in found for each in scopes), key=lambda each: each["scope"])


async def _list_shard(keys: SyncKeys) -> list[ScopeSummary]:
    """Return the scopes of a shard, sorted by name."""
    names: set[bytes] = set()
    cursor, is_done = 0, False
    while not is_done:
        # The client library makes an int and a dict of this reply.
        cursor, page = await command(
            tuple[int, dict[bytes, bytes]], "HSCAN", keys.scopes, cursor, "COUNT", _SCOPES_A_STEP
        )
        names.update(page)
        is_done = int(cursor) == 0
    ordered = sorted(names)
    found: list[ScopeSummary] = []
    for start in range(0, len(ordered), _SCOPES_A_STEP):
        found += await _summaries(
            keys, [name.decode(errors="replace") for name in ordered[start : start + _SCOPES_A_STEP]]
        )
    return found


async def _summaries(keys: SyncKeys, scopes: list[str]) -> list[ScopeSummary]:
    counts = await Batch(
        [
            operation
            for scope in scopes
            for operation in (
                command(lambda reply: int(reply or 0), "HGET", keys.doc(scope), "version"),
                command(int, "XLEN", keys.pending(scope)),
                command(int, "XLEN", keys.conflicts(scope)),
            )
        ]
    )
    rows = zip(scopes, counts[::3], counts[1::3], counts[2::3], strict=True)
    names = ("scope", "version", "pending", "conflicts")
    return [cast("ScopeSummary", dict(zip(names, row, strict=True))) for row in rows]
