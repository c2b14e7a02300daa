"""The kinds of processes of an experiment: as they are now, and as they were before what is optional on the link.

Processes of both kinds work side by side where a release is brought to one machine after the other. What an older one
does not do: splice bodies, up, down and in outboxes; send several scopes together; wait for hints, and give them; and
read headers before bodies. What it writes has the same layout.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from edge_redis import ConflictStrategy, SyncState
from edge_redis._sync import scripts
from edge_redis._sync.config import EndConfig
from edge_redis._sync.downlink import Downlink
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.link import LinkCounters
from edge_redis._sync.merge import merge_into
from edge_redis._sync.replica import Replica
from edge_redis.cloudstores import Change, Feed
from support.sync_plants import Rewrites, Runner

OLDER: Rewrites = (
    ("if not is_edge then keep_splice(", "if false then keep_splice("),
    ("keep_splice(doc, current, state)\nwrite_document(", "write_document("),
    ("redis.pcall('PUBLISH',", "redis.pcall('EXISTS',"),
    ("  if #data < MIN_BODY_BYTES then return end\n", "  if true then return end\n"),
)
"""Scripts that write full bodies, leave the splices that others have kept, and give no hints."""

SMALL_SPLICES: Rewrites = (
    (
        "local MIN_BODY_BYTES, MAX_RUNS, ANCHOR_BYTES = 512, 128, 24",
        "local MIN_BODY_BYTES, MAX_RUNS, ANCHOR_BYTES = 24, 128, 4",
    ),
    (
        "local BASE_CHARS, MAX_INLINE_BYTES, MAX_HINT_BYTES = 16, 512, 512",
        "local BASE_CHARS, MAX_INLINE_BYTES, MAX_HINT_BYTES = 16, 48, 512",
    ),
    ("local SPLICED_BYTES, BASE_BYTES = 512, 256", "local SPLICED_BYTES, BASE_BYTES = 24, 12"),
)
"""Scripts that splice bodies which otherwise go in full, as those of an experiment do."""


def splice_small_bodies() -> None:
    """Let this process splice small bodies, as the scripts of SMALL_SPLICES do."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("edge_redis._sync.") and hasattr(module, "MIN_BODY_BYTES"):
            vars(module)["MIN_BODY_BYTES"] = 24
            if hasattr(module, "_ANCHOR_BYTES"):
                vars(module)["_ANCHOR_BYTES"] = 4


class OlderStore:
    """A cloud in Redis with the methods that every cloud store has, and no others. It sends and reads full states."""

    def __init__(self, runner: Runner, namespace: str, kept: int) -> None:
        self._runner = runner
        self._replica = Replica(SyncKeys(namespace, "cloud"), EndConfig.of_cloud(kept, kept))

    def get(self, scope: str) -> SyncState | None:
        found: SyncState | None = self._runner.run(self._read(scope))
        return found

    async def _read(self, scope: str) -> SyncState | None:
        return await self._replica.read_state(scope)

    def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> list[Any]:
        outcomes: list[Any] = self._runner.run(self._apply(scope, changes, strategy))
        return outcomes

    async def _apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> list[Any]:
        if strategy is not ConflictStrategy.MERGE:
            settings = f"{strategy.value} 0 - {self._replica.config.origin}"
            if outcomes := await scripts.apply(self._replica, scope, changes, settings):
                return outcomes
        return await merge_into(self._replica, scope, changes, "")

    def changes_since(self, cursor: str, limit: int) -> Feed:
        # Without a known state it asks for every body.
        downlink = Downlink(self._replica, KnownStates(max_bytes=0), LinkCounters())
        feed: Feed = self._runner.run(downlink.read(cursor, limit))
        return feed
