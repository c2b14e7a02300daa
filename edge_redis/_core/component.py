"""The interface of a component (cache, health, metrics, sync) to the service that runs it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext


class Component:
    """The operations of one service in one namespace, without I/O of its own.

    A component that buffers sets ``tick_seconds`` and overrides ``is_tick_due``, ``tick`` and ``closing``. The service
    replaces ``mutex`` where several threads may call the component; asyncio needs none, since the
    code between two operations never awaits.
    """

    namespace: str = ""
    tick_seconds: float | None = None
    mutex: AbstractContextManager[object] = nullcontext()

    has_flushed: bool = True
    """Whether the last ``closing`` delivered everything; one that goes on without the server raises no error."""

    def is_tick_due(self) -> bool:
        """Return whether ``tick`` has anything to do; called every ``tick_seconds``, and must take no time."""
        return True

    async def tick(self) -> object:
        """Do what is due every ``tick_seconds``."""

    async def closing(self) -> object:
        """Do what is due before the service closes: a last flush."""
        return await self.tick()

    def describe_unflushed(self) -> str:
        """Describe, for the log, what is buffered and not yet in Redis; empty when nothing is."""
        return ""

    def after_fork(self) -> None:
        """Reset state in a forked child: drop what is buffered, since the parent sends it."""
