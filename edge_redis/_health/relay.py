"""A relay delivers transitions to a sink, each at least once and in order. Of several with one name, one delivers."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NamedTuple

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.error_text import describe_error
from edge_redis._core.operation import Invoke, Operation, command
from edge_redis._health import watch_scripts
from edge_redis._health.config import RelayConfig
from edge_redis._health.keys import HealthKeys
from edge_redis._health.node_label import read_label
from edge_redis._health.transition_entry import StreamEntry, decode_entry, decode_number
from edge_redis._health.watch_scripts import Delivery
from edge_redis.errors import CorruptDataError, StoreError
from edge_redis.models import Transition, timestamp_ms

_log: Final = logging.getLogger("edge_redis")

READ_AT_ONCE: Final = 100
"""Transitions read for one round."""

LONGEST_BACKOFF: Final = 300.0
LONGEST_RETRY_AFTER: Final = 3600.0

REFUSED_ATTEMPTS: Final = 8
"""Attempts at a transition that the receiver refuses: few, since the other transitions wait behind it."""

_POSITION: Final = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII)
_MAX_ERROR: Final = 200
_MAX_DIGITS: Final = 19
_COUNTS: Final = ("delivered", "dropped", "lost", "attempts")
_ONCE_WHILE_FLAPPING: Final = ("suspected", "unhealthy", "recovered", "healthy")


class Turn(NamedTuple):
    """The work of a round: the relay's position, the attempts at the first entry so far, and the entries to deliver."""

    position: str = ""
    attempts: int = 0
    now_ms: int = 0
    number: int | None = None
    stream_id: str = ""
    entries: list[StreamEntry] = []  # noqa: RUF012 -- never changed


class Relay(Component):
    """A relay's position, kept in Redis, and its deliveries."""

    def __init__(
        self, sink: Callable[[Transition], object], config: RelayConfig, *, namespace: str = "default"
    ) -> None:
        self._sink = validation.check_callable("sink", sink)
        self._config = config
        self.namespace = namespace
        self._keys = HealthKeys(namespace)
        self._relay = self._keys.relay(config.position_name)
        self._states = None if config.states is None else frozenset(config.states)
        self._relays_flapping = self._states is None or "flapping" in self._states
        self._lease_ms = round(config.lease_seconds * 1000)
        self._holder = secrets.token_hex(8)
        self._is_released = False
        self._is_busy = False

    def after_fork(self) -> None:
        """Reset state in a forked child, which is another relay."""
        self._holder = secrets.token_hex(8)
        self._is_busy = False

    async def closing(self) -> None:
        """Release the lease, so that the next relay of this name continues at once."""
        with self.mutex, suppress(StoreError):  # without the server, the lease expires
            self._is_released = True  # a round in the background must not take it again
            await watch_scripts.release_lease(self._relay, self._holder)

    async def run_once(self) -> int:
        """Deliver the transitions that are due, if this relay holds the lease; return how many were delivered."""
        with self.mutex:  # a second thread waits for the first one's round
            if self._is_busy:  # a second task does nothing
                return 0
            self._is_busy = True
            try:
                return await self._round()
            finally:
                self._is_busy = False

    async def _round(self) -> int:
        delivered = 0
        turn = await self.take()
        before, attempts, number = turn.position, turn.attempts, turn.number
        for entry in turn.entries:
            lost = self._count_lost(entry, number, attempts)
            delivery = Delivery(before, attempts, entry[0].decode(), "skipped")
            delivery = await self._deliver(delivery, entry, turn.now_ms, turn.stream_id)
            number = decode_number(entry)
            delivery = delivery._replace(number="" if number is None else number, lost=lost)
            goes_on = await watch_scripts.record_delivery(self._relay, self._holder, delivery, self._lease_ms)
            delivered += delivery.outcome == "delivered"
            if not goes_on:
                break
            before, attempts = delivery.position, 0
        return delivered

    def _count_lost(self, entry: StreamEntry, before: int | None, attempts: int) -> int:
        number = decode_number(entry)
        lost = 0 if number is None or before is None else max(0, number - before - 1)
        if lost and attempts == 0:
            _log.warning("%d transitions were removed from the stream before they were delivered", lost)
        return lost

    async def _deliver(self, delivery: Delivery, entry: StreamEntry, now_ms: int, stream_id: str) -> Delivery:
        """Return the delivery with its outcome."""
        change = decode_entry(entry)
        if change is None or not self._is_wanted(change):
            return delivery
        name, location = await read_label(self._keys, change.node_id)
        change = replace(
            change,
            namespace=self.namespace,
            node_name=name,
            location=location,
            event_id=f"{self.namespace}/{stream_id}/{change.position}",
        )
        try:
            await Invoke(self._sink, change)
        except Exception as error:  # noqa: BLE001 -- any error of a sink is a failed delivery
            return self._fail(delivery, change, error, now_ms)
        return delivery._replace(outcome="delivered")

    def _is_wanted(self, change: Transition) -> bool:
        if self._config.once_while_flapping and self._relays_flapping:
            if change.previous == "flapping":
                return True  # the end of flapping, which receivers need to close the alert
            if change.flapping and change.state in _ONCE_WHILE_FLAPPING:
                return False
        return self._states is None or change.state in self._states

    def _fail(self, delivery: Delivery, change: Transition, error: Exception, now_ms: int) -> Delivery:
        attempts = delivery.attempts + 1
        limit = self._config.attempts
        if getattr(error, "refused", False):
            limit = min(limit or REFUSED_ATTEMPTS, REFUSED_ATTEMPTS)
        is_old = now_ms - timestamp_ms(change.at) >= self._config.max_age_seconds * 1000
        text = describe_error(error, _MAX_ERROR)
        if is_old or (limit is not None and attempts >= limit):
            _log.error("%s of %r was dropped after %d attempts: %s", change.state, change.node_id, attempts, text)
            return delivery._replace(outcome="dropped", error=text)
        _log.warning("%s of %r was not delivered: %s", change.state, change.node_id, text)
        pause = min(LONGEST_BACKOFF, self._config.backoff_seconds * 2.0 ** min(delivery.attempts, 30))
        asked = getattr(error, "retry_after_seconds", None) or 0.0
        return delivery._replace(
            outcome="failed", error=text, pause_seconds=max(pause, min(asked, LONGEST_RETRY_AFTER))
        )

    async def take(self) -> Turn:
        """Take or keep the lease; return the transitions that are due, none for a stand-by."""
        if self._is_released:
            return Turn()
        name, new_id = self._config.position_name, secrets.token_hex(8)
        held = await watch_scripts.relay_lease(self._keys, name, self._holder, self._lease_ms, new_id)
        if not held:
            return Turn()
        position, _, now_ms, number, stream_id = (word.decode("utf-8", "replace") for word in held)
        if not _POSITION.fullmatch(position):
            raise CorruptDataError(f"the position in {self._relay} is {position!r}; delete the key to begin anew")
        entries = await self._entries_after(position)
        number_at = _decode_count(held[3]) if number.isdigit() else None
        return Turn(position, _decode_count(held[1]), int(now_ms), number_at, stream_id, entries)

    def _entries_after(self, position: str) -> Operation[list[StreamEntry]]:
        return command(list[StreamEntry], "XRANGE", self._keys.transitions, f"({position}", "+", "COUNT", READ_AT_ONCE)

    async def stats(self) -> dict[str, Any]:
        """Return the counts of all relays of this name and these states, and the last error."""
        *counts, error = await command(list[bytes | None], "HMGET", self._relay, *_COUNTS, "last_error")
        found: dict[str, Any] = {name: _decode_count(count) for name, count in zip(_COUNTS, counts, strict=True)}
        return {**found, "last_error": (error or b"").decode("utf-8", "replace")}


def _decode_count(word: bytes | None) -> int:
    """Return a stored count; a damaged one counts as 0."""
    return int(word) if word is not None and word.isdigit() and len(word) <= _MAX_DIGITS else 0
