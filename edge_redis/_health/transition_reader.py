"""Reading the stream of transitions as it grows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from edge_redis._core import validation
from edge_redis._core.operation import Batch, Operation, command
from edge_redis._core.polling import Polling
from edge_redis._health.keys import HealthKeys
from edge_redis._health.transition_entry import (
    StreamEntry,
    decode_entry,
    decode_number,
    make_lost_transition,
    position_before,
)
from edge_redis.models import Transition

PAGE: Final = 200
_POSITION: Final = re.compile(r"\d{1,20}(-\d{1,20})?")


class TransitionReader:
    """Reads transitions from a cursor on. Each step returns those since the last step, or pauses if there are none."""

    def __init__(
        self,
        keys: HealthKeys,
        position: str | None,
        node_id: str | None,
        timeout: float | None,
        poll_seconds: float,
    ) -> None:
        if position is not None and not _POSITION.fullmatch(validation.check_identifier("position", position)):
            raise validation.value_error("position", position, "must be the position of a transition, or '0' for all")
        self._stream = keys.transitions
        self._cursor = position
        self._number: int | None = None
        """The number of the transition at the cursor, where it is known."""
        self._is_resuming = position is not None and position != "0"
        self._node_id = None if node_id is None else validation.check_identifier("node id", node_id)
        self._polling = Polling(timeout, poll_seconds)

    @property
    def is_over(self) -> bool:
        """Whether no wanted transition came within the timeout."""
        return self._polling.is_over

    async def start(self) -> None:
        """Set the cursor to the end of the stream, where no position was given."""
        if self._cursor is None:
            newest = await command(list[StreamEntry], "XREVRANGE", self._stream, "+", "-", "COUNT", 1)
            self._cursor = newest[0][0].decode() if newest else "0"
            self._number = decode_number(newest[0]) if newest else None
        elif self._is_resuming:
            await self._resume(self._cursor)

    async def _resume(self, position: str) -> None:
        """Find the number of the transition at the given position, or the first one that is kept after it."""
        self._is_resuming = False
        at, following = await Batch(
            [
                command(list[StreamEntry], "XRANGE", self._stream, position, position, "COUNT", 1),
                command(list[StreamEntry], "XRANGE", self._stream, "-", "+", "COUNT", 1),
            ]
        )
        if at:
            self._number = decode_number(at[0])
        elif following and position_before(following[0]) != position:
            self._number = 0  # it was removed, so all transitions before the first that is kept may be lost

    async def step(self) -> list[Transition]:
        """Return the transitions since the last step, the oldest first; pause where none is wanted."""
        await self.start()
        entries = await self._read()
        changes = list(self._wanted(entries))
        if changes:
            self._polling.reset()
        elif len(entries) < PAGE:
            await self._polling.pause()
        return changes

    def _wanted(self, entries: list[StreamEntry]) -> Iterator[Transition]:
        for entry in entries:
            number = decode_number(entry)
            if number is not None and self._number is not None and number > self._number + 1:
                yield make_lost_transition(entry, number - self._number - 1)
            self._number = number
            self._cursor = entry[0].decode()
            change = decode_entry(entry)
            if change is not None and self._node_id in (None, change.node_id):
                yield change

    def _read(self) -> Operation[list[StreamEntry]]:
        return command(list[StreamEntry], "XRANGE", self._stream, f"({self._cursor}", "+", "COUNT", PAGE)
