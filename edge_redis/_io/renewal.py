"""Renewals: operations performed again and again while a call runs, such as of a lease while a cloud store is slow."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from edge_redis._core.operation import Batch, Renewal
from edge_redis.errors import EdgeRedisError

_log = logging.getLogger("edge_redis")

_LINGER_SECONDS: Final = 1.0
"""How long the thread waits for a next call before it ends."""


class ThreadRenewer:
    """Performs renewals of blocking calls on one thread, which runs only while there are any."""

    def __init__(self, perform: Callable[[Batch[Any]], object]) -> None:
        self._perform = perform
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._due: dict[Renewal, float] = {}
        self._is_running = False

    @contextlib.contextmanager
    def during(self, renewal: Renewal | None) -> Iterator[None]:
        """Perform ``renewal`` every so often until the end of the context."""
        if renewal is None:
            yield
            return
        if self._pid != os.getpid():  # the parent's thread does not run in its child
            self._reset()
        with self._changed:
            self._due[renewal] = time.monotonic() + renewal.seconds
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._work, name="edge-redis-renewal", daemon=True).start()
        try:
            yield
        finally:
            with self._changed:
                self._due.pop(renewal, None)

    def _work(self) -> None:
        while renewals := self._wait():
            for renewal in renewals:
                try:
                    self._perform(renewal.make())
                except EdgeRedisError as error:  # the claim time decides
                    _log.debug("a renewal failed: %s", error)

    def _wait(self) -> list[Renewal]:
        """Wait for renewals that are due and plan their next time; return none where the thread is to end."""
        with self._changed:
            while True:
                now = time.monotonic()
                ready = [renewal for renewal, at in self._due.items() if at <= now]
                if ready:
                    self._due.update({renewal: now + renewal.seconds for renewal in ready})
                    return ready
                if not self._due:
                    self._changed.wait(_LINGER_SECONDS)
                    if not self._due:
                        self._is_running = False
                        return []
                else:
                    self._changed.wait(max(0.001, min(min(self._due.values()) - now, _LINGER_SECONDS)))


class TaskRenewer:
    """Performs renewals of awaited calls on tasks of the loop."""

    def __init__(self, perform: Callable[[Batch[Any]], Awaitable[object]]) -> None:
        self._perform = perform

    @contextlib.asynccontextmanager
    async def during(self, renewal: Renewal | None) -> Any:
        """Perform ``renewal`` every so often until the end of the context."""
        if renewal is None:
            yield
            return
        task: asyncio.Task[None] | None = None

        def begin() -> None:
            nonlocal task
            task = asyncio.create_task(self._work(renewal))

        handle = asyncio.get_running_loop().call_later(renewal.seconds, begin)
        try:
            yield
        finally:
            handle.cancel()
            if task is not None:
                task.cancel()

    async def _work(self, renewal: Renewal) -> None:
        while True:
            try:
                await self._perform(renewal.make())
            except EdgeRedisError as error:  # the claim time decides
                _log.debug("a renewal failed: %s", error)
            await asyncio.sleep(renewal.seconds)
