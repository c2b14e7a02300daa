"""Finds a clone of an edge: a copy of its disk image, or of its data, that writes beside it.

Clones write under origins of one lineage (``origin.py``), each under one of its own. A state of this edge's lineage
that another incarnation wrote is a clone's if it was written after this incarnation began, and this edge never had it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from edge_redis._core.operation import Batch, command
from edge_redis._sync.change import Change
from edge_redis._sync.event_recorder import EventRecorder
from edge_redis._sync.failures import perform_each
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.origin import began_at, lineage_of, store_of
from edge_redis._sync.replica import Replica
from edge_redis.models import SyncEvent

_log = logging.getLogger("edge_redis")

REMEMBERED_SECONDS: Final = 86_400


class Clones:
    """Finds states of clones among the changes that one worker pulls."""

    def __init__(self) -> None:
        self._reported: set[str] = set()
        self._events = EventRecorder()

    async def look_for(self, edge: Replica, replica_id: str, changes: Sequence[tuple[str, Change]]) -> None:
        """Report a clone if it wrote one of the changes of scopes that are in this shard of the edge."""
        lineage, began = lineage_of(replica_id), began_at(replica_id)
        suspects = [
            (scope, change)
            for scope, change in changes
            if store_of(change.origin) != replica_id
            and lineage_of(store_of(change.origin)) == lineage
            and change.clock > began
        ]
        if not suspects:
            return
        known = await perform_each(
            [command(_clock, "HGET", edge.keys.doc(scope), f"seen:{change.origin}") for scope, change in suspects]
        )
        for (scope, change), clock in zip(suspects, known, strict=True):
            if change.clock > (clock or ""):  # else an earlier run of this edge's own server wrote it
                await self._report(edge, scope, change)

    async def _report(self, edge: Replica, scope: str, change: Change) -> None:
        await command(bool, "SET", edge.keys.clone, change.origin, "EX", REMEMBERED_SECONDS)
        if change.origin in self._reported:
            return
        self._reported.add(change.origin)
        text = "a clone of this edge writes: give one of the two an identity of its own (new_identity)"
        _log.error("%r: %s", scope, text)
        event = SyncEvent("pull", change.version, success=False, error=text)
        await self._events.try_record(edge, scope, event)


async def seconds_since_clone(shards: Sequence[SyncKeys]) -> float | None:
    """Return how long ago a state of a clone was last pulled, None if none was within the last day."""
    left = max(await Batch([command(int, "PTTL", keys.clone) for keys in shards]))
    return None if left < 0 else max(0.0, REMEMBERED_SECONDS - left / 1000)


def _clock(reply: Any) -> str:
    return (reply or b"").decode(errors="replace").rpartition(":")[2]
