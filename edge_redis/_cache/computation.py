"""Computation of a missing value, by one caller of all processes at a time."""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

from edge_redis._cache.entry import DecodedEntry, add_cost
from edge_redis._cache.inspector import Inspector
from edge_redis._cache.near import Near
from edge_redis._cache.near_entry import MISSING
from edge_redis._cache.readers import Reader
from edge_redis._cache.scripts import Entry, LeaseReply, LeaseRequest, Scripts
from edge_redis._cache.writer import Writer
from edge_redis._core.operation import Invoke, Sleep
from edge_redis.errors import ComputeFailedError, StoreError, StoreUnavailableError

_FIRST_PAUSE_SECONDS: Final = 0.005
_MAX_PAUSE_SECONDS: Final = 0.25
_MAX_FAILURE_BYTES: Final = 500
_MAX_MARGIN_MS: Final = 1 << 52


class ComputeRaisedError(Exception):
    """Wraps an exception from ``compute`` so that fail-open handling does not catch it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class ComputeRequest(NamedTuple):
    """The arguments of ``get_or_compute``, checked."""

    key: str
    compute: Callable[[], Any]
    ttl: float | None
    tags: str
    lease_ms: int
    stale_ms: int
    early: float
    negative_ttl: float | None
    error_ms: int
    is_fail_open: bool
    """Whether a value that cannot be stored is no error, and errors of ``compute`` are wrapped."""

    def margin_ms(self, cost_ms: int | None) -> float:
        """Return the TTL below which an entry is computed anew (XFetch: Vattani et al., VLDB 2015)."""
        if not self.early or cost_ms is None:
            return self.stale_ms
        ahead = -cost_ms * self.early * math.log(1.0 - random.random())  # noqa: S311 -- no secret
        return self.stale_ms + min(ahead, _MAX_MARGIN_MS)


def _pauses() -> Iterator[Sleep]:
    """Yield the pauses of a caller that waits: growing, and random so that callers do not poll in step."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield Sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 -- not for security
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)


def _failure_text(error: Exception) -> bytes:
    return f"{type(error).__name__}: {error}".encode(errors="replace")[:_MAX_FAILURE_BYTES]


class Computation:
    """Computes missing entries of one shard under a lease.

    Args:
        scripts: of the shard.
        reader: counts the access of the first look.
        inspector: decodes what the lease script returns.
        writer: stores the computed value.
        near: of this process, None without one.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        scripts: Scripts,
        reader: Reader,
        inspector: Inspector,
        writer: Writer,
        near: Near | None,
        clock: Callable[[], float],
    ) -> None:
        self._scripts = scripts
        self._reader = reader
        self._inspector = inspector
        self._writer = writer
        self._near = near
        self._clock = clock

    async def get_or_compute(self, request: ComputeRequest) -> Any:
        """Return the value of a key, which one caller computes where it is missing or stale."""
        if request.stale_ms or request.early:
            found = await self._reader.get_with_ttl(request.key)
            margin = request.margin_ms(None if found is None else found.cost_ms)
            if found is not None and found.ttl * 1000 > margin:
                return found.value
        else:
            value = MISSING if self._near is None else self._near.get(request.key)
            if value is MISSING:
                value = await self._reader.get(request.key, MISSING)
            if value is not MISSING:
                return value
            margin = 0.0
        lease = LeaseRequest(secrets.token_hex(8), request.lease_ms, round(margin), int(request.tags != ""))
        return await self._compute_or_wait(request, lease)

    async def _compute_or_wait(self, request: ComputeRequest, lease: LeaseRequest) -> Any:
        pauses = _pauses()
        while True:
            reply = await self._scripts.acquire_lease(request.key, lease)
            entry = await self._inspector.decode(request.key, reply.raw)
            if reply.granted:
                return await self._compute(request, lease.token, reply, entry)
            if entry is not None:
                return entry[1]
            if reply.failure:
                failure = reply.failure.decode(errors="replace")  # it may be cut in the middle of a character
                raise ComputeFailedError(f"computing {request.key!r} has failed: {failure}")
            await next(pauses)

    async def _compute(self, request: ComputeRequest, token: str, reply: LeaseReply, stale: DecodedEntry | None) -> Any:
        """Compute under the lease and store; release the lease where that fails."""
        started = self._clock()
        try:
            value = await Invoke(request.compute)
            entry = self._entry(request, value, (self._clock() - started) * 1000)
        except Exception as error:
            failure = _failure_text(error) if request.error_ms else b""
            with suppress(StoreError):
                await self._scripts.release_lease(request.key, token, failure, request.error_ms)
            if stale is not None:
                return stale[1]
            if request.is_fail_open:
                raise ComputeRaisedError(error) from error
            raise
        options = self._writer.options(request.tags, f"{token} {reply.epoch.decode()}")
        try:
            await self._writer.put(entry, options)
        except StoreUnavailableError:
            if not request.is_fail_open:
                raise
        return value

    def _entry(self, request: ComputeRequest, value: object, cost_ms: float) -> Entry:
        if value is None and request.negative_ttl is not None:
            return self._writer.entry(request.key, None, request.negative_ttl)
        lifetime_ms = self._writer.ttl_ms(request.ttl) + request.stale_ms
        entry = self._writer.entry_for_ms(request.key, value, lifetime_ms)
        return entry._replace(body=add_cost(entry.body, cost_ms)) if request.early else entry
