"""Reading the streams of transitions as they grow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from edge_redis._core import validation
from edge_redis._core.gather import gather
from edge_redis._core.polling import Polling
from edge_redis._core.shards import ShardSet
from edge_redis._health.shards import HealthShard
from edge_redis._health.stream_cursor import PAGE, StreamCursor
from edge_redis._health.transition_entry import StreamEntry
from edge_redis._health.transition_merge import merge, order_of, split_position
from edge_redis.models import Transition

_ID: Final = r"\d{1,20}(-\d{1,20})?"
_POSITION: Final = re.compile(rf"{_ID}(,{_ID})*")
_FIRST: Final = "0"


class TransitionReader:
    """Reads transitions from a cursor on. Each step returns those since the last step, or pauses if there are none."""

    def __init__(
        self,
        shards: ShardSet[HealthShard],
        position: str | None,
        node_id: str | None,
        timeout: float | None,
        poll_seconds: float,
    ) -> None:
        if position is not None and not _POSITION.fullmatch(validation.check_identifier("position", position)):
            raise validation.value_error("position", position, "must be the position of a transition, or '0' for all")
        self._shards = shards
        self._begin = position
        self._cursors: Sequence[StreamCursor] = ()
        """One for each shard, or the one for the shard of the node."""
        self._number_of_shards = 0
        self._node_id = None if node_id is None else validation.check_identifier("node id", node_id)
        self._polling = Polling(timeout, poll_seconds)

    @property
    def is_over(self) -> bool:
        """Whether no wanted transition came within the timeout."""
        return self._polling.is_over

    async def start(self) -> None:
        """Set the cursors to the ends of the streams, where no position was given."""
        shards = self._shards.known or await self._shards.find()
        if len(shards) == self._number_of_shards:
            return
        if self._number_of_shards and self._begin is None:
            self._begin = _FIRST  # nothing had been written when this reader began
        positions = [None] * len(shards) if self._begin is None else split_position(self._begin, len(shards))
        cursors = [StreamCursor(*each) for each in zip((s.keys.transitions for s in shards), positions, strict=True)]
        if self._node_id is not None:
            cursors = [cursors[shards.record.choose(self._node_id)]]
        await gather([cursor.start() for cursor in cursors])
        self._cursors, self._number_of_shards = cursors, len(shards)

    async def step(self) -> list[Transition]:
        """Return the transitions since the last step, the oldest first; pause where none is wanted."""
        await self.start()
        pages = await gather([cursor.read() for cursor in self._cursors])
        changes = self._take(pages)
        if changes:
            self._polling.reset()
        elif not any(len(page) == PAGE for page in pages):
            await self._polling.pause()
        return changes

    def _take(self, pages: Sequence[list[StreamEntry]]) -> list[Transition]:
        if len(pages) == 1:
            return list(self._cursors[0].take(pages[0], self._node_id))
        before = [cursor.position for cursor in self._cursors]
        parts = [list(cursor.take(page, None)) for cursor, page in zip(self._cursors, _cut_pages(pages), strict=True)]
        return list(merge(parts, before))


def _cut_pages(pages: Sequence[list[StreamEntry]]) -> list[list[StreamEntry]]:
    """Return the entries up to the time that all pages reach, so that no later step returns an earlier one."""
    ends = [_order(page[-1]) for page in pages if len(page) == PAGE]
    if not ends:
        return list(pages)
    end = min(ends)
    return [list(takewhile(lambda entry: _order(entry) <= end, page)) for page in pages]


def _order(entry: StreamEntry) -> tuple[int, int]:
    return order_of(entry[0].decode())
