"""Asks suspected nodes whether they are alive, several at once, within a time."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final

from edge_redis.errors import InvalidTypeError

_log = logging.getLogger("edge_redis")

AT_ONCE: Final = 16


class BlockingAsk:
    """Calls ``confirm(node_id)`` in threads. Who was not got to in time has not been asked."""

    def __init__(self, confirm: Callable[[str], object]) -> None:
        self._confirm = confirm

    def __call__(self, node_ids: Sequence[str], seconds: float) -> dict[str, bool]:
        """Return of each node that was asked whether it answered. One that cannot be asked did not."""
        pool = ThreadPoolExecutor(AT_ONCE, "edge-redis-ask")
        try:
            asked = {pool.submit(self._confirm, node_id): node_id for node_id in node_ids}
            answered, _ = wait(asked, seconds)
            return {asked[future]: _answer(future, asked[future]) for future in answered}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class AwaitedAsk:
    """Calls ``confirm(node_id)`` in tasks, and awaits it where it is to be awaited."""

    def __init__(self, confirm: Callable[[str], object]) -> None:
        self._confirm = confirm

    async def __call__(self, node_ids: Sequence[str], seconds: float) -> dict[str, bool]:
        """Return of each node that was asked whether it answered. One that cannot be asked did not."""
        free = asyncio.Semaphore(AT_ONCE)

        async def ask(node_id: str) -> object:
            async with free:
                answer = self._confirm(node_id)
                return await answer if inspect.isawaitable(answer) else answer

        asked = {asyncio.ensure_future(ask(node_id)): node_id for node_id in node_ids}
        try:
            answered, _ = await asyncio.wait(asked, timeout=seconds)
            return {asked[task]: _answer(task, asked[task]) for task in answered}
        finally:
            for task in asked:
                task.cancel()


def _answer(done: Future[object] | asyncio.Future[object], node_id: str) -> bool:
    error = done.exception()
    if error is None:
        answer = done.result()
        if inspect.iscoroutine(answer):
            answer.close()
            raise InvalidTypeError("confirm gave something to await: use HealthWatch from edge_redis.aio")
        return bool(answer)
    _log.warning("node %r was not asked: %r", node_id, error)
    return False
