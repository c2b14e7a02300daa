"""One shard of a cache: all that happens in one slot. And how a missing value comes to be computed once."""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

from edge_redis._cache.envelope import Opened, with_cost
from edge_redis._cache.near_entry import NOTHING
from edge_redis._cache.reader import Found
from edge_redis._cache.scripts import Claim, Claimed, Pair, Terms
from edge_redis._cache.writer import Writing
from edge_redis._core.operation import Invoke, Sleep
from edge_redis.errors import ComputeFailedError, StoreError, StoreUnavailableError

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.25
_FAILURE_BYTES: Final = 500
_MOST_MS: Final = 1 << 52


class ComputeRaisedError(Exception):
    """Carries an error of a function that computes past whoever looks for errors of the store."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Order(NamedTuple):
    """What is to be computed, how it is to be stored, and what to do of what is there and of failures."""

    key: str
    compute: Callable[[], Any]
    terms: Terms
    ttl: float | None
    lease_ms: int
    stale_ms: int
    early: float
    negative_ttl: float | None
    error_ms: int
    must_store: bool
    """Whether a value that was computed and cannot be stored is an error."""

    def margin_ms(self, cost_ms: int | None) -> float:
        """Return with how little left to live an entry is computed anew (XFetch: Vattani et al., VLDB 2015)."""
        if not self.early or cost_ms is None:
            return self.stale_ms
        ahead = -cost_ms * self.early * math.log(1.0 - random.random())  # noqa: S311 -- no secret
        return self.stale_ms + min(ahead, _MOST_MS)


def _pauses() -> Iterator[Sleep]:
    """Yield the pauses of one who waits: growing, and scattered so that not all ask at once."""
    pause = _FIRST_PAUSE
    while True:
        yield Sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 -- not for security
        pause = min(2 * pause, _LONGEST_PAUSE)


def _said(error: Exception) -> bytes:
    return f"{type(error).__name__}: {error}".encode(errors="replace")[:_FAILURE_BYTES]


class Shard(Writing):
    """One shard of a cache."""

    async def computed(self, order: Order) -> Any:
        """Return the value of a key, which one computes where it is missing or due."""
        if not (order.stale_ms or order.early):
            value = NOTHING if self._near is None else self._near.held(order.key)
            if value is NOTHING:
                value = await self.get(order.key)
            if value is not NOTHING:
                return value
            margin: float = 0
        else:
            found = await self._found_or_held(order.key)
            margin = order.margin_ms(None if found is None else found.cost_ms)
            if found is not None and found.left * 1000 > margin:
                return found.value
        token = secrets.token_hex(8)
        claim = Claim(token, order.lease_ms, round(margin), int(order.terms.tags != ""))
        return await self._claimed_or_awaited(order, claim)

    async def _found_or_held(self, key: str) -> Found | None:
        if self._near is not None:
            value, left, cost_ms = self._near.held_with_time(key)
            if value is not NOTHING:
                return Found(value, left, cost_ms)
        return await self.get_with_time(key)

    async def _claimed_or_awaited(self, order: Order, claim: Claim) -> Any:
        pauses = _pauses()
        while True:
            claimed = await self._scripts.claim(order.key, claim)
            entry = await self._opened(order.key, claimed.raw)
            if claimed.granted:
                return await self._computed(order, claim.token, claimed, entry)
            if entry is not None:
                return entry[1]
            if claimed.failure:
                said = claimed.failure.decode(errors="replace")  # it may be cut in the middle of a character
                raise ComputeFailedError(f"computing {order.key!r} has failed: {said}")
            await next(pauses)

    async def _computed(self, order: Order, token: str, claimed: Claimed, stale: Opened | None) -> Any:
        """Compute under the lease and store; give the lease up where that fails."""
        began = self._clock()
        try:
            value = await Invoke(order.compute)
            pair = self._pair_of(order, value, (self._clock() - began) * 1000)
        except Exception as error:
            failure = _said(error) if order.error_ms else b""
            with suppress(StoreError):
                await self._scripts.release(order.key, token, failure, order.error_ms)
            if stale is not None:
                return stale[1]
            if order.must_store:
                raise
            raise ComputeRaisedError(error) from error
        try:
            await self.store([pair], order.terms._replace(lease=f"{token} {claimed.epoch.decode()}"))
        except StoreUnavailableError:
            if order.must_store:
                raise
        return value

    def _pair_of(self, order: Order, value: object, cost_ms: float) -> Pair:
        if value is None and order.negative_ttl is not None:
            return self.pair(order.key, None, order.negative_ttl)
        pair = self._pair(order.key, value, self.lifetime_ms(order.ttl) + order.stale_ms)
        return pair._replace(body=with_cost(pair.body, cost_ms)) if order.early else pair
