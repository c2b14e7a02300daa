"""The task that all asyncio services of an event loop share: it waits for the tickers that are due.

Each call is a task of its own. A call that takes long holds up others for ``HELD_UP_SECONDS`` at most. The shared task
ends with the last ticker, and with its loop: a loop that cancels its tasks starts no further call.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from edge_redis._io.ticker_threads import HELD_UP_SECONDS, TimedTicker, find_due

CALLS_AT_ONCE: Final = 8
"""Calls under way, at most, but for those that take longer than ``HELD_UP_SECONDS``: each may take a connection."""


class Ticker(TimedTicker, Protocol):
    """A ticker, as this task sees it."""

    def begin_call(self) -> asyncio.Task[None]:
        """Begin to do it, in a task, and return that."""


class TickerTask:
    """Begins the calls of the tickers of one event loop when they are due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tickers: dict[Ticker, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._woken: asyncio.Future[None] | None = None
        self._due: dict[Ticker, None] = {}
        self._calls: dict[asyncio.Task[None], float] = {}
        """The calls under way, and when each began."""

    def add(self, ticker: Ticker) -> asyncio.Task[None]:
        """Call ``ticker`` from now on, first after its interval; return the task that waits for it."""
        ticker.next_at = time.monotonic() + ticker.seconds
        self._tickers[ticker] = None
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._wait(), name="edge-redis-ticker")
        else:
            self._wake()
        return self._task

    def _wake(self) -> None:
        if self._woken is not None:
            _set_done(self._woken)

    def remove(self, ticker: Ticker) -> set[asyncio.Task[None]]:
        """Call ``ticker`` no more; return the waiting task where it ends by that."""
        self._tickers.pop(ticker, None)
        self._due.pop(ticker, None)
        task = self._task
        if self._tickers or task is None:
            return set()
        self._task = None
        task.cancel()
        return {task}

    async def _wait(self) -> None:
        try:
            await self._begin_calls()
        finally:
            if _by_loop.get(self._loop) is self:
                del _by_loop[self._loop]

    async def _begin_calls(self) -> None:
        while True:
            now = time.monotonic()
            due, wakes_at = find_due(tuple(self._tickers), now)
            self._due.update(dict.fromkeys(due))
            del due  # while this waits, nothing keeps their services
            if self._begin_due_calls(now):
                wakes_at = min(wakes_at, now + HELD_UP_SECONDS)
            await self._sleep(wakes_at - time.monotonic())

    def _begin_due_calls(self, now: float) -> bool:
        """Begin as many calls as may be under way; return whether there are more."""
        under_way = sum(now - began_at < HELD_UP_SECONDS for began_at in self._calls.values())
        for ticker in tuple(self._due)[: max(0, CALLS_AT_ONCE - under_way)]:
            del self._due[ticker]
            call = ticker.begin_call()
            self._calls[call] = now
            call.add_done_callback(self._end_call)
        return bool(self._due)

    def _end_call(self, call: asyncio.Task[None]) -> None:
        self._calls.pop(call, None)
        if self._due:
            self._wake()

    async def _sleep(self, seconds: float) -> None:
        self._woken = woken = self._loop.create_future()
        timer = self._loop.call_later(max(0.0, seconds), _set_done, woken)
        try:
            await woken
        finally:
            timer.cancel()


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_by_loop: Final[dict[asyncio.AbstractEventLoop, TickerTask]] = {}


def ticker_task_of(loop: asyncio.AbstractEventLoop) -> TickerTask:
    """Return the task of a loop."""
    found = _by_loop.get(loop)
    if found is None:
        for each in tuple(_by_loop):  # a copy: threads with loops of their own add theirs meanwhile
            if each.is_closed():  # with tasks in it
                _by_loop.pop(each, None)
        found = _by_loop.setdefault(loop, TickerTask(loop))
    return found
