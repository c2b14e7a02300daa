"""A relay delivers transitions to a sink, each at least once and in order. Of several with one name, one delivers.

Of several shards, each has its own position and lease, and the order holds for the transitions of each. A round
delivers those that are due in all shards by their times, and ends with the first failure.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.error_text import describe_error
from edge_redis._core.gather import gather
from edge_redis._core.operation import Batch, Invoke, Operation, command
from edge_redis._health import watch_scripts
from edge_redis._health.config import RelayConfig
from edge_redis._health.keys import HealthKeys
from edge_redis._health.leader_state import decode_count, read_relay
from edge_redis._health.node_label import read_label
from edge_redis._health.shards import list_logs, make_shards
from edge_redis._health.transition_entry import StreamEntry, decode_entry, decode_number
from edge_redis._health.transition_merge import order_of
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
_ONCE_WHILE_FLAPPING: Final = ("suspected", "unhealthy", "recovered", "healthy")


@dataclass(slots=True)
class Turn:
    """The work of a round in a shard: where the relay is in its stream, and the entries to deliver.

    ``attempts`` are those at the first entry so far, ``number`` is that of the transition at the position.
    """

    keys: HealthKeys
    position: str = ""
    attempts: int = 0
    now_ms: int = 0
    number: int | None = None
    stream_id: str = ""
    entries: Sequence[StreamEntry] = ()
    is_over: bool = False

    def advance(self, entry: StreamEntry) -> None:
        """Go on to an entry that is done."""
        self.position, self.attempts, self.number = entry[0].decode(), 0, decode_number(entry)


class Relay(Component):
    """A relay's position, kept in Redis, and its deliveries."""

    def __init__(
        self, sink: Callable[[Transition], object], config: RelayConfig, *, namespace: str = "default"
    ) -> None:
        self._sink = validation.check_callable("sink", sink)
        self._config = config
        self.namespace = namespace
        self.shards = make_shards(namespace, lambda keys: keys, config.shards, config.default_shards)
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
            name = self._config.position_name
            if shards := self.shards.known:
                logs = list_logs(self.shards, shards)
                await Batch([watch_scripts.release_lease(keys.relay(name), self._holder) for keys in logs])

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
        delivered, renewed = 0, None
        turns = await self.take()
        for turn, entry in _order_by_time(turns):
            if len(turns) > 1 and turn is not renewed and not turn.is_over:
                renewed = turn
                await self._renew(turn)
            if turn.is_over:
                continue
            outcome = await self._handle(turn, entry)
            delivered += outcome == "delivered"
            if outcome == "failed":
                break
        return delivered

    async def _handle(self, turn: Turn, entry: StreamEntry) -> str:
        """Deliver an entry and record that; return the outcome."""
        lost = self._count_lost(entry, turn.number, turn.attempts)
        delivery = Delivery(turn.position, turn.attempts, entry[0].decode(), "skipped")
        delivery = await self._deliver(delivery, entry, turn)
        number = decode_number(entry)
        delivery = delivery._replace(number="" if number is None else number, lost=lost)
        key = turn.keys.relay(self._config.position_name)
        turn.is_over = not await watch_scripts.record_delivery(key, self._holder, delivery, self._lease_ms)
        turn.advance(entry)
        return delivery.outcome

    async def _renew(self, turn: Turn) -> None:
        """Renew the lease of a shard, which may have run out while entries of others were delivered."""
        held = await self._take_lease(turn.keys)
        turn.is_over = not held or held[0].decode("utf-8", "replace") != turn.position

    def _count_lost(self, entry: StreamEntry, before: int | None, attempts: int) -> int:
        number = decode_number(entry)
        lost = 0 if number is None or before is None else max(0, number - before - 1)
        if lost and attempts == 0:
            _log.warning("%d transitions were removed from the stream before they were delivered", lost)
        return lost

    async def _deliver(self, delivery: Delivery, entry: StreamEntry, turn: Turn) -> Delivery:
        """Return the delivery with its outcome."""
        change = decode_entry(entry)
        if change is None or not self._is_wanted(change):
            return delivery
        name, location = await read_label(self.shards.known.choose(change.node_id), change.node_id)
        change = replace(
            change,
            namespace=self.namespace,
            node_name=name,
            location=location,
            event_id=f"{self.namespace}/{turn.stream_id}/{change.position}",
        )
        try:
            await Invoke(self._sink, change)
        except Exception as error:  # noqa: BLE001 -- any error of a sink is a failed delivery
            return self._fail(delivery, change, error, turn.now_ms)
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

    async def take(self) -> list[Turn]:
        """Take or keep the lease of each shard; return the transitions of each that are due."""
        if self._is_released:
            return []
        shards = self.shards.known or await self.shards.settle()
        takes: list[Awaitable[Any]] = [self._take(keys) for keys in list_logs(self.shards, shards)]
        *turns, record = await gather([*takes, self.shards.count.read()])
        self.shards.learn(record)  # streams are never closed, so nothing else says that the next round has new ones
        return _cut_turns(turns)

    async def _take(self, keys: HealthKeys) -> Turn:
        held = await self._take_lease(keys)
        if not held:
            return Turn(keys)
        position, _, now_ms, number, stream_id = (word.decode("utf-8", "replace") for word in held)
        if not _POSITION.fullmatch(position):
            key = keys.relay(self._config.position_name)
            raise CorruptDataError(f"the position in {key} is {position!r}; delete the key to begin anew")
        entries = await command(
            list[StreamEntry], "XRANGE", keys.transitions, f"({position}", "+", "COUNT", READ_AT_ONCE
        )
        number_at = decode_count(held[3]) if number.isdigit() else None
        return Turn(keys, position, decode_count(held[1]), int(now_ms), number_at, stream_id, entries)

    def _take_lease(self, keys: HealthKeys) -> Operation[list[bytes]]:
        name, new_id = self._config.position_name, secrets.token_hex(8)
        return watch_scripts.relay_lease(keys, name, self._holder, self._lease_ms, new_id)

    async def stats(self) -> dict[str, Any]:
        """Return the counts of all relays of this name and these states, and the last error."""
        logs = list_logs(self.shards, await self.shards.refresh())
        return await read_relay([keys.relay(self._config.position_name) for keys in logs])


def _cut_turns(turns: list[Turn]) -> list[Turn]:
    """Return turns up to the time that all reach, so that no later round has an earlier transition of another shard.

    A node's transitions may be in two streams, where it was moved.
    """
    ends = [_order(turn.entries[-1]) for turn in turns if len(turn.entries) == READ_AT_ONCE]
    if ends and len(turns) > 1:
        for turn in turns:
            turn.entries = [entry for entry in turn.entries if _order(entry) <= min(ends)]
    return turns


def _order(entry: StreamEntry) -> tuple[int, int]:
    return order_of(entry[0].decode())


def _order_by_time(turns: Sequence[Turn]) -> list[tuple[Turn, StreamEntry]]:
    """Return the entries of all shards by the time at which they were written."""
    rows = [(turn, entry) for turn in turns for entry in turn.entries]
    return rows if len(turns) == 1 else sorted(rows, key=lambda row: _order(row[1]))
