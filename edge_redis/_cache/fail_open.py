"""The cache of ``on_error="miss"``: it answers without the server while the server is unavailable.

After some failures in a row the server is not called for a while (``circuit.py``). Keys that could
not be written or removed are pending invalidations (``pending.py``): they are removed in Redis
before anything else is read, and are misses until then, so that nobody here reads a value that
this process has replaced.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from edge_redis._cache.api import Cache
from edge_redis._cache.arguments import Ttl, unique_keys
from edge_redis._cache.circuit import CircuitBreaker
from edge_redis._cache.compute_options import ComputeOptions, ResultTtl
from edge_redis._cache.compute_request import ComputeRaisedError
from edge_redis._cache.config import CacheConfig
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_entry import MISSING
from edge_redis._cache.pending import PendingInvalidations
from edge_redis._cache.scripts import EncodedEntry, PutOptions
from edge_redis._cache.shards import ProcessState, Shard
from edge_redis._core.operation import Batch, Operation, Step, stepper
from edge_redis._core.replication import Replication
from edge_redis.errors import StoreOutOfMemoryError, StoreReadOnlyError, StoreUnavailableError
from edge_redis.models import CacheEntry

T = TypeVar("T")

_REFUSED_WRITES: Final = (StoreOutOfMemoryError, StoreReadOnlyError)


class Unanswered(Enum):
    """The result of a call that the server did not answer."""

    UNANSWERED = "unanswered"


UNANSWERED: Final = Unanswered.UNANSWERED


class Watched(Generic[T]):
    """An awaitable that knows whether the server answered any of its steps.

    A call that needed no server, such as a flush of nothing, says nothing about the server.
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


class FailOpenCache(Cache):
    """A cache whose reads miss, whose functions compute and whose writes are dropped without the server.

    ``clear``, ``invalidate_tag``, ``purge_expired`` and statistics raise all the same.
    """

    def __init__(
        self,
        namespace: str,
        config: CacheConfig,
        clock: Callable[[], float],
        near: NearEntries | None = None,
        state: ProcessState | None = None,
    ) -> None:
        super().__init__(namespace, config, clock, near, state)
        self.circuit = CircuitBreaker(clock)
        self.pending = PendingInvalidations(clock)
        self.fallbacks = 0
        """Calls that were answered without the server."""
        self._near_caches = self.shards.state.near_caches
        if self.tick_seconds is None:
            self.tick_seconds = config.flush_interval

    async def get(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, or what the near cache kept of it, or ``default``."""
        value = await self._attempt([key], super().get(key, default), reads=[key])
        return self._fall_back(self._stale_get(key, default)) if value is UNANSWERED else value

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those ``keys`` that are found, or that the near cache kept."""
        wanted = unique_keys(keys)
        found = await self._attempt(wanted, super().get_many(wanted))
        if found is not UNANSWERED:
            return found
        stale = {key: self._stale_get(key, MISSING) for key in wanted}
        return self._fall_back({key: value for key, value in stale.items() if value is not MISSING})

    async def contains(self, key: str) -> bool:
        """Return whether there is an entry ``key``, as far as is known."""
        found = await self._attempt([key], super().contains(key))
        return self._fall_back(self._stale_get(key, MISSING) is not MISSING) if found is UNANSWERED else found

    async def entry(self, key: str) -> CacheEntry | None:
        """Return the entry ``key``, or None."""
        entry = await self._attempt([key], super().entry(key))
        return self._fall_back(None) if entry is UNANSWERED else entry

    async def put(
        self,
        key: str,
        value: Any,
        ttl: Ttl = None,
        *,
        tags: Iterable[str] = (),
        replication: Replication | None = None,
    ) -> None:
        """Store ``value`` under ``key``, or drop it; raises without the server where it is to be replicated."""
        if replication is not None:
            await self._require([key], super().put(key, value, ttl, tags=tags, replication=replication))
        elif await self._attempt([key], super().put(key, value, ttl, tags=tags)) is UNANSWERED:
            self._drop_write([key])

    async def put_many(
        self,
        mapping: Mapping[str, Any],
        ttl: Ttl = None,
        *,
        tags: Iterable[str] = (),
        replication: Replication | None = None,
    ) -> None:
        """Store every value of ``mapping`` under its key, or drop them; see ``put``."""
        if replication is not None:
            await self._require(list(mapping), super().put_many(mapping, ttl, tags=tags, replication=replication))
        elif await self._attempt(list(mapping), super().put_many(mapping, ttl, tags=tags)) is UNANSWERED:
            self._drop_write(list(mapping))

    async def touch(self, key: str, ttl: Ttl = None) -> bool:
        """Let ``key`` expire ``ttl`` seconds from now; return whether that was done."""
        touched = await self._attempt([key], super().touch(key, ttl))
        return self._fall_back(answer=False) if touched is UNANSWERED else touched

    async def delete(self, key: str) -> bool:
        """Remove ``key``, now or as soon as the server is available; return whether it is known to have existed."""
        deleted = await self._attempt([key], super().delete(key))
        return deleted if deleted is not UNANSWERED else bool(self._drop_write([key]))

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Remove these keys, now or as soon as the server is available; return how many are known to have existed."""
        unwanted = unique_keys(keys)
        deleted = await self._attempt(unwanted, super().delete_many(unwanted))
        return deleted if deleted is not UNANSWERED else self._drop_write(unwanted)

    async def get_or_compute(
        self, key: str, compute: Callable[[], Any], ttl: ResultTtl = None, *, options: ComputeOptions
    ) -> Any:
        """Return the value of ``key``, or what the near cache kept of it, or compute it."""
        request = self._compute_request(key, compute, ttl, options)
        computation = self.shards.of(key).computation
        try:
            value = await self._attempt([key], computation.get_or_compute(request), reads=[key])
            if value is UNANSWERED:
                value = self._fall_back(self._stale_get(key, MISSING))
            return (await computation.compute_without_server(request)) if value is MISSING else value
        except ComputeRaisedError as raised:
            raise raised.error from raised.error.__cause__

    async def _store(self, shard: Shard, entry: EncodedEntry, options: PutOptions) -> None:
        if await self._attempt([entry.key], shard.writer.put(entry, options)) is UNANSWERED:
            self._drop_write([entry.key])

    async def add(self, key: str, value: Any, ttl: Ttl = None) -> bool:
        """Store ``value`` under ``key`` if there is no such entry; raises without the server."""
        return await self._require([key], super().add(key, value, ttl))

    async def incr(self, key: str, delta: int = 1, ttl: Ttl = None) -> int:
        """Add ``delta`` to the int under ``key``; raises without the server."""
        return await self._require([key], super().incr(key, delta, ttl))

    async def compare_and_set(self, key: str, expected: Any, value: Any, ttl: Ttl = None) -> bool:
        """Store ``value`` if the entry has the value ``expected``; raises without the server."""
        return await self._require([key], super().compare_and_set(key, expected, value, ttl))

    async def compare_and_delete(self, key: str, expected: Any) -> bool:
        """Remove ``key`` if the entry has the value ``expected``; raises without the server."""
        return await self._require([key], super().compare_and_delete(key, expected))

    async def pop(self, key: str, default: Any = None) -> Any:
        """Remove ``key`` and return its value; raises without the server."""
        return await self._require([key], super().pop(key, default))

    async def ttl(self, key: str) -> float | None:
        """Return the seconds that ``key`` has to live; raises without the server."""
        return await self._require([key], super().ttl(key))

    def local_stats(self) -> dict[str, Any]:
        """Return the statistics of this process alone."""
        return super().local_stats() | {
            "fallbacks": self.fallbacks,
            "pending_invalidations": len(self.pending),
            "circuit": "open" if self.circuit.is_open else "closed",
        }

    def describe_unflushed(self) -> str:
        """Return how many accesses are not known to be counted, and how many invalidations are pending."""
        pending = f"{len(self.pending)} pending invalidations of namespace {self.namespace!r}" if self.pending else ""
        return " and ".join(text for text in (super().describe_unflushed(), pending) if text)

    async def tick(self) -> None:
        """Deliver accesses and remove pending keys, where the server is available."""
        if self._announcements is not None:
            await self._announcements.renew()
        await self._attempt((), self.flush())

    async def closing(self) -> None:
        """Deliver the last accesses, where the server is available."""
        await self._attempt((), self.flush())

    async def _attempt(self, keys: Sequence[str], call: Awaitable[T], *, reads: Sequence[str] = ()) -> T | Unanswered:
        """Await a call that concerns ``keys``, after the pending invalidations; UNANSWERED without the server.

        While the circuit is open, keys in ``reads`` that the near cache has kept are no reason for a trial call.
        """
        if self.circuit.is_open and reads and all(self._stale_get(key, MISSING) is not MISSING for key in reads):
            stepper(call).close()
            return UNANSWERED
        if not self.circuit.allow_call():
            stepper(call).close()
            return UNANSWERED
        try:
            return await self._call(keys, call)
        except _REFUSED_WRITES:  # the server answers, so the circuit stays closed
            return UNANSWERED
        except StoreUnavailableError:
            return UNANSWERED

    async def _require(self, keys: Sequence[str], call: Awaitable[T]) -> T:
        """Await a call that only the server can decide; raise without it."""
        if not self.circuit.allow_call():
            stepper(call).close()
            raise StoreUnavailableError("the server is unavailable, and only it can decide this call")
        return await self._call(keys, call)

    async def _call(self, keys: Sequence[str], call: Awaitable[T]) -> T:
        """Await a call, after the pending invalidations, and record whether the server answered."""
        watched = Watched(call)
        try:
            await self._remove_pending(keys)
            result = await watched
        except _REFUSED_WRITES:
            raise
        except StoreUnavailableError:
            self.circuit.record_failure()
            raise
        finally:
            stepper(call).close()  # it did not run where pending keys could not be removed
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
            await self.shards.delete(list(pending))
        except _REFUSED_WRITES:
            self.pending.suspend()
            if not is_unrelated:
                raise
        else:
            self.pending.clear(pending)

    def _fall_back(self, answer: T) -> T:
        """Count an answer that was given without the server."""
        self.fallbacks += 1
        return answer

    def _drop_write(self, keys: Sequence[str]) -> int:
        """Make keys that were not written pending; return 0, the number of entries that were removed."""
        self.fallbacks += 1
        if not self.pending.has_capacity_for(keys):
            raise StoreUnavailableError("the server is unavailable, and too many invalidations are pending already")
        self.pending.add(keys)
        self._near_caches.invalidate(keys)
        return 0

    def _stale_get(self, key: str, default: Any) -> Any:
        value = MISSING if self.near is None else self.near.stale_get(key)
        return default if value is MISSING else value


def make_cache(
    namespace: str,
    config: CacheConfig,
    clock: Callable[[], float],
    near: NearEntries | None = None,
    state: ProcessState | None = None,
) -> Cache:
    """Return the cache that ``config.on_error`` asks for."""
    kind = FailOpenCache if config.on_error == "miss" else Cache
    return kind(namespace, config, clock, near, state)
