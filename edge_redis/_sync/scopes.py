"""The scopes of a namespace at an edge."""

from __future__ import annotations

from typing import Final

from edge_redis._core.gather import gather
from edge_redis._core.shards import Shards, ShardSet
from edge_redis._sync import scripts
from edge_redis._sync.keys import SyncKeys
from edge_redis.types import ScopeSummary

_SCOPES_A_STEP: Final = 200


async def list_scopes(edge: ShardSet[SyncKeys]) -> list[ScopeSummary]:
    """Return the scopes of this edge, sorted by name, a few hundred of each shard a round trip.

    They are listed again where the record of the shards has changed meanwhile.
    """
    listed, shards = None, await edge.find()
    while listed is None or listed.record != shards.record:
        found, listed = await _list_shards(shards), shards
        shards = await edge.refresh()
    return [found[name] for name in sorted(found)]


async def _list_shards(shards: Shards[SyncKeys]) -> dict[str, ScopeSummary]:
    """Return the scopes by name. One that is being moved is in both shards, or in the new one, which is listed last."""
    record, found = shards.record, dict[str, ScopeSummary]()
    old = len(shards) if record.target is None else record.shards - record.moved
    for part in (shards[:old], shards[old:]):
        for some in await gather([_list_shard(keys) for keys in part]) if part else ():
            found |= some
    return found


async def _list_shard(keys: SyncKeys) -> dict[str, ScopeSummary]:
    """Return the scopes of a shard by name."""
    found: dict[str, ScopeSummary] = {}
    cursor = 0
    while True:
        cursor, some = await scripts.list_scopes(keys, cursor, _SCOPES_A_STEP)
        found.update((each["scope"], each) for each in some)
        if cursor == 0:
            return found
