"""InvokeAll functions that users brought: to ask suspected nodes, several at once and within a time, and in threads."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from edge_redis.errors import InvalidTypeError

T = TypeVar("T")

_log = logging.getLogger("edge_redis")

AT_ONCE: Final = 16


class BlockingProbe:
    """InvokeAll ``confirm(node_id)`` in threads. Who was not got to in time has not been asked."""

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


class AsyncProbe:
    """InvokeAll ``confirm(node_id)`` in tasks, and in threads where it is not to be awaited."""

    def __init__(self, confirm: Callable[[str], object]) -> None:
        self._confirm = in_a_thread(confirm)

    async def __call__(self, node_ids: Sequence[str], seconds: float) -> dict[str, bool]:
        """Return of each node that was asked whether it answered. One that cannot be asked did not."""
        free = asyncio.Semaphore(AT_ONCE)

        async def ask(node_id: str) -> object:
            async with free:
                return await self._confirm(node_id)

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


def refuse_coroutines(name: str, function: T) -> T:
    """Return the function of a blocking service, where it is none to be awaited."""
    if inspect.iscoroutinefunction(function):
        raise InvalidTypeError(f"{name} is a coroutine function: use the same class from edge_redis.aio")
    return function


def in_a_thread(function: Callable[[T], object]) -> Callable[[T], Awaitable[object]]:
    """Return the function to be awaited: called in a thread where it would hold up the loop."""

    async def call(argument: T) -> object:
        if inspect.iscoroutinefunction(function):
            return await function(argument)
        answer = await asyncio.to_thread(function, argument)
        return await answer if inspect.isawaitable(answer) else answer

    return call
