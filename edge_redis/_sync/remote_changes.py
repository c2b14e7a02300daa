"""Reads the states that come down to a scope, whose history has an entry for each that was accepted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from edge_redis._core.error_text import describe_error
from edge_redis._core.operation import Invoke, Operation, command
from edge_redis._core.polling import Polling
from edge_redis._sync.replica import Replica
from edge_redis.models import SyncState

_log = logging.getLogger("edge_redis")

_PAGE: Final = 500

StreamEntries = list[tuple[bytes, dict[bytes, bytes]]]
T = TypeVar("T")


class Read(Protocol):
    """Performs a read in the shard of a scope."""

    def __call__(self, read: Callable[[Replica], Awaitable[T]], /) -> Awaitable[T]:
        """Return what it finds, in the shard that the scope was moved to where that is another one."""


class RemoteChanges:
    """Reads the state of a scope after each change that came down. Changes between two reads are one."""

    def __init__(self, read: Read, scope: str, timeout: float | None, poll_seconds: float) -> None:
        self._read = read
        self._scope = scope
        self.polling = Polling(timeout, poll_seconds)
        self._cursor: str | None = None

    async def start(self) -> None:
        """Begin with the changes that come down from now on."""
        if self._cursor is None:
            newest: list[Any] = await self._read(
                lambda replica: command(list[Any], "XREVRANGE", replica.keys.history(self._scope), "+", "-", "COUNT", 1)
            )
            self._cursor = newest[0][0].decode() if newest else "0-0"

    async def read(self) -> list[SyncState | None]:
        """Return the present state where a change came down since the last call, else nothing; None: it was deleted."""
        await self.start()
        cursor, came_down, entries = self._cursor, False, None
        while entries is None or len(entries) == _PAGE:
            entries = await self._read(partial(self._read_page, cursor))
            came_down = came_down or any(map(_is_accepted, entries))
            cursor = entries[-1][0].decode() if entries else cursor
        found = [await self._read(lambda replica: replica.read_state(self._scope))] if came_down else []
        self._cursor = cursor  # last: where the state could not be read, the next call reads it
        return found

    def _read_page(self, cursor: str | None, replica: Replica) -> Operation[StreamEntries]:
        key = replica.keys.history(self._scope)
        return command(StreamEntries, "XRANGE", key, f"({cursor}", "+", "COUNT", _PAGE)

    async def step(self) -> list[SyncState | None]:
        """Return what ``read`` does; pause where nothing came down."""
        found = await self.read()
        if found:
            self.polling.reset()
        else:
            await self.polling.pause()
        return found


class RemoteChangeCalls:
    """Calls a function of the user with each state that came down."""

    def __init__(self, changes: RemoteChanges, callback: Callable[[SyncState | None], object]) -> None:
        self._changes = changes
        self._callback = callback

    async def tick(self) -> None:
        """Read, and call the function. An error that it raises is logged; the next change is its next call."""
        for state in await self._changes.read():
            try:
                await Invoke(self._callback, state)
            except Exception as error:  # noqa: BLE001 -- a user's function may raise anything
                _log.error("on_remote_change: the callback failed: %s", describe_error(error), exc_info=error)


def _is_accepted(entry: tuple[bytes, dict[bytes, bytes]]) -> bool:
    fields = entry[1]
    return fields.get(b"direction") == b"pull" and fields.get(b"success") == b"1"
