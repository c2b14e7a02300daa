"""Retries within a time budget that nested retries share.

In redis-py a command retries, each of its attempts connects, and connecting retries too, with a
Sentinel's retries inside. The counts multiply: three retries on a host that drops packets would be
sixteen waits of five seconds. So the outermost retry starts a budget of seconds for all retries
inside it; when it is spent, the next failure is final.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeAlias, TypeVar

from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import FullJitterBackoff, NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError
from redis.retry import Retry

T = TypeVar("T")
_Fail: TypeAlias = Callable[..., Any]
_Any: TypeAlias = Any  # releases of redis-py differ in the parameters beyond the first two

RETRIES: Final = 3
BUDGET_SECONDS: Final = 6.0
"""After this there are no further attempts; one under way still ends by its own timeout."""
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0

# A context variable is per thread and per task, as calls of redis-py are.
_end: ContextVar[float | None] = ContextVar("edge_redis_retries_end", default=None)


def begin_call() -> None:
    """Give a call of a service a budget of its own, also where an exception has interrupted the end of the last one."""
    if _end.get() is not None:
        _end.set(None)


@contextmanager
def continue_call(began: float) -> Iterator[None]:
    """Let the budget of the retries inside begin at ``began``, in seconds of ``time.monotonic``."""
    _end.set(began + BUDGET_SECONDS)
    try:
        yield
    finally:
        _end.set(None)


@contextmanager
def _budget() -> Iterator[None]:
    outer = _end.get()
    try:
        if outer is None:
            _end.set(time.monotonic() + BUDGET_SECONDS)
        yield
    finally:
        _end.set(outer)


def _raise_if_final(error: Exception) -> None:
    """Raise ``error`` if there is to be no further attempt: a refused password or certificate, or a spent budget."""
    if isinstance(error, (AuthenticationError, AuthorizationError)):  # to redis-py ConnectionErrors
        raise error
    if isinstance(error.__context__, ssl.SSLCertVerificationError):
        raise error
    end = _end.get()
    if end is not None and time.monotonic() > end:
        raise error


class BudgetedRetry(Retry):
    """The library's retry, within the budget."""

    def call_with_retry(self, do: Callable[[], T], fail: _Fail, *args: _Any, **kwargs: _Any) -> T:
        """Call ``do`` until it succeeds, the retries or the budget are used up; ``fail`` after each failure."""

        def on_failure(error: Exception, *more: object) -> None:
            fail(error, *more)
            _raise_if_final(error)

        with _budget():
            return super().call_with_retry(do, on_failure, *args, **kwargs)


class BudgetedAsyncRetry(AsyncRetry):
    """The library's retry for asyncio, within the budget."""

    async def call_with_retry(self, do: Callable[[], Awaitable[T]], fail: _Fail, *args: _Any, **kwargs: _Any) -> T:
        """Await ``do`` until it succeeds, the retries or the budget are used up; ``fail`` after each failure."""

        async def on_failure(error: Exception, *more: object) -> None:
            await fail(error, *more)
            _raise_if_final(error)

        with _budget():
            return await super().call_with_retry(do, on_failure, *args, **kwargs)


# Full jitter, so that clients which lost the same server do not reconnect at the same moments. All
# supported releases of redis-py have this class.
def _backoff() -> FullJitterBackoff:
    return FullJitterBackoff(cap=_LONGEST_PAUSE_SECONDS, base=_FIRST_PAUSE_SECONDS)


def make_retry() -> Retry:
    """Make the retry of a blocking client."""
    return BudgetedRetry(_backoff(), RETRIES)


def make_async_retry() -> AsyncRetry:
    """Make the retry of an asyncio client."""
    return BudgetedAsyncRetry(_backoff(), RETRIES)


def make_single_attempt() -> Retry:
    """Make a retry that makes one attempt: for a Sentinel, since the next Sentinel is asked instead."""
    return Retry(NoBackoff(), 0)


def make_async_single_attempt() -> AsyncRetry:
    """Make a retry that makes one attempt, for asyncio."""
    return AsyncRetry(NoBackoff(), 0)
