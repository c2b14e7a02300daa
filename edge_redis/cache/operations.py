"""What a cache does, as operations and flows."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

from edge_redis.cache.envelope import Opened, opened
from edge_redis.cache.limits import ttl_ms
from edge_redis.cache.scripts import Claim, Terms
from edge_redis.cache.writing import Writing
from edge_redis.core import check
from edge_redis.core.operation import Call, Flow, Sleep, command
from edge_redis.errors import CorruptDataError, StoreError

LEASE_SECONDS: Final = 10.0
"""How long one may compute before another does, by default."""

_MISSING: Final = object()
_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.25


class Order(NamedTuple):
    """What is to be computed, and how it is to be stored."""

    key: str
    compute: Callable[[], Any]
    terms: Terms
    claim: Claim


def _pauses() -> Iterator[Sleep]:
    """Yield the pauses of one who waits: growing, and scattered so that not all ask at once."""
    pause = _FIRST_PAUSE
    while True:
        yield Sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 -- not for security
        pause = min(2 * pause, _LONGEST_PAUSE)


class Cache(Writing):
    """The cache of one namespace."""

    def get_or_compute(
        self,
        key: str,
        compute: Callable[[], Any],
        ttl: float | None = None,
        *,
        tags: Iterable[str] = (),
        stale_ttl: float | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> Flow[Any]:
        """Return the value of ``key``; where there is none, that of ``compute()``, stored for ``ttl`` seconds.

        Of all processes that miss at once, one computes and the others wait for its value. One
        that dies frees the others when its lease has run out, after ``lease_seconds``; it should
        be longer than ``compute`` takes. An error of ``compute`` is raised, nothing is stored, and
        the next one that waits computes in its turn. None is a value like any other.

        With ``stale_ttl`` an entry lives that many seconds longer than ``ttl`` (for plain reads,
        too). In this time one caller computes it anew, the others get the old value at once; the
        one gets it as well if its ``compute`` raises an Exception.

        A value is not stored if the key was put or deleted, the cache cleared or (where it has
        tags) any tag invalidated while it was computed; the caller gets it all the same.
        """
        check.identifier("key", key)
        if not callable(compute):
            raise check.type_error("compute", compute, "a function without arguments")
        stale_ms = 0 if stale_ttl is None else ttl_ms("stale_ttl", stale_ttl)
        terms = self._terms(ttl, tags)
        terms = terms._replace(ttl_ms=terms.ttl_ms + stale_ms, token=secrets.token_hex(8))
        claim = Claim(terms.token, ttl_ms("lease_seconds", lease_seconds), stale_ms, int(terms.tags != ""))
        found = yield from self.get(key, _MISSING)
        if found is not _MISSING and (not stale_ms or (yield from self._left_ms(key)) > stale_ms):
            return found
        return (yield from self._claimed_or_awaited(Order(key, compute, terms, claim)))

    def _left_ms(self, key: str) -> Flow[int]:
        return (yield from command(int, "PTTL", self._keys.value(key)))

    def _claimed_or_awaited(self, order: Order) -> Flow[Any]:
        pauses = _pauses()
        while True:
            claimed = yield from self._scripts.claim(order.key, order.claim)
            entry = yield from self._entry_of(order.key, claimed.raw)
            if claimed.granted:
                return (yield from self._computed(order, claimed.epoch, entry))
            if entry is not None:
                return entry[1]
            yield from next(pauses)

    def _entry_of(self, key: str, raw: bytes | None) -> Flow[Opened | None]:
        if raw is None:
            return None
        try:
            return opened(raw)
        except CorruptDataError:
            yield from self._discard(key, raw, counted=False)
            return None

    def _computed(self, order: Order, epoch: bytes, stale: Opened | None) -> Flow[Any]:
        """Compute under the lease and store; give the lease up where that fails."""
        try:
            value = yield from Call(order.compute)
            pair = self._pair(order.key, value)
        except Exception:
            with suppress(StoreError):
                yield from self._scripts.release(order.key, order.terms.token)
            if stale is None:
                raise
            return stale[1]
        yield from self._store([pair], order.terms._replace(epoch=epoch))
        return value
