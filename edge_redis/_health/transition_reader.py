"""Reading the stream of transitions as it grows."""

from __future__ import annotations

import re
from typing import Final

from edge_redis._core import validation
from edge_redis._core.operation import Operation, Sleep, command
from edge_redis._health.keys import HealthKeys
from edge_redis._health.transition_entry import Entry, from_entry
from edge_redis.models import Transition

PAGE: Final = 200
_POSITION: Final = re.compile(r"\d{1,20}(-\d{1,20})?")


class TransitionReader:
    """A reader with a cursor. Each step reads the transitions since the last, or pauses where there are none."""

    def __init__(
        self,
        keys: HealthKeys,
        position: str | None,
        node_id: str | None,
        timeout: float | None,
        poll_seconds: float,
    ) -> None:
        if position is not None and not _POSITION.fullmatch(validation.identifier("position", position)):
            raise validation.value_error("position", position, "must be the position of a transition, or '0' for all")
        self._stream = keys.transitions
        self._cursor = position
        self._node_id = None if node_id is None else validation.identifier("node id", node_id)
        self._timeout = None if timeout is None else validation.positive("timeout", timeout)
        self._poll = validation.positive("poll_seconds", poll_seconds)
        self._idle = 0.0

    @property
    def is_over(self) -> bool:
        """Whether no transition came for the reader's timeout."""
        return self._timeout is not None and self._idle >= self._timeout

    async def start(self) -> None:
        """Set the cursor to the end of the stream, where no position was given."""
        if self._cursor is None:
            newest = await command(list[Entry], "XREVRANGE", self._stream, "+", "-", "COUNT", 1)
            self._cursor = newest[0][0].decode() if newest else "0"

    async def step(self) -> list[Transition]:
        """Return the transitions since the last step, the oldest first; pause where there are none."""
        await self.start()
        entries = await self._read()
        if not entries:
            await Sleep(self._poll)
            self._idle += self._poll
            return []
        self._idle = 0.0
        self._cursor = entries[-1][0].decode()
        changes = (from_entry(entry) for entry in entries)
        return [change for change in changes if change is not None and self._node_id in (None, change.node_id)]

    def _read(self) -> Operation[list[Entry]]:
        return command(list[Entry], "XRANGE", self._stream, f"({self._cursor}", "+", "COUNT", PAGE)
