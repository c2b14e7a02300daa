"""Calls functions that users brought, within a time limit: in threads, or in tasks of the event loop."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from edge_redis._core import validation
from edge_redis.errors import InvalidTypeError

T = TypeVar("T")

_log = logging.getLogger("edge_redis")

MAX_CONCURRENCY: Final = 16
"""Nodes that are probed at the same time."""


class BlockingProbe:
    """Probes nodes with ``confirm(node_id)``, in threads."""

    def __init__(self, confirm: Callable[[str], object]) -> None:
        self._confirm = confirm

    def __call__(self, node_ids: Sequence[str], seconds: float) -> dict[str, bool]:
        """Return whether each node confirmed. Nodes not reached within ``seconds`` are left out of the result."""
        pool = ThreadPoolExecutor(MAX_CONCURRENCY, "edge-redis-probe")
        try:
            probes = {pool.submit(self._confirm, node_id): node_id for node_id in node_ids}
            finished, _ = wait(probes, seconds)
            return {probes[future]: _has_confirmed(future, probes[future]) for future in finished}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class AsyncProbe:
    """Probes nodes with ``confirm(node_id)``, in tasks, or in threads where ``confirm`` is not a coroutine function."""

    def __init__(self, confirm: Callable[[str], object]) -> None:
        self._confirm = in_a_thread(confirm)

    async def __call__(self, node_ids: Sequence[str], seconds: float) -> dict[str, bool]:
        """Return whether each node confirmed. Nodes not reached within ``seconds`` are left out of the result."""
        places = asyncio.Semaphore(MAX_CONCURRENCY)

        async def probe(node_id: str) -> object:
            async with places:
                return await self._confirm(node_id)

        probes = {asyncio.ensure_future(probe(node_id)): node_id for node_id in node_ids}
        try:
            finished, _ = await asyncio.wait(probes, timeout=seconds)
            return {probes[task]: _has_confirmed(task, probes[task]) for task in finished}
        finally:
            for task in probes:
                task.cancel()


def _has_confirmed(finished: Future[object] | asyncio.Future[object], node_id: str) -> bool:
    error = finished.exception()
    if error is None:
        result = finished.result()
        if inspect.iscoroutine(result):
            result.close()
            raise InvalidTypeError("confirm returned an awaitable: use HealthWatch from edge_redis.aio")
        return bool(result)
    _log.warning("probe of node %r failed: %r", node_id, error)
    return False


def refuse_coroutines(name: str, function: T) -> T:
    """Return ``function``, or raise an error where it is a coroutine function."""
    if inspect.iscoroutinefunction(function):
        raise InvalidTypeError(f"{name} is a coroutine function: use the same class from edge_redis.aio")
    return function


def in_a_thread(function: Callable[[T], object]) -> Callable[[T], Awaitable[object]]:
    """Return a coroutine function that calls ``function``, in a thread where it would block the event loop."""

    async def call(argument: T) -> object:
        if inspect.iscoroutinefunction(function):
            return await function(argument)
        result = await asyncio.to_thread(function, argument)
        return await result if inspect.isawaitable(result) else result

    return call


def blocking_sink(sink: Callable[[T], object]) -> Callable[[T], object]:
    """Return the sink of a blocking relay; refuse a coroutine function."""
    return refuse_coroutines("sink", sink)


def async_sink(sink: Callable[[T], object]) -> Callable[[T], Awaitable[object]]:
    """Return the sink of an asyncio relay as a function to await."""
    return in_a_thread(validation.function("sink", sink))
