"""Adapts functions of the user, which may be coroutine functions, to blocking and asyncio services."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

from edge_redis._core import validation
from edge_redis.errors import InvalidTypeError

T = TypeVar("T")


def is_coroutine_function(function: object) -> bool:
    """Return whether calling ``function``, which may be an object with an async ``__call__``, gives a coroutine."""
    if inspect.iscoroutinefunction(function):
        return True
    return callable(function) and inspect.iscoroutinefunction(type(function).__call__)


def refuse_coroutines(name: str, function: T) -> T:
    """Return ``function``, or raise an error where it is a coroutine function."""
    if is_coroutine_function(function):
        raise InvalidTypeError(f"{name} is a coroutine function: use the same class from edge_redis.aio")
    return function


def make_awaitable(function: Callable[[T], object]) -> Callable[[T], Awaitable[object]]:
    """Return a coroutine function that calls ``function``, in a thread unless that is a coroutine function."""

    async def call(argument: T) -> object:
        if inspect.iscoroutinefunction(function):
            return await function(argument)
        result = await asyncio.to_thread(function, argument)
        return await result if inspect.isawaitable(result) else result

    return call


def adapt_callback(callback: Callable[[T], object]) -> Callable[[T], object]:
    """Return the callback of a blocking service; refuse a coroutine function."""
    validation.check_callable("callback", callback)
    return refuse_coroutines("callback", callback)


def adapt_callback_async(callback: Callable[[T], object]) -> Callable[[T], Awaitable[object]]:
    """Return the callback of an asyncio service as a function to await."""
    return make_awaitable(validation.check_callable("callback", callback))


def adapt_sink(sink: Callable[[T], object]) -> Callable[[T], object]:
    """Return the sink of a blocking relay; refuse a coroutine function."""
    return refuse_coroutines("sink", sink)


def adapt_sink_async(sink: Callable[[T], object]) -> Callable[[T], Awaitable[object]]:
    """Return the sink of an asyncio relay as a function to await."""
    return make_awaitable(validation.check_callable("sink", sink))
