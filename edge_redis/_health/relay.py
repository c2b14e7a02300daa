"""Handing transitions on, each at least once, in order, by one of any number of relays of a name."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.operation import Invoke, Operation, command
from edge_redis._core.script import load
from edge_redis._health.keys import HealthKeys
from edge_redis._health.transitions import Entry, from_entry
from edge_redis.errors import StoreError
from edge_redis.models import Transition

_log = logging.getLogger("edge_redis")

AT_ONCE: Final = 100
"""Transitions read for one round."""
LONGEST_BACKOFF: Final = 300.0

_RELAY: Final = load(__package__, "relay")
_RESIGN: Final = load(__package__, "resign")
_SETTLE: Final = load(__package__, "settle")


class Relay(Component):
    """Where a relay stands, kept in Redis, and what it does next."""

    def __init__(
        self,
        sink: Callable[[Transition], object],
        name: str,
        *,
        namespace: str,
        states: Collection[str] | None,
        attempts: int,
        backoff_seconds: float,
        interval_seconds: float,
        lease_seconds: float,
    ) -> None:
        self._sink = validation.function("sink", sink)
        self._keys = HealthKeys(namespace)
        self._relay = f"{self._keys.relays}:{validation.identifier('name', name)}"
        if isinstance(states, str):
            raise validation.type_error("states", states, "a collection of states, or None")
        self._states = None if states is None else {validation.identifier("state", state) for state in states}
        self._attempts = validation.integer("attempts", attempts, least=1)
        self._backoff = validation.positive("backoff_seconds", backoff_seconds)
        self.tick_seconds = validation.positive("interval_seconds", interval_seconds)
        self._lease_ms = round(validation.positive("lease_seconds", lease_seconds) * 1000)
        self._holder = secrets.token_hex(8)
        self._resigned = False
        self._is_busy = False

    def after_fork(self) -> None:
        """Be another relay than the parent."""
        self._holder = secrets.token_hex(8)
        self._is_busy = False

    async def tick(self) -> int:
        """Do a round."""
        return await self.run_once()

    async def closing(self) -> None:
        """Leave what is due to the next relay of this name, at once; with the server away, the turn runs out."""
        with self.mutex, suppress(StoreError):
            self._resigned = True  # a round in the background must not take it again
            await _RESIGN([self._relay], [self._holder], int)

    async def run_once(self) -> int:
        """Deliver what is due, where it is this relay's turn; return how many were delivered."""
        with self.mutex:  # a round in the background and one that is asked for: in threads one waits
            if self._is_busy:  # in tasks it leaves it to the other
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
            goes_on = await self._settle(before, attempts, position, outcome)
            delivered += outcome == "delivered"
            if not goes_on:
                break
            before, attempts = position, 0
        return delivered

    async def _deliver(self, entry: Entry) -> str:
        change = from_entry(entry)
        if change is None or (self._states is not None and change.state not in self._states):
            return "skipped"
        try:
            await Invoke(self._sink, change)
        except Exception as error:  # noqa: BLE001 -- whatever a sink raises is its failure
            _log.warning("%s of %r was not delivered: %r", change.state, change.node_id, error)
            return "failed"
        return "delivered"

    async def take(self) -> tuple[str, int, list[Entry]]:
        """Return the position, the attempts made at what comes next, and what is due: nothing out of turn."""
        if self._resigned:
            return "", 0, []
        turn = await _RELAY([self._relay, self._keys.transitions], [self._holder, self._lease_ms], list[bytes])
        if not turn:
            return "", 0, []
        position = turn[0].decode()
        entries = await command(list[Entry], "XRANGE", self._keys.transitions, f"({position}", "+", "COUNT", AT_ONCE)
        return position, int(turn[1]), entries

    def _settle(self, before: str, attempts: int, position: str, outcome: str) -> Operation[bool]:
        """Note how a delivery went; return whether to go on with the next."""
        backoff = min(LONGEST_BACKOFF, self._backoff * 2.0 ** min(attempts, 30))
        return _SETTLE(
            [self._relay],
            [self._holder, before, attempts, position, outcome, self._lease_ms, self._attempts, round(backoff * 1000)],
            bool,
        )

    def stats(self) -> Operation[dict[str, Any]]:
        """Return delivered and dropped, of all relays of this name, and the attempts made at the next transition."""
        names = ("delivered", "dropped", "attempts")
        return command(
            lambda counts: {name: int(count or 0) for name, count in zip(names, counts, strict=True)},
            "HMGET",
            self._relay,
            *names,
        )
