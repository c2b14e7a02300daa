"""The scopes of a namespace at an edge."""

from __future__ import annotations

from typing import Final

from edge_redis._core.gather import gather
from edge_redis._core.shards import ShardSet
from edge_redis._sync import scripts
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
    found: dict[str, ScopeSummary] = {}
    cursor = 0
    while True:
        cursor, some = await scripts.list_scopes(keys, cursor, _SCOPES_A_STEP)
        found.update((each["scope"], each) for each in some)
        if cursor == 0:
            return [found[name] for name in sorted(found)]
