"""The threads that call the tickers of all blocking services of a process.

One thread waits for what is due, and hands each ticker that has something to do to the threads of its *lane*: of its
server. A lane has no thread while nothing is to be done, and one while calls are short. Where its calls take long and
another has waited for ``HELD_UP_SECONDS``, it gets one more, up to ``MAX_THREADS``: so a call that takes long, or an
error, holds up others of its server by no more than that, and those of other servers not at all.

Nothing is left half done by an interruption between two lines: tickers are added to and removed from a dict by
single steps, and a thread is the waiting one only from when it says so itself.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Hashable, Iterable
from typing import Final, Protocol, TypeVar

HELD_UP_SECONDS: Final = 0.1
"""How long a due call waits for one that takes long, at most."""

MAX_THREADS: Final = 64
"""Of one lane."""

IDLE_SECONDS: Final = 1.0
"""How long a thread without work is kept."""

EARLY_FRACTION: Final = 0.1
"""Of its interval, by which a call may come early, together with others: one wake-up for many."""

_JOIN_SECONDS: Final = 1.0
_NEVER: Final = float("inf")
_LONGEST_WAIT_SECONDS: Final = 3600.0
_NAME: Final = "edge-redis-ticker"


class TimedTicker(Protocol):
    """A ticker, as what waits for its time sees it."""

    seconds: float
    next_at: float

    @property
    def is_waiting(self) -> bool:
        """Whether a call was begun that has not ended."""

    def is_due(self) -> bool:
        """Return whether there is anything to do; called where others wait for their time, so it must be short."""


T = TypeVar("T", bound=TimedTicker)


def find_due(tickers: Iterable[T], now: float) -> tuple[list[T], float]:
    """Return the tickers to call now, and when the next will be due; after its time each has its interval again."""
    due: list[T] = []
    wakes_at = now + _LONGEST_WAIT_SECONDS
    for ticker in tickers:
        if ticker.next_at <= now + EARLY_FRACTION * ticker.seconds:
            ticker.next_at = now + ticker.seconds
            if not ticker.is_waiting and _is_due(ticker):
                due.append(ticker)
        wakes_at = min(wakes_at, ticker.next_at)
    return due, wakes_at


def _is_due(ticker: TimedTicker) -> bool:
    try:
        return ticker.is_due()
    except Exception:  # noqa: BLE001 -- the call will raise and log it; others wait here too
        return True


class Ticker(TimedTicker, Protocol):
    """A ticker, as these threads see it."""

    is_waiting: bool

    @property
    def lane(self) -> Hashable:
        """What it shares threads with."""

    def call(self) -> None:
        """Do it."""


class _Lane:
    """The calls of one server that are due, and the threads that make them."""

    def __init__(self) -> None:
        self.due: queue.SimpleQueue[Ticker | None] = queue.SimpleQueue()
        self.threads = 0
        self.taken_at = 0.0
        """When a thread last took a call."""


class TickerThreads:
    """Calls tickers when they are due."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: in a forked child, where no thread runs."""
        self._tickers: dict[Ticker, None] = {}
        self._lanes: dict[Hashable, _Lane] = {}
        self._mutex = threading.Lock()
        self._waiting: threading.Thread | None = None
        self._threads: dict[threading.Thread, None] = {}
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._wakes_at = 0.0

    def add(self, ticker: Ticker) -> None:
        """Call ``ticker`` from now on, first after its interval. Adding it again changes nothing."""
        if ticker not in self._tickers:
            ticker.next_at = time.monotonic() + ticker.seconds
            self._tickers[ticker] = None
        if self._waiting is None:
            threading.Thread(target=self._wait, name=_NAME, daemon=True).start()
        elif ticker.next_at < self._wakes_at:
            self._wake_ups.put(None)

    def remove(self, ticker: Ticker) -> None:
        """Call ``ticker`` no more; a call under way goes on."""
        self._tickers.pop(ticker, None)
        if not self._tickers:
            self._wake_ups.put(None)

    def join_unused(self) -> None:
        """Wait for the end of the threads where there is no ticker any more, unless this is one of them."""
        deadline = time.monotonic() + _JOIN_SECONDS
        if threading.current_thread() not in self._threads:
            for thread in tuple(self._threads):
                while not self._tickers and thread.is_alive() and time.monotonic() < deadline:
                    thread.join(0.05)

    def _wait(self) -> None:
        """Wait for what is due, until there is no ticker any more."""
        with self._mutex:
            if self._waiting is not None:  # two threads have added the first ticker at once
                return
            self._waiting = threading.current_thread()
            self._threads[self._waiting] = None
            self._wakes_at = 0.0
        while True:
            with contextlib.suppress(queue.Empty):
                self._wake_ups.get(timeout=max(0.0, self._wakes_at - time.monotonic()))
            while not self._wake_ups.empty():
                self._wake_ups.get()
            with self._mutex:
                if self._has_no_ticker():
                    self._end()
                    return
                self._wakes_at = _NEVER  # whatever is added until this is known wakes this thread
                self._wakes_at = min(self._hand_over(time.monotonic()), self._look_after_lanes(time.monotonic()))

    def _has_no_ticker(self) -> bool:
        if self._tickers:
            return False
        self._waiting = None
        if not self._tickers:
            return True
        self._waiting = threading.current_thread()  # add() may have relied on this thread meanwhile
        return False

    def _end(self) -> None:
        self._threads.pop(threading.current_thread(), None)
        for lane in self._lanes.values():
            for _ in range(lane.threads):
                lane.due.put(None)

    def _hand_over(self, now: float) -> float:
        """Hand each ticker that is due to its lane; return when the next will be."""
        due, wakes_at = find_due(tuple(self._tickers), now)
        for ticker in due:
            ticker.is_waiting = True
            self._put(ticker)
        return wakes_at

    def _put(self, ticker: Ticker) -> None:
        lane = self._lanes.get(ticker.lane)
        if lane is None:
            lane = self._lanes[ticker.lane] = _Lane()
        if lane.due.empty():
            lane.taken_at = time.monotonic()
        lane.due.put(ticker)
        if not lane.threads:
            self._add_thread(ticker.lane, lane)

    def _look_after_lanes(self, now: float) -> float:
        """Add a thread to each lane that is held up; return when to look again."""
        wakes_at = _NEVER
        for name, lane in self._lanes.items():
            if not lane.due.empty() and lane.threads < MAX_THREADS:
                if now - lane.taken_at >= HELD_UP_SECONDS:
                    self._add_thread(name, lane)
                wakes_at = min(wakes_at, max(now, lane.taken_at) + HELD_UP_SECONDS)
        return wakes_at

    def _add_thread(self, name: Hashable, lane: _Lane) -> None:
        thread = threading.Thread(target=self._work, args=(name, lane), name=_NAME, daemon=True)
        lane.threads += 1
        self._threads[thread] = None
        try:
            thread.start()
        except RuntimeError:  # the machine has no thread left: another attempt follows
            lane.threads -= 1
            del self._threads[thread]

    def _work(self, name: Hashable, lane: _Lane) -> None:
        """Make the calls of a lane, until there were none for a while."""
        while True:
            try:
                ticker = lane.due.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                ticker = None
            if ticker is not None:
                lane.taken_at = time.monotonic()
                ticker.call()
                del ticker  # while this waits, nothing keeps its service
            elif self._has_ended(name, lane):
                return

    def _has_ended(self, name: Hashable, lane: _Lane) -> bool:
        with self._mutex:
            if self._tickers and not lane.due.empty():
                return False
            lane.threads -= 1
            if not lane.threads and self._lanes.get(name) is lane:
                del self._lanes[name]
            self._threads.pop(threading.current_thread(), None)
            return True


ticker_threads: Final = TickerThreads()
"""Those of this process."""

os.register_at_fork(after_in_child=ticker_threads.reset)
