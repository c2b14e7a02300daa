"""A relay delivers transitions to a sink, each at least once, in order, by one relay of any number of one name."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Literal

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.operation import Invoke, Operation, command
from edge_redis._health import scripts
from edge_redis._health.config import RelayConfig
from edge_redis._health.keys import HealthKeys
from edge_redis._health.scripts import Delivery
from edge_redis._health.transition_entry import Entry, from_entry
from edge_redis.errors import StoreError
from edge_redis.models import Transition

_log = logging.getLogger("edge_redis")

READ_AT_ONCE: Final = 100
"""Transitions read for one round."""

LONGEST_BACKOFF: Final = 300.0

_COUNTS: Final = ("delivered", "dropped", "attempts")


class Relay(Component):
    """A relay's position, kept in Redis, and its deliveries."""

    def __init__(
        self, sink: Callable[[Transition], object], config: RelayConfig, *, namespace: str = "default"
    ) -> None:
        self._sink = validation.function("sink", sink)
        self._config = config
        self._keys = HealthKeys(namespace)
        self._relay = self._keys.relay(config.name)
        self._states = None if config.states is None else frozenset(config.states)
        self._lease_ms = round(config.lease_seconds * 1000)
        self._holder = secrets.token_hex(8)
        self._is_released = False
        self._is_busy = False

    def after_fork(self) -> None:
        """Become another relay than the parent's."""
        self._holder = secrets.token_hex(8)
        self._is_busy = False

    async def closing(self) -> None:
        """Release the lease, so that the next relay of this name continues at once."""
        with self.mutex, suppress(StoreError):  # with the server away, the lease runs out by itself
            self._is_released = True  # a round in the background must not take it again
            await scripts.release_lease(self._relay, self._holder)

    async def run_once(self) -> int:
        """Deliver what is due, where this relay holds the lease; return how many were delivered."""
        with self.mutex:  # in threads, a second round waits for the first
            if self._is_busy:  # in tasks, it leaves the work to the first
                return 0
            self._is_busy = True
            try:
                return await self._round()
            finally:
                self._is_busy = False

    async def _round(self) -> int:
        delivered = 0
        before, attempts, entries = await self.take()
        for entry in entries:
            position = entry[0].decode()
            outcome = await self._deliver(entry)
            goes_on = await self._record(Delivery(before, attempts, position, outcome))
            delivered += outcome == "delivered"
            if not goes_on:
                break
            before, attempts = position, 0
        return delivered

    async def _deliver(self, entry: Entry) -> Literal["delivered", "failed", "skipped"]:
        change = from_entry(entry)
        if change is None or (self._states is not None and change.state not in self._states):
            return "skipped"
        try:
            await Invoke(self._sink, change)
        except Exception as error:  # noqa: BLE001 -- a sink may raise anything, and that is a failed delivery
            _log.warning("%s of %r was not delivered: %r", change.state, change.node_id, error)
            return "failed"
        return "delivered"

    async def take(self) -> tuple[str, int, list[Entry]]:
        """Return the position, the attempts made at the next transition, and what is due; nothing for a stand-by."""
        if self._is_released:
            return "", 0, []
        held = await scripts.relay_lease(self._keys, self._relay, self._holder, self._lease_ms)
        if not held:
            return "", 0, []
        position = held[0].decode()
        stream = self._keys.transitions
        entries = await command(list[Entry], "XRANGE", stream, f"({position}", "+", "COUNT", READ_AT_ONCE)
        return position, int(held[1]), entries

    def _record(self, delivery: Delivery) -> Operation[bool]:
        """Record how a delivery went; whether to go on with the next."""
        backoff = min(LONGEST_BACKOFF, self._config.backoff_seconds * 2.0 ** min(delivery.attempts, 30))
        return scripts.record_delivery(
            self._relay,
            self._holder,
            delivery,
            lease_ms=self._lease_ms,
            max_attempts=self._config.attempts,
            backoff_ms=round(backoff * 1000),
        )

    async def stats(self) -> dict[str, Any]:
        """Return delivered and dropped, of all relays of this name, and the attempts at the next transition."""
        counts = await command(list[bytes | None], "HMGET", self._relay, *_COUNTS)
        return {name: int(count or 0) for name, count in zip(_COUNTS, counts, strict=True)}
