"""Computations under way in this process, so that its threads and tasks compute a key once ("single flight")."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final
from weakref import ref

from edge_redis._cache.outcome import Outcome
from edge_redis._core.operation import Future
from edge_redis.errors import RecursiveComputeError


class SimpleFuture:
    """A future for a single thread, where no other caller can wait."""

    def __init__(self) -> None:
        self._is_done = False
        self._result: Any = None

    def done(self) -> bool:
        """Return whether a result was set."""
        return self._is_done

    def result(self, timeout: float | None = None) -> Any:
        """Return the result."""
        del timeout
        return self._result

    def set_result(self, result: Any) -> None:
        """Set the result."""
        self._is_done, self._result = True, result


_own_flights: Final[ContextVar[tuple[Flight, ...]]] = ContextVar("edge_redis_flights", default=())
"""The flights whose ``compute`` is running in the current context, the outermost first."""


class Lead:
    """Marks the leader of a flight, which alone refers to it: once it is collected, the leader has ended."""

    __slots__ = ("__weakref__",)


class Flight:
    """One computation under way, which one caller leads while others wait for its outcome."""

    __slots__ = ("awaited", "future", "is_computed_here", "key", "lead")

    def __init__(self, key: str, future: Future) -> None:
        self.key = key
        self.future = future
        self.lead: ref[Lead] | None = None
        self.is_computed_here = False
        """Whether the leader's function has been called: until then the leader may wait for another process."""
        self.awaited: set[Flight] = set()
        """The flights that the function of this one waits for."""

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for this flight inside the context.

        Raises:
            RecursiveComputeError: the caller runs inside this flight, or inside a flight that this one waits
                for, directly or through others, so that neither would ever end.

        """
        own = _own_flights.get()
        try:
            for flight in own:  # before the check: if two flights begin to wait for each other, one must notice
                flight.awaited.add(self)
            if own and self._waits_for(own):
                raise RecursiveComputeError(
                    f"computing {own[-1].key!r} asks for {self.key!r}, {self._describe_wait(own)}: "
                    "it would wait for its own result"
                )
            yield
        finally:
            for flight in own:
                flight.awaited.discard(self)

    def _describe_wait(self, own: Sequence[Flight]) -> str:
        if self not in own:
            return "which another caller computes and which waits for it"
        return "itself" if self is own[-1] else "whose computation asks for it"

    def _waits_for(self, flights: Collection[Flight]) -> bool:
        """Return whether this is one of ``flights``, or waits for one of them."""
        found: set[Flight] = set()
        left = [self]
        while left:
            flight = left.pop()
            if flight in flights:
                return True
            if flight not in found:
                found.add(flight)
                left.extend(tuple(flight.awaited))
        return False


class Flights:
    """The flights of one shard of one cache in this process. Safe for threads and tasks."""

    def __init__(self, new_future: Callable[[], Future]) -> None:
        self._new_future = new_future
        self.by_key: dict[str, Flight] = {}

    def clear(self) -> None:
        """Drop all flights: in a forked child, whose parent leads them."""
        self.by_key.clear()

    def enter(self, key: str) -> tuple[Flight, Lead | None]:
        """Return the flight of ``key``, and a Lead if the caller leads it, which it must keep until ``finish``.

        If the leader is interrupted on any line and does not call ``finish``, the Lead is collected, and another
        caller takes over.
        """
        own, lead = Flight(key, self._new_future()), Lead()
        own.lead = ref(lead, partial(_abandon, self.by_key, key, own.future))
        flight = self.by_key.setdefault(key, own)
        if flight is own:
            return flight, lead
        own.lead = None
        return flight, None

    def detach(self, keys: Iterable[str] | None) -> None:
        """Let later callers start a new flight for keys that were written; for all keys where None."""
        if keys is None:
            self.by_key.clear()
        elif self.by_key:
            for key in keys:
                self.by_key.pop(key, None)

    def finish(self, flight: Flight, outcome: Outcome) -> None:
        """End a flight that the caller leads."""
        if self.by_key.get(flight.key) is flight:
            self.by_key.pop(flight.key, None)  # a write in another thread may have detached it meanwhile
        flight.future.set_result(outcome)
        flight.lead = None


def _abandon(by_key: dict[str, Flight], key: str, future: Future, _: ref[Lead]) -> None:
    """End a flight whose leader has ended without an outcome."""
    flight = by_key.get(key)
    if flight is not None and flight.future is future:
        by_key.pop(key, None)
    future.set_result(Outcome())


def is_within_flight() -> bool:
    """Return whether the caller is a function that computes a value, or is called by one."""
    return bool(_own_flights.get())


def lead_within(flight: Flight, compute: Callable[[], Any]) -> Callable[[], Any]:
    """Return ``compute`` as ``run_within`` does, for the leader of ``flight``."""
    run = run_within(flight, compute)

    def call() -> Any:
        flight.is_computed_here = True
        return run()

    return call


def run_within(flight: Flight, compute: Callable[[], Any]) -> Callable[[], Any]:
    """Return ``compute``, wrapped so that ``waiting`` knows of ``flight`` while it runs."""

    def call() -> Any:
        token = _own_flights.set((*_own_flights.get(), flight))
        try:
            result = compute()
        finally:
            _own_flights.reset(token)
        return _await_within(flight, result) if inspect.isawaitable(result) else result

    return call


async def _await_within(flight: Flight, awaitable: Awaitable[Any]) -> Any:
    token = _own_flights.set((*_own_flights.get(), flight))
    try:
        return await awaitable
    finally:
        _own_flights.reset(token)
