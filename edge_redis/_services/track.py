"""Timing of blocks and functions, in both APIs.

A record is made when the block or the call ends. What the function did goes before what the
metrics did: its result is returned, its exception raised on unchanged, and an error of the
store is logged. A generator's time is that from its first step to its end, the pauses in
between included; one that its caller closes early has not failed.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from edge_redis._core import validation
from edge_redis._metrics.stopwatch import Stopwatch
from edge_redis.errors import EdgeRedisError
from edge_redis.models import InvocationRecord

F = TypeVar("F", bound=Callable[..., Any])

_log: Final = logging.getLogger("edge_redis")


class _Blocking(Protocol):
    def record(self, record: InvocationRecord) -> None: ...


class _Awaited(Protocol):
    def record(self, record: InvocationRecord) -> Awaitable[None]: ...


def _lost(record: InvocationRecord, error: EdgeRedisError) -> None:
    _log.warning("an invocation of %s was not delivered: %s", record.function_id, error)


class _Timed:
    """What both have: a stopwatch, and ``async with``. One object times one block at a time."""

    def __init__(self, metrics: Any, function_id: str, node_id: str) -> None:
        self._metrics = metrics
        self._stopwatch = Stopwatch(function_id, node_id, time.perf_counter)

    def _fresh(self) -> Self:
        """Return one like this for one call of a decorated function."""
        fresh = type(self).__new__(type(self))
        fresh._metrics, fresh._stopwatch = self._metrics, self._stopwatch  # noqa: SLF001 -- of the same class
        return fresh

    async def _deliver(self, record: InvocationRecord) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._started = self._stopwatch.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._deliver(self._stopwatch.stop(self._started, error))

    def _of_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        async def timed(*args: object, **kwargs: object) -> object:
            async with self._fresh():
                return await function(*args, **kwargs)

        return timed

    def _of_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        async def timed(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
            async with self._fresh():
                inner = function(*args, **kwargs)
                step = inner.__anext__()
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        step = inner.asend((yield item))
                    except GeneratorExit:
                        await inner.aclose()
                        raise
                    except BaseException as error:  # noqa: BLE001 -- thrown in by the caller, for the function
                        step = inner.athrow(error)

        return timed


class Track(_Timed):
    """A context manager and a decorator that records invocations. See ``EdgeMetrics.track``."""

    _metrics: _Blocking

    def __enter__(self) -> Self:
        self._started = self._stopwatch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._record(self._stopwatch.stop(self._started, error))

    def _record(self, record: InvocationRecord) -> None:
        try:
            self._metrics.record(record)
        except EdgeRedisError as error:
            _lost(record, error)

    async def _deliver(self, record: InvocationRecord) -> None:
        self._record(record)

    def __call__(self, function: F) -> F:
        """Return ``function``, recorded: a function, a coroutine function or a generator function of either kind."""
        if inspect.iscoroutinefunction(function):
            return self._of_coroutine(function)  # type: ignore[return-value]
        if inspect.isasyncgenfunction(function):
            return self._of_async_generator(function)  # type: ignore[return-value]
        if inspect.isgeneratorfunction(function):
            return self._of_generator(function)  # type: ignore[return-value]
        if not callable(function):
            raise validation.type_error("function", function, "a function")
        return self._of_function(function)  # type: ignore[return-value]

    def _of_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: object, **kwargs: object) -> object:
            with self._fresh():
                return function(*args, **kwargs)

        return timed

    def _of_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: object, **kwargs: object) -> Any:
            with self._fresh():
                return (yield from function(*args, **kwargs))

        return timed


class AsyncTrack(_Timed):
    """An async context manager and a decorator that records invocations. See ``EdgeMetrics.track``."""

    _metrics: _Awaited

    async def _deliver(self, record: InvocationRecord) -> None:
        try:
            await self._metrics.record(record)
        except EdgeRedisError as error:
            _lost(record, error)

    def __call__(self, function: F) -> F:
        """Return ``function``, recorded: a coroutine function or an async generator function."""
        if inspect.iscoroutinefunction(function):
            return self._of_coroutine(function)  # type: ignore[return-value]
        if inspect.isasyncgenfunction(function):
            return self._of_async_generator(function)  # type: ignore[return-value]
        raise validation.type_error(
            "function", function, "a coroutine function or an async generator function (others: edge_redis.EdgeMetrics)"
        )
