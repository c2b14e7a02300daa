"""The keys of an edge's shards, whose number all processes of a namespace agree on (``_core/shards.py``)."""

from __future__ import annotations

from edge_redis._core.shard_record import ShardRecord
from edge_redis._core.shards import KnownRecord, ShardCount, ShardSet
from edge_redis._sync.keys import LAYOUT_VERSION, SyncKeys


def count_shards(
    namespace: str, given: int | None = None, default: int = 1, known: KnownRecord | None = None
) -> ShardCount:
    """Return the number of shards of a namespace's edge, to be read with the first call."""
    return ShardCount(namespace, "sync", LAYOUT_VERSION, given, default, known)


def make_edge_keys(namespace: str, count: ShardCount | None = None, patterns: str = "") -> ShardSet[SyncKeys]:
    """Return the keys of each shard of an edge, which has one without a ``count``."""

    def make(name: str, *_: int) -> SyncKeys:
        return SyncKeys(namespace, "sync", patterns, shard=name)

    shards = ShardSet(count_shards(namespace) if count is None else count, make)
    if count is None:
        shards.known = shards.at(ShardRecord(str(LAYOUT_VERSION)))
    return shards
