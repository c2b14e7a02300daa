"""``get_or_compute``: a missing value is computed by one caller of this process, and of all processes, at a time.

This module joins the callers of one process to one computation; ``compute_lease`` coordinates all processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from edge_redis._cache.compute_lease import PATIENCE_LEASES, LeasedComputation
from edge_redis._cache.compute_request import ComputeRaisedError, ComputeRequest
from edge_redis._cache.entry_readers import EntryReader
from edge_redis._cache.entry_writer import EntryWriter
from edge_redis._cache.flights import Flight, Flights, is_within_flight, lead_within, run_within
from edge_redis._cache.inspector import Inspector
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_entry import MISSING, FoundEntry
from edge_redis._cache.outcome import Outcome
from edge_redis._cache.script_requests import ANY_ENTRY, EncodedEntry, PutOptions
from edge_redis._cache.scripts import Scripts
from edge_redis._core.operation import Wait


class Computation:
    """Computes missing entries of one shard, under a lease.

    Args:
        scripts: of the shard.
        reader: reads the entry first, which counts an access.
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
        reader: EntryReader,
        inspector: Inspector,
        writer: EntryWriter,
        flights: Flights,
        near: NearEntries | None,
        clock: Callable[[], float],
        decode: Callable[[bytes], Any],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.flights = flights
        self._near = near
        self._clock = clock
        self._leased = LeasedComputation(scripts, inspector, writer, clock)
        self._decode = decode

    async def get_or_compute(self, request: ComputeRequest) -> Any:
        """Return the value of a key, which one caller computes where it is missing or stale."""
        if request.options.accepts_stale:
            value = MISSING if self._near is None else self._near.get(request.key)
            if value is MISSING:
                value = await self._reader.get(request.key, MISSING)
            return value if value is not MISSING else await self._compute_once(request, None, ANY_ENTRY)
        found = await self._reader.get_with_ttl(request.key)
        ahead_ms = request.draw_ahead_ms(None if found is None else found.cost_ms)
        if found is not None and found.ttl * 1000 > found.stale_ms + ahead_ms:
            return found.value
        return await self._compute_once(request, found, ahead_ms)

    async def refresh(self, request: ComputeRequest) -> Any:
        """Compute the value of a key and store it, whether or not there is one; return it."""
        value, entry, options = await self.compute(request)
        if entry is not None:
            await self._writer.put(entry, options)
        return value

    async def compute_without_server(self, request: ComputeRequest) -> Any:
        """Return the result of the function, called by one caller of this process at a time; store nothing."""
        return await self._compute_once(request, None, None)

    async def compute(self, request: ComputeRequest) -> tuple[Any, EncodedEntry | None, PutOptions]:
        """Call the function; return its value, the entry to store (None for none), and how to store it."""
        computed = await self._leased.invoke(request)
        return computed.value, computed.entry, self._writer.make_options(computed.tags)

    async def _compute_once(self, request: ComputeRequest, stale: FoundEntry | None, ahead_ms: int | None) -> Any:
        """Lead the computation in this process, or use the outcome of the caller that leads it."""
        flight, lead = self.flights.enter(request.key)
        patience = PATIENCE_LEASES * request.options.lease_ms / 1000 if is_within_flight() else math.inf
        until = self._clock() + patience
        is_first = True
        while lead is None:
            if stale is not None:
                return stale.value
            with flight.waiting():
                await Wait(flight.future, request.options.lease_ms / 1000)
            if flight.future.done():
                outcome: Outcome = flight.future.result()
                # A flight that began after this call cannot be outdated for it.
                if not outcome.is_abandoned and not (outcome.is_outdated and is_first):
                    return outcome.give_to_waiter(request.key, self._decode)
                flight, lead = self.flights.enter(request.key)
                is_first = False
                continue
            if self._clock() >= until and not flight.is_computed_here:
                return self._own_result(request, await self._compute_without_lease(request, flight))
            # This thread may be what blocks the leader, so take over if its lease was not renewed.
            attempt = await self._leased.lead(request, ahead_ms, attempts=1)
            if not attempt.is_abandoned:
                return self._own_result(request, attempt)
        outcome = Outcome()
        try:
            led = request._replace(compute=lead_within(flight, request.compute))
            outcome = await self._leased.lead(led, ahead_ms, patience_seconds=patience)
            if outcome.is_abandoned:
                outcome = await self._compute_without_lease(request, flight)
        finally:
            self.flights.finish(flight, outcome)
        return self._own_result(request, outcome)

    async def _compute_without_lease(self, request: ComputeRequest, flight: Flight) -> Outcome:
        """Compute a value that another process has been computing for too long; store nothing.

        That process may wait for the value for which this one is needed. If so, computing it here fails at once, since
        it asks for that value.
        """
        return await self._leased.lead(request._replace(compute=run_within(flight, request.compute)), None)

    def _own_result(self, request: ComputeRequest, outcome: Outcome) -> Any:
        error = outcome.error
        if error is None:
            return outcome.value
        if outcome.is_from_compute and request.is_fail_open:
            raise ComputeRaisedError(error) from error
        raise error
