"""Registers at an edge which scopes its workers carry, so that its writers know which ones no worker pushes.

The hash ``patterns`` has a field ``push <length>:<pattern>...`` for the patterns of each kind of worker, and a field
``urgent <pattern>`` for each pattern of urgent scopes. The value is when such a worker was last heard of, in ms. After
``~`` the outboxes are still to be sorted by it, after ``-`` the worker has ended. Where workers are registered, and
none pushes a scope, writers keep its newest state alone, outside the index of work.

A worker keeps its field for a day after it was last heard of. It is replaced sooner by a worker that pushes a part of
the same scopes: at once where it was closed, else after two hours.
"""

from __future__ import annotations

from typing import Final

from edge_redis._sync import scripts
from edge_redis._sync.patterns import Carried
from edge_redis._sync.replica import Replica

_OUTBOXES_A_CALL: Final = 100


class Registration:
    """The patterns of one worker at its edge."""

    def __init__(self, edge: Replica, carried: Carried) -> None:
        self._edge = edge
        self._urgent = carried.urgent.texts
        self.push = "".join(f"{len(each.encode())}:{each}" for each in carried.pushed.texts)
        """The patterns as one text."""
        self.is_missing = bool(self._urgent)
        """Whether the patterns are to be registered: they are not, or were an hour ago."""

    async def perform(self) -> None:
        """Register, and sort the outboxes where that changes which scopes are pushed."""
        if await scripts.register_patterns(self._edge, self.push, "running", self._urgent):
            await self._sort()
            await scripts.register_patterns(self._edge, self.push, "sorted", self._urgent)
        self.is_missing = False

    async def _sort(self) -> None:
        cursor, is_done = 0, False
        while not is_done:
            following, is_incomplete = await scripts.sort_outboxes(self._edge, cursor, _OUTBOXES_A_CALL)
            if not is_incomplete:
                cursor, is_done = following, following == 0

    async def end(self) -> None:
        """Record that this worker has ended."""
        await scripts.register_patterns(self._edge, self.push, "ended", ())
