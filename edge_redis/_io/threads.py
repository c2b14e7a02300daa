"""Awaiting what blocks, in a thread of the loop's own pool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def current_thread_id() -> int:
    """Return a number that no other running thread has."""
    return threading.get_ident()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what ``function`` returns; meanwhile the other tasks go on.

    A task that is cancelled stops waiting; the call comes to its end by itself.
    """
    return await asyncio.to_thread(function, *args, **kwargs)
