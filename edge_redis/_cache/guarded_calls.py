"""Calls to a server that may be unavailable: a circuit breaker, and invalidations that wait for the server.

After some failures in a row the server is not called for a while (``circuit.py``). Keys that could
not be written or removed are pending invalidations (``pending.py``): they are removed in Redis
before anything else is read, and are misses until then, so that this process does not read a value
that it has replaced.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from edge_redis._cache.circuit import CircuitBreaker
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_entry import MISSING
from edge_redis._cache.pending import PendingInvalidations
from edge_redis._cache.shards import Shards
from edge_redis._core.operation import Batch, Operation, Step, stepper
from edge_redis.errors import StoreOutOfMemoryError, StoreReadOnlyError, StoreUnavailableError

T = TypeVar("T")

_REFUSED_WRITES: Final = (StoreOutOfMemoryError, StoreReadOnlyError)


class Unanswered(Enum):
    """The result of a call that the server did not answer."""

    UNANSWERED = "unanswered"


UNANSWERED: Final = Unanswered.UNANSWERED


class WatchedCall(Generic[T]):
    """A call that records whether the server answered any of its steps.

    A call without a step, such as a flush of no accesses, does not show whether the server is available.
    """

    def __init__(self, call: Awaitable[T]) -> None:
        self._call = call
        self.was_answered = False

    def __await__(self) -> Generator[Step, Any, T]:
        steps = stepper(self._call)
        try:
            step = steps.send(None)
            while True:
                try:
                    reply = yield step
                except BaseException as error:  # noqa: BLE001 -- the call decides how to handle it
                    step = steps.throw(error)
                else:
                    self.was_answered = self.was_answered or isinstance(step, (Operation, Batch))
                    step = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result


class GuardedCalls:
    """Makes the calls of one cache, and gives the answers while the server is unavailable.

    Args:
        shards: of the cache.
        near: of this process, None without one.
        clock: seconds, monotonic.

    """

    def __init__(self, shards: Shards, near: NearEntries | None, clock: Callable[[], float]) -> None:
        self._shards = shards
        self._near = near
        self._near_caches = shards.state.near_caches
        self.circuit = CircuitBreaker(clock)
        if near is not None:
            near.circuit = self.circuit
        self.pending = PendingInvalidations(clock)
        self.fallbacks = 0
        """Calls that were answered without the server."""

    async def attempt(
        self, keys: Sequence[str], call: Awaitable[T], *, reads: Sequence[str] = (), is_last: bool = False
    ) -> T | Unanswered:
        """Await a call that concerns ``keys``, after the pending invalidations; UNANSWERED without the server.

        While the circuit is open and the near cache has kept all keys in ``reads``, no trial call is made.
        The last call before the cache is closed is a trial call if there are pending invalidations.
        """
        if self.circuit.is_open and reads and all(self.stale_get(key, MISSING) is not MISSING for key in reads):
            stepper(call).close()
            return UNANSWERED
        if not (is_last and len(self.pending)) and not self.circuit.allow_call():
            stepper(call).close()
            return UNANSWERED
        try:
            return await self._call(keys, call)
        except _REFUSED_WRITES:  # the server answers, so the circuit stays closed
            return UNANSWERED
        except StoreUnavailableError:
            return UNANSWERED

    async def require(self, keys: Sequence[str], call: Awaitable[T]) -> T:
        """Await a call that only the server can decide; raise without it."""
        if not self.circuit.allow_call():
            stepper(call).close()
            raise StoreUnavailableError("the server is unavailable, and only it can decide this call")
        return await self._call(keys, call)

    async def _call(self, keys: Sequence[str], call: Awaitable[T]) -> T:
        """Await a call, after the pending invalidations, and record whether the server answered."""
        watched = WatchedCall(call)
        try:
            await self._remove_pending(keys)
            result = await watched
        except _REFUSED_WRITES:
            raise
        except StoreUnavailableError:
            self.circuit.record_failure()
            raise
        finally:
            stepper(call).close()  # if pending keys could not be removed, it has not run
        if watched.was_answered:
            self.circuit.record_success()
        return result

    async def _remove_pending(self, keys: Sequence[str]) -> None:
        """Remove pending keys in Redis. A server that refuses writes is still read, but not for a pending key."""
        if not len(self.pending):
            return
        is_unrelated = self.pending.is_disjoint(keys)
        if is_unrelated and self.pending.is_suspended:
            return
        pending = self.pending.snapshot()
        try:
            await self._shards.delete(list(pending))
        except _REFUSED_WRITES:
            self.pending.suspend()
            if not is_unrelated:
                raise
        else:
            self.pending.clear(pending)

    def fall_back(self, answer: T) -> T:
        """Count an answer that was given without the server."""
        self.fallbacks += 1
        return answer

    def drop_write(self, keys: Sequence[str]) -> int:
        """Make keys that were not written pending; return 0, the number of entries that were removed."""
        self.fallbacks += 1
        if not self.pending.has_capacity_for(keys):
            raise StoreUnavailableError("the server is unavailable, and too many invalidations are pending already")
        self.pending.add(keys)
        self._near_caches.invalidate(keys)
        return 0

    def stale_get(self, key: str, default: Any) -> Any:
        """Return the value of ``key`` that the near cache has kept, or ``default``."""
        value = MISSING if self._near is None else self._near.stale_get(key)
        return default if value is MISSING else value
