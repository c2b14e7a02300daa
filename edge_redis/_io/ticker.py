"""Calls a function at intervals: in a daemon thread of a blocking service, in a task of an asyncio service.

An error does not stop it: what could not be flushed is kept and sent with the next tick.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edge_redis._io.background import BackgroundTask, BackgroundThread, is_cancelled
from edge_redis.errors import EdgeRedisError

_log = logging.getLogger("edge_redis")


class ThreadTicker(BackgroundThread):
    """Calls ``target`` every ``seconds``."""

    name = "edge-redis-ticker"

    def __init__(self, seconds: float, target: Callable[[], object]) -> None:
        super().__init__()
        self._seconds = seconds
        self._target = target

    def _work(self) -> None:
        while self._wait(self._seconds):
            try:
                self._target()
            except Exception as error:  # noqa: BLE001 -- the next tick is due after any error
                _log_error(error, self._seconds)


class TaskTicker(BackgroundTask):
    """Awaits ``target`` every ``seconds``. ``stop`` cancels a tick under way; what it was sending stays buffered."""

    name = "edge-redis-ticker"

    def __init__(self, seconds: float, target: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._seconds = seconds
        self._target = target

    async def _work(self) -> None:
        while not is_cancelled():
            await asyncio.sleep(self._seconds)
            try:
                await self._target()
            except Exception as error:  # noqa: BLE001 -- the next tick is due after any error
                _log_error(error, self._seconds)


def _log_error(error: Exception, seconds: float) -> None:
    if isinstance(error, EdgeRedisError):
        _log.warning("will try again in %s s: %s", seconds, error)
    else:
        _log.error("will try again in %s s, after an unexpected error", seconds, exc_info=error)
