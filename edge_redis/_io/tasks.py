"""Tasks of an event loop that end even if the task that awaits them is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")

_finishing: set[asyncio.Future[Any]] = set()
"""Tasks under way: an event loop itself refers to its tasks weakly."""


async def finish(awaitable: Awaitable[T]) -> T:
    """Await something that goes on to its end even if this is cancelled."""
    task = asyncio.ensure_future(awaitable)
    _finishing.add(task)
    task.add_done_callback(_forget)
    return await asyncio.shield(task)


def _forget(task: asyncio.Future[Any]) -> None:
    _finishing.discard(task)
    if not task.cancelled():
        task.exception()  # read, so that asyncio does not log one that nobody waits for any more
