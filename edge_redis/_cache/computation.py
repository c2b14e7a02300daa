"""Computation of a missing value, by one caller of all processes at a time."""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, NamedTuple

from edge_redis._cache.arguments import NEVER_MS, pack_tags
from edge_redis._cache.compute_options import ComputeOptions, ResultTtl
from edge_redis._cache.entry import HEADER_BYTES, add_computed
from edge_redis._cache.flights import Flights, Outcome, run_within
from edge_redis._cache.inspector import Inspector
from edge_redis._cache.near import Near
from edge_redis._cache.near_entry import MISSING, FoundEntry
from edge_redis._cache.readers import Reader
from edge_redis._cache.scripts import ANY_ENTRY, Entry, LeaseReply, LeaseRequest, PutOptions, Scripts, lease_condition
from edge_redis._cache.writer import Writer
from edge_redis._core.operation import Invoke, Renewal, Sleep, Wait
from edge_redis.errors import ComputeFailedError, EdgeRedisError, StoreError, StoreUnavailableError

_FIRST_PAUSE_SECONDS: Final = 0.005
_MAX_PAUSE_SECONDS: Final = 0.25
_FAILURE_MS: Final = 2000
"""How long an error is kept for callers in other processes that waited: several of their pauses."""
_MAX_FAILURE_BYTES: Final = 500
_MAX_AHEAD_MS: Final = 1 << 52
_RENEWALS_PER_LEASE: Final = 3
MAX_RENEWALS: Final = 180
"""Renewals while one function computes: one that hangs must not hold its key for ever."""


@dataclass(frozen=True, slots=True)
class NoStore:
    """The result of a function that is returned to its callers and not stored."""

    value: object


class ComputeRaisedError(Exception):
    """Wraps an exception from ``compute`` so that fail-open handling does not catch it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class ComputeRequest(NamedTuple):
    """One call of ``get_or_compute``, checked."""

    key: str
    compute: Callable[[], Any]
    ttl: ResultTtl
    options: ComputeOptions
    is_fail_open: bool
    """Whether a value that cannot be stored is no error, and errors of ``compute`` are wrapped."""

    def ahead_ms(self, cost_ms: int | None) -> int:
        """Return how long before it is stale an entry is computed anew (XFetch: Vattani et al., VLDB 2015)."""
        if not self.options.early or cost_ms is None:
            return 0
        ahead = -cost_ms * self.options.early * math.log(1.0 - random.random())  # noqa: S311 -- no secret
        return round(min(ahead, _MAX_AHEAD_MS))


def _pauses() -> Iterator[Sleep]:
    """Yield the pauses of a caller that waits: growing, and random so that callers do not poll in step."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield Sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 -- not for security
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)


def _failure_text(error: Exception) -> bytes:
    return f"{type(error).__name__}: {error}".encode(errors="replace")[:_MAX_FAILURE_BYTES]


class Computation:
    """Computes missing entries of one shard, under a lease.

    Args:
        scripts: of the shard.
        reader: counts the access of the first look.
        inspector: decodes entries that the lease script returns.
        writer: stores the computed value.
        flights: of the shard in this process.
        near: of this process, None without one.
        clock: seconds, monotonic.
        decode: of the codec of the cache.

    """

    def __init__(
        self,
        scripts: Scripts,
        reader: Reader,
        inspector: Inspector,
        writer: Writer,
        flights: Flights,
        near: Near | None,
        clock: Callable[[], float],
        decode: Callable[[bytes], Any],
    ) -> None:
        self._scripts = scripts
        self._reader = reader
        self._inspector = inspector
        self._writer = writer
        self.flights = flights
        self._near = near
        self._clock = clock
        self._decode = decode

    async def get_or_compute(self, request: ComputeRequest) -> Any:
        """Return the value of a key, which one caller computes where it is missing or stale."""
        if request.options.accepts_stale:
            value = MISSING if self._near is None else self._near.get(request.key)
            if value is MISSING:
                value = await self._reader.get(request.key, MISSING)
            return value if value is not MISSING else await self._compute_once(request, None, ANY_ENTRY)
        found = await self._reader.get_with_ttl(request.key)
        ahead_ms = request.ahead_ms(None if found is None else found.cost_ms)
        if found is not None and found.ttl * 1000 > found.stale_ms + ahead_ms:
            return found.value
        return await self._compute_once(request, found, ahead_ms)

    async def compute_without_server(self, request: ComputeRequest) -> Any:
        """Return the result of the function, called by one caller of this process at a time; store nothing."""
        return await self._compute_once(request, None, None)

    async def compute(self, request: ComputeRequest) -> tuple[Any, Entry | None, PutOptions]:
        """Call the function; return its value, the entry to store (None for none), and how to store it."""
        started = self._clock()
        result = await Invoke(request.compute)
        value, entry, tags = self._prepare(request, result, (self._clock() - started) * 1000)
        return value, entry, self._writer.options(tags)

    async def _compute_once(self, request: ComputeRequest, stale: FoundEntry | None, ahead_ms: int | None) -> Any:
        """Lead the computation in this process, or use the outcome of the caller that does."""
        flight, is_leader = self.flights.enter(request.key)
        while not is_leader:
            if stale is not None:
                return stale.value
            flight.check_recursion()
            await Wait(flight.future, request.options.lease_ms / 1000)
            if flight.future.done():
                outcome: Outcome = flight.future.result()
                if not outcome.is_abandoned:
                    return outcome.for_waiter(request.key, self._decode)
                flight, is_leader = self.flights.enter(request.key)
                continue
            # Its leader may be blocked by this very thread: take over if its lease was not renewed.
            attempt = await self._lead(request, ahead_ms, attempts=1)
            if not attempt.is_abandoned:
                return self._own_result(request, attempt)
        outcome = Outcome()
        try:
            outcome = await self._lead(request._replace(compute=run_within(flight, request.compute)), ahead_ms)
        finally:
            self.flights.finish(flight, outcome)
        return self._own_result(request, outcome)

    def _own_result(self, request: ComputeRequest, outcome: Outcome) -> Any:
        error = outcome.error
        if error is None:
            return outcome.value
        if outcome.is_from_compute and request.is_fail_open:
            raise ComputeRaisedError(error) from error
        raise error

    async def _lead(self, request: ComputeRequest, ahead_ms: int | None, attempts: int = 0) -> Outcome:
        """Compute the value, or wait for another process that does; ``ahead_ms`` None stands for no server.

        After so many ``attempts`` to get the lease or a value (0 for any number) the outcome is an abandoned one.
        """
        token = secrets.token_hex(8)
        try:
            if ahead_ms is None:
                return await self._invoke(request, Invoke(request.compute), token)
            lease = LeaseRequest(token, request.options.lease_ms, ahead_ms)
            return await self._compute_or_poll(request, lease, attempts)
        except EdgeRedisError as error:
            return Outcome(error=error)
        except GeneratorExit:  # nothing can be awaited any more
            raise
        except BaseException:  # cancelled or interrupted: other processes must not wait for the lease to expire
            if ahead_ms is not None:
                with suppress(StoreError):
                    await self._scripts.release_lease(request.key, token)
            raise

    async def _compute_or_poll(self, request: ComputeRequest, lease: LeaseRequest, attempts: int) -> Outcome:
        pauses = _pauses()
        for attempt in count(1):
            reply = await self._scripts.acquire_lease(request.key, lease)
            entry = await self._inspector.decode(request.key, reply.raw)
            found = None
            if entry is not None and reply.raw is not None:
                found = Outcome(entry[1], reply.raw[HEADER_BYTES:], has_value=True)
            if reply.granted:
                return await self._compute(request, lease.token, reply, found)
            if found is not None:
                return found
            if reply.failure is not None:
                failure = reply.failure.decode(errors="replace")  # it may be cut in the middle of a character
                return Outcome(error=ComputeFailedError(f"computing {request.key!r} has failed: {failure}"))
            if attempt == attempts:
                break
            lease = lease._replace(waited_for=reply.holder.decode())
            await next(pauses)
        return Outcome()

    async def _compute(self, request: ComputeRequest, token: str, reply: LeaseReply, stale: Outcome | None) -> Outcome:
        """Compute under the lease and store the value; a stale value stands in for an error."""
        lease_ms = request.options.lease_ms
        renewal = Renewal(
            lease_ms / 1000 / _RENEWALS_PER_LEASE,
            lambda: self._scripts.renew_lease(request.key, token, lease_ms),
            MAX_RENEWALS,
        )
        invoke = Invoke(request.compute, renewal=renewal)
        outcome = await self._invoke(request, invoke, token, lease_condition(token, reply.epoch))
        if outcome.error is None:
            return outcome
        failure, ms = _failure_text(outcome.error), request.options.error_ms or _FAILURE_MS
        with suppress(StoreError):
            await self._scripts.release_lease(request.key, token, failure, ms, for_all=request.options.error_ms > 0)
        return outcome if stale is None else stale

    async def _invoke(self, request: ComputeRequest, invoke: Invoke[Any], token: str, lease: str = "") -> Outcome:
        """Call the function and, where there is a lease, store its result."""
        started = self._clock()
        try:
            result = await invoke
            value, entry, tags = self._prepare(request, result, (self._clock() - started) * 1000)
        except Exception as error:  # noqa: BLE001 -- the outcome carries it to every caller that waits
            return Outcome(error=error, is_from_compute=True)
        if not lease:
            return Outcome(value, None if entry is None else entry.body, has_value=True)
        if entry is None:
            with suppress(StoreError):
                await self._scripts.release_lease(request.key, token)
            return Outcome(value, has_value=True)
        try:
            await self._writer.put(entry, self._writer.options(tags, lease))
        except StoreUnavailableError:
            if not request.is_fail_open:
                raise
        except EdgeRedisError:
            with suppress(StoreError):
                await self._scripts.release_lease(request.key, token)
            raise
        return Outcome(value, entry.body, has_value=True)

    def _prepare(self, request: ComputeRequest, result: Any, cost_ms: float) -> tuple[Any, Entry | None, str]:
        """Return the value of a function's result, the entry to store (None for none), and its packed tags."""
        if isinstance(result, NoStore):
            return result.value, None, ""
        stale_ms = request.options.stale_ms
        if result is None and request.options.negative_ttl is not None:
            lifetime_ms, stale_ms = self._writer.ttl_ms(request.options.negative_ttl), 0
        else:
            lifetime_ms = self._writer.ttl_ms(request.ttl(result) if callable(request.ttl) else request.ttl)
        if lifetime_ms != NEVER_MS:
            lifetime_ms += stale_ms
        entry = self._writer.entry_for_ms(request.key, result, lifetime_ms)
        if not request.options.accepts_stale:
            entry = entry._replace(body=add_computed(entry.body, cost_ms, stale_ms))
        tags = pack_tags(request.options.tags(result)) if callable(request.options.tags) else request.options.tags
        return result, entry, tags
