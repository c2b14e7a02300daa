"""Timing of blocks and functions, in both APIs.

A record is made when the block or the call ends. Recording never changes what is measured: the
function's result is returned, its exception raised on unchanged, and errors of recording are
logged. A generator's time is that from its first step to its end, the pauses in between included.
A generator that is closed early, a cancelled task and an exit with status 0 have not failed.
"""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from functools import update_wrapper
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from edge_redis._core import validation
from edge_redis._metrics.spans import OpenSpans, Stopwatch
from edge_redis.errors import EdgeRedisError
from edge_redis.models import InvocationRecord

F = TypeVar("F", bound=Callable[..., Any])

_OWN_MODULES: Final = frozenset({"edge_redis", "redis", "fakeredis", "hiredis", "msgpack"}) | sys.stdlib_module_names

_log: Final = logging.getLogger("edge_redis")


class _Blocking(Protocol):
    def record(self, record: InvocationRecord) -> None: ...


class _Awaited(Protocol):
    def record(self, record: InvocationRecord) -> Awaitable[None]: ...


def _log_error(function_id: str, error: Exception) -> None:
    _log.warning("an invocation of %s was not delivered: %s", function_id, error)


def _is_own_error(error: BaseException) -> bool:
    """Return whether an error arose in recording, rather than in a signal handler that interrupted it.

    A job's time limit is an exception that a signal handler, or another thread, raises in the
    middle of anything. It must reach the job.
    """
    if isinstance(error, EdgeRedisError):
        return True
    if _top_level(type(error).__module__) not in _OWN_MODULES:
        return False
    trace = error.__traceback__
    while trace is not None:
        if _top_level(trace.tb_frame.f_globals.get("__name__", "")) not in _OWN_MODULES:
            return False
        trace = trace.tb_next
    return True


def _top_level(module: str) -> str:
    return module.partition(".")[0]


class _Tracker:
    """The common part of both trackers: timing, and coroutines."""

    def __init__(self, metrics: Any, function_id: str, node_id: str) -> None:
        self._metrics = metrics
        self._function_id = function_id
        self._stopwatch = Stopwatch(function_id, node_id, time.perf_counter)
        self._open = OpenSpans()

    async def _deliver(self, started: float, error: BaseException | None) -> None:
        """Record an invocation that ended now."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._open.begin(id(sys._getframe(1)), self._stopwatch.start())  # noqa: SLF001 -- the frame identifies the block
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        started = self._open.end(id(sys._getframe(1)))  # noqa: SLF001 -- see above
        if started is not None:
            await self._deliver(started, error)

    async def _time_coroutine(self, started: float, coroutine: Awaitable[Any]) -> Any:
        try:
            result = await coroutine
        except BaseException as error:
            await self._deliver(started, error)
            raise
        await self._deliver(started, None)
        return result

    def _wrap_coroutine_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def timed(*args: object, **kwargs: object) -> object:
            return await self._time_coroutine(self._stopwatch.start(), function(*args, **kwargs))

        return timed

    def _wrap_async_generator_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def timed(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
            started = self._stopwatch.start()
            try:
                inner = function(*args, **kwargs)
                step = inner.__anext__()
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        break
                    try:
                        step = inner.asend((yield item))
                    except GeneratorExit:
                        await inner.aclose()
                        raise
                    except BaseException as thrown:  # noqa: BLE001 -- the caller throws it into the function
                        step = inner.athrow(thrown)
            except BaseException as error:
                await self._deliver(started, error)
                raise
            await self._deliver(started, None)

        return timed


def _has_kind(function: Any, test: Callable[[Any], bool]) -> bool:
    """Return whether a function, a partial of one, or the ``__call__`` of an object passes a test of ``inspect``."""
    return test(function) or (not isinstance(function, type) and test(type(function).__call__))


class Track(_Tracker):
    """A context manager and a decorator that records invocations. See ``EdgeMetrics.track``.

    One object can be used by many threads and tasks at once, nested and re-entered.
    """

    _metrics: _Blocking

    def __enter__(self) -> Self:
        self._open.begin(id(sys._getframe(1)), self._stopwatch.start())  # noqa: SLF001 -- the frame identifies the block
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        started = self._open.end(id(sys._getframe(1)))  # noqa: SLF001 -- see above
        if started is not None:
            self._record(started, error)

    def _record(self, started: float, error: BaseException | None) -> None:
        try:
            self._metrics.record(self._stopwatch.stop(started, error))
        except Exception as raised:
            if not _is_own_error(raised):
                raise
            _log_error(self._function_id, raised)

    async def _deliver(self, started: float, error: BaseException | None) -> None:
        self._record(started, error)

    def __call__(self, function: F) -> F:
        """Return ``function``, recorded: a function, a coroutine function or a generator function of either kind."""
        if not callable(function):
            raise validation.type_error("function", function, "a function")
        if _has_kind(function, inspect.iscoroutinefunction):
            timed = self._wrap_coroutine_function(function)
        elif _has_kind(function, inspect.isasyncgenfunction):
            timed = self._wrap_async_generator_function(function)
        elif _has_kind(function, inspect.isgeneratorfunction):
            timed = self._wrap_generator_function(function)
        else:
            timed = self._wrap_function(function)
        return update_wrapper(timed, function)  # type: ignore[return-value]

    def _wrap_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: object, **kwargs: object) -> object:
            started = self._stopwatch.start()
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self._record(started, error)
                raise
            if isinstance(result, Coroutine):  # a lambda, say, that calls a coroutine function
                return self._time_coroutine(started, result)
            self._record(started, None)
            return result

        return timed

    def _wrap_generator_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: object, **kwargs: object) -> Any:
            started = self._stopwatch.start()
            try:
                result = yield from function(*args, **kwargs)
            except BaseException as error:
                self._record(started, error)
                raise
            self._record(started, None)
            return result

        return timed


class AsyncTrack(_Tracker):
    """An async context manager and a decorator that records invocations. See ``EdgeMetrics.track``.

    One object can be used by many tasks at once, nested and re-entered.
    """

    _metrics: _Awaited

    async def _deliver(self, started: float, error: BaseException | None) -> None:
        try:
            await self._metrics.record(self._stopwatch.stop(started, error))
        except Exception as raised:
            if not _is_own_error(raised):
                raise
            _log_error(self._function_id, raised)

    def __call__(self, function: F) -> F:
        """Return ``function``, recorded: a coroutine function or an async generator function."""
        if callable(function) and _has_kind(function, inspect.iscoroutinefunction):
            timed = self._wrap_coroutine_function(function)
        elif callable(function) and _has_kind(function, inspect.isasyncgenfunction):
            timed = self._wrap_async_generator_function(function)
        else:
            expected = "a coroutine function or an async generator function (others: edge_redis.EdgeMetrics)"
            raise validation.type_error("function", function, expected)
        return update_wrapper(timed, function)  # type: ignore[return-value]
