"""Computation under a lease, so that of all processes one caller computes a value.

If the key is written meanwhile, the written value wins: the write voids the lease, so the computed
value is returned to the caller that computed it and not stored, and the callers that waited get the
written value. If the entry was removed instead, one of the waiting callers computes it anew.
"""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any, Final

from edge_redis._cache.compute_request import ComputeRequest
from edge_redis._cache.compute_result import ComputedResult, prepare_result
from edge_redis._cache.entry import HEADER_BYTES
from edge_redis._cache.entry_writer import EntryWriter
from edge_redis._cache.inspector import Inspector
from edge_redis._cache.outcome import Outcome
from edge_redis._cache.script_replies import ComputeLeaseReply
from edge_redis._cache.script_requests import ComputeLeaseRequest, compute_lease_condition
from edge_redis._cache.scripts import Scripts
from edge_redis._core.error_text import describe_error
from edge_redis._core.operation import Invoke, Renewal, ShieldedOperation, Sleep
from edge_redis.errors import ComputeFailedError, EdgeRedisError, StoreError, StoreUnavailableError

_FIRST_PAUSE_SECONDS: Final = 0.005
_MAX_PAUSE_SECONDS: Final = 0.25
_FAILURE_MS: Final = 2000
"""How long an error is kept for callers in other processes that wait: several of their pauses."""
_MAX_FAILURE_BYTES: Final = 500
_RENEWALS_PER_LEASE: Final = 3
PATIENCE_LEASES: Final = 3
"""Leases for which a function that computes one value waits for another process that computes a second one. Within one
lease a process that died has lost it; a process that lives may wait for the first value, and neither would end."""
MAX_RENEWALS: Final = 180
"""Renewals while one function computes, at most: a function that hangs must not hold its key for ever."""


def _pauses() -> Iterator[Sleep]:
    """Yield the pauses of a caller that waits. They grow, and are random, so that callers do not poll in step."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield Sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 -- not for security
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)


def _failure_text(error: Exception) -> bytes:
    return describe_error(error).encode()[:_MAX_FAILURE_BYTES]


class LeasedComputation:
    """Computes entries of one shard under leases, and stores them.

    Args:
        scripts: of the shard.
        inspector: decodes entries that the lease script returns.
        writer: stores the computed value.
        clock: seconds, monotonic.

    """

    def __init__(self, scripts: Scripts, inspector: Inspector, writer: EntryWriter, clock: Callable[[], float]) -> None:
        self._scripts = scripts
        self._inspector = inspector
        self._writer = writer
        self._clock = clock

    async def lead(
        self, request: ComputeRequest, ahead_ms: int | None, attempts: int = 0, patience_seconds: float = math.inf
    ) -> Outcome:
        """Compute the value, or wait for another process that does. Without a server, ``ahead_ms`` is None.

        After ``attempts`` tries to get the lease or a value (0: no limit), or at the first one after
        ``patience_seconds``, the outcome is an abandoned one.
        """
        token = f"{secrets.token_hex(8)}-{request.options.lease_ms}"
        try:
            if ahead_ms is None:
                outcome, _ = await self._invoke(request, Invoke(request.compute))
                return outcome
            lease = ComputeLeaseRequest(token, request.options.lease_ms, ahead_ms)
            return await self._compute_or_poll(request, lease, attempts, self._clock() + patience_seconds)
        except EdgeRedisError as error:
            return Outcome(error=error)
        except GeneratorExit:  # nothing can be awaited any more
            raise
        except BaseException:  # cancelled or interrupted: other processes must not wait for the lease to expire
            if ahead_ms is not None:
                with suppress(StoreError):
                    await ShieldedOperation(self._scripts.release_lease(request.key, token))
            raise

    async def invoke(self, request: ComputeRequest) -> ComputedResult:
        """Call the function and return its result; store nothing."""
        started = self._clock()
        result = await Invoke(request.compute)
        return prepare_result(self._writer, request, result, (self._clock() - started) * 1000)

    async def _compute_or_poll(
        self, request: ComputeRequest, lease: ComputeLeaseRequest, attempts: int, until: float
    ) -> Outcome:
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
            if attempt == attempts or self._clock() >= until:
                break
            lease = lease._replace(waited_for=reply.holder.decode())
            await next(pauses)
        return Outcome()

    async def _compute(
        self, request: ComputeRequest, token: str, reply: ComputeLeaseReply, stale: Outcome | None
    ) -> Outcome:
        """Compute under the lease and store the value; a stale value stands in for an error."""
        lease_ms = request.options.lease_ms
        renewal = Renewal(
            lease_ms / 1000 / _RENEWALS_PER_LEASE,
            lambda: self._scripts.renew_lease(request.key, token, lease_ms),
            MAX_RENEWALS,
        )
        outcome, computed = await self._invoke(request, Invoke(request.compute, renewal=renewal))
        if outcome.error is not None:
            is_held = await self._release(request, token, outcome.error)
            outcome = outcome if stale is None else stale
        elif computed is None or computed.entry is None:
            is_held = await self._release(request, token)
        else:
            is_held = await self._store(request, token, computed, reply.epoch)
        newer = None if is_held else await self._find_newer(request, reply.raw)
        if newer is not None:
            return newer if outcome is stale else replace(outcome, newer=newer.body)
        return outcome if is_held else replace(outcome, is_outdated=True)

    async def _invoke(self, request: ComputeRequest, invoke: Invoke[Any]) -> tuple[Outcome, ComputedResult | None]:
        started = self._clock()
        try:
            result = await invoke
            computed = prepare_result(self._writer, request, result, (self._clock() - started) * 1000)
        except Exception as error:  # noqa: BLE001 -- the outcome carries it to every caller that waits
            return Outcome(error=error, is_from_compute=True), None
        body = None if computed.entry is None else computed.entry.body
        return Outcome(computed.value, body, has_value=True), computed

    async def _store(self, request: ComputeRequest, token: str, computed: ComputedResult, epoch: bytes) -> bool:
        """Store a computed value; return whether the lease still counted."""
        assert computed.entry is not None
        options = self._writer.make_options(computed.tags, compute_lease_condition(token, epoch))
        try:
            return await self._writer.put_if(computed.entry, options)
        except StoreUnavailableError:
            if not request.is_fail_open:
                raise
        except EdgeRedisError:
            await self._release(request, token)
            raise
        return True

    async def _release(self, request: ComputeRequest, token: str, error: Exception | None = None) -> bool:
        """Give up the lease; return whether it still counted, true if the server does not answer."""
        failure = b"" if error is None else _failure_text(error)
        ms, for_all = request.options.error_ms or _FAILURE_MS, request.options.error_ms > 0
        with suppress(StoreError):
            return await self._scripts.release_lease(request.key, token, failure, ms, for_all=for_all)
        return True

    async def _find_newer(self, request: ComputeRequest, before: bytes | None) -> Outcome | None:
        """Return the value that was written since the lease was granted; None if none was."""
        try:
            [stored] = await self._scripts.get_with_ttl([request.key])
            entry = await self._inspector.decode(request.key, stored.raw)
        except StoreError:
            return None
        if entry is None or stored.raw is None or stored.raw == before:
            return None
        return Outcome(entry[1], stored.raw[HEADER_BYTES:], has_value=True)
