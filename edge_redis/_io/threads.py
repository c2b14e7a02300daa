"""Threads for code that imports no threading or asyncio: their ids, calls in them, and futures to wait for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from edge_redis._core.operation import Future

P = ParamSpec("P")
T = TypeVar("T")


def new_future() -> concurrent.futures.Future[Any]:
    """Return a future that no waiter can cancel."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()
    return future


def wait_for(future: Future, seconds: float) -> None:
    """Wait in this thread until a future is done, for at most ``seconds``."""
    concurrent.futures.wait([cast("concurrent.futures.Future[Any]", future)], seconds)


async def wait_in_task(future: Future, seconds: float) -> None:
    """Wait in this task until a future is done, for at most ``seconds``."""
    wrapped = asyncio.wrap_future(cast("concurrent.futures.Future[Any]", future))
    try:
        await asyncio.wait([wrapped], timeout=seconds)
    finally:
        wrapped.cancel()  # the future itself cannot be cancelled


def current_thread_id() -> int:
    """Return a number that no other running thread has."""
    return threading.get_ident()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function in a thread and return its result; other tasks run meanwhile.

    A task that is cancelled stops waiting; the function still runs to its end.
    """
    return await asyncio.to_thread(function, *args, **kwargs)
