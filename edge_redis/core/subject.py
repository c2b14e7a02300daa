"""What every subject (cache, health, metrics, state) offers the service around it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from edge_redis.core.operation import Steps, done


class Subject:
    """A room's operations for one namespace: pure, given its settings, its mutex and its steps' results.

    A subject that buffers sets ``tick_seconds`` and overrides ``tick`` and ``closing``. Where
    several threads may call it, the service replaces ``mutex``; asyncio needs none, since
    nothing here awaits.
    """

    tick_seconds: float | None = None
    mutex: AbstractContextManager[object] = nullcontext()

    def tick(self) -> Steps[object]:
        """Return what is due every ``tick_seconds``."""
        return done(None)

    def closing(self) -> Steps[object]:
        """Return what is to be done before the service ends: a last flush."""
        return self.tick()

    def after_fork(self) -> None:
        """Forget, in a forked child, what the parent will send by itself."""
