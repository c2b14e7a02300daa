"""Reading the streams of transitions as they grow."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from itertools import takewhile
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.gather import gather
from edge_redis._core.polling import Polling
from edge_redis._core.shard_record import ShardPlace, ShardRecord
from edge_redis._core.shards import ShardSet
from edge_redis._health.shards import HealthShard, list_logs
from edge_redis._health.stream_cursor import PAGE, StreamCursor
from edge_redis._health.transition_entry import StreamEntry
from edge_redis._health.transition_merge import POSITION, merge, order_of, split_position
from edge_redis.models import Transition

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
        if position is not None and not POSITION.fullmatch(validation.check_identifier("position", position)):
            raise validation.value_error("position", position, "must be the position of a transition, or '0' for all")
        self._shards = shards
        self._begin = position
        self._cursors: dict[ShardPlace, StreamCursor] = {}
        """One for each shard with transitions, or with those of the node."""
        self._record: ShardRecord | None = None
        """That of these shards."""
        self._node_id = None if node_id is None else validation.check_identifier("node id", node_id)
        self._polling = Polling(timeout, poll_seconds)

    @property
    def is_over(self) -> bool:
        """Whether no wanted transition came within the timeout."""
        return self._polling.is_over

    async def start(self) -> None:
        """Set the cursors to the ends of the streams, where no position was given."""
        shards = self._shards.known or await self._shards.find()
        if self._record is not None and shards.record == self._record:
            return
        logs = [*enumerate(list_logs(self._shards, shards))]
        if self._node_id is not None:
            logs = [logs[at] for at in shards.record.find_logs(self._node_id)]
        places = shards.record.list_logs()
        begin: list[str | None] = [None] * len(places)
        if self._record is not None:  # what has no cursor yet was not there when this reader began
            begin = [_FIRST] * len(places)
        elif self._begin is not None:
            begin = [*split_position(self._begin, places)]
        cursors = {places[at]: StreamCursor(shard.keys.transitions, begin[at]) for at, shard in logs}
        await gather([cursor.start() for place, cursor in cursors.items() if place not in self._cursors])
        self._cursors = {place: self._cursors.get(place, cursor) for place, cursor in cursors.items()}
        self._record = shards.record

    async def step(self) -> list[Transition]:
        """Return the transitions since the last step, the oldest first; pause where none is wanted."""
        await self.start()
        reads: list[Awaitable[Any]] = [cursor.read() for cursor in self._cursors.values()]
        *pages, record = await gather([*reads, self._shards.count.read()])
        has_more = self._shards.learn(record) or any(len(page) == PAGE for page in pages)
        changes = self._take(pages)
        if changes:
            self._polling.reset()
        elif not has_more:
            await self._polling.pause()
        return changes

    def _take(self, pages: Sequence[list[StreamEntry]]) -> list[Transition]:
        cursors, places = [*self._cursors.values()], [*self._cursors]
        if len(pages) == 1 and places[0].generation == 0:
            return list(cursors[0].take(pages[0], self._node_id))
        before = [cursor.position for cursor in cursors]
        parts = [
            list(cursor.take(page, self._node_id)) for cursor, page in zip(cursors, _cut_pages(pages), strict=True)
        ]
        if self._node_id is None:
            return list(merge(parts, before, places))
        return sorted((change for part in parts for change in part), key=lambda change: order_of(change.position))


def _cut_pages(pages: Sequence[list[StreamEntry]]) -> list[list[StreamEntry]]:
    """Return the entries up to the time that all pages reach, so that no later step returns an earlier one."""
    ends = [_order(page[-1]) for page in pages if len(page) == PAGE]
    if not ends:
        return list(pages)
    end = min(ends)
    return [list(takewhile(lambda entry: _order(entry) <= end, page)) for page in pages]


def _order(entry: StreamEntry) -> tuple[int, int]:
    return order_of(entry[0].decode())
