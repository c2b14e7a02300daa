"""A reader's place in one stream of transitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from edge_redis._core.operation import Batch, Operation, command
from edge_redis._health.transition_entry import (
    StreamEntry,
    decode_entry,
    decode_number,
    make_lost_transition,
    position_before,
)
from edge_redis.models import Transition

PAGE: Final = 200


class StreamCursor:
    """Reads a stream on from a position; None: from its end at ``start``, "0": from its first entry that is kept."""

    def __init__(self, stream: str, position: str | None) -> None:
        self._stream = stream
        self._begin = position
        self.position = position or "0"
        """The id of the last entry that was taken."""
        self._number: int | None = None
        """The number of the transition there, where it is known."""

    async def start(self) -> None:
        """Find the position and the number of the transition at it."""
        if self._begin is None:
            newest = await command(list[StreamEntry], "XREVRANGE", self._stream, "+", "-", "COUNT", 1)
            self.position = newest[0][0].decode() if newest else "0"
            self._number = decode_number(newest[0]) if newest else None
        elif self._begin != "0":
            await self._resume(self._begin)

    async def _resume(self, position: str) -> None:
        """Find the number of the transition at the given position, or the first one that is kept after it."""
        at, following = await Batch(
            [
                command(list[StreamEntry], "XRANGE", self._stream, position, position, "COUNT", 1),
                command(list[StreamEntry], "XRANGE", self._stream, "-", "+", "COUNT", 1),
            ]
        )
        if at:
            self._number = decode_number(at[0])
        elif following and position_before(following[0][0].decode()) != position:
            self._number = 0  # it was removed, so all transitions before the first that is kept may be lost

    def read(self) -> Operation[list[StreamEntry]]:
        """Return the entries after the position, a page at most."""
        return command(list[StreamEntry], "XRANGE", self._stream, f"({self.position}", "+", "COUNT", PAGE)

    def take(self, entries: Iterable[StreamEntry], node_id: str | None) -> Iterator[Transition]:
        """Yield the transitions in these entries, of one node where it is given, and what was lost before them."""
        for entry in entries:
            number = decode_number(entry)
            if number is not None and self._number is not None and number > self._number + 1:
                yield make_lost_transition(entry, number - self._number - 1)
            self._number = number
            self.position = entry[0].decode()
            change = decode_entry(entry)
            if change is not None and node_id in (None, change.node_id):
                yield change
