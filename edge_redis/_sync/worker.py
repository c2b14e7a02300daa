"""The worker between an edge and the cloud: pushes what waits at the edge, pulls what changed in the cloud.

The entries delivered to a worker and not yet confirmed are its lease on the scope: no other
worker takes entries of that scope before they have been idle for the claim time. So order
within a scope needs no lock, and a worker that dies loses its scopes by doing nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.operation import Operation, command
from edge_redis._sync.config import Settings
from edge_redis._sync.dead_letters import MAX_READ, DeadLetters
from edge_redis._sync.delivery import Delivery
from edge_redis._sync.failures import OUTAGE, each
from edge_redis._sync.keys import StateKeys
from edge_redis._sync.pull import Puller
from edge_redis._sync.replica import Replica
from edge_redis._sync.signing import Keyring, Keys
from edge_redis._sync.store import CloudStore
from edge_redis._sync.tombstones import COLLECTED_AFTER, collect

MAX_BATCH: Final = 1000
_SCOPES_AT_ONCE: Final = 32
_OUTBOXES_AT_ONCE: Final = 500


class Worker(Component):
    """Everything that CloudWorker does, as steps."""

    def __init__(
        self,
        cloud: CloudStore,
        *,
        namespace: str,
        group: str,
        consumer: str,
        batch_size: int,
        claim_idle_seconds: float,
        max_deliveries: int,
        keys: Keys | None = None,
    ) -> None:
        self._batch_size = validation.integer("batch_size", batch_size, least=1, most=MAX_BATCH)
        self._edge = Replica(StateKeys(namespace, "state"), Settings("edge"))
        keyring = None if keys is None else Keyring(namespace, keys)
        self._delivery = Delivery(
            self._edge,
            cloud,
            keyring,
            group=validation.identifier("group", group),
            consumer=f"{validation.identifier('consumer', consumer)}#{secrets.token_hex(6)}",
            claim_idle_ms=round(validation.positive("claim_idle_seconds", claim_idle_seconds) * 1000),
            max_deliveries=validation.integer("max_deliveries", max_deliveries, least=1, most=1_000_000),
        )
        self._puller = Puller(self._edge, cloud, self._batch_size, keyring)
        self._dead = DeadLetters(self._edge, cloud, keyring)
        self._is_greeted = False

    async def run_once(self) -> int:
        """Push up to a batch of each of the scopes longest waiting, pull a batch; return how many changes were handled.

        A change is handled once the cloud has it and the edge has confirmed it, once it is in
        the dead letters, or once it was applied at the edge. 0 says that there is nothing to do now.

        Raises:
            StoreUnavailableError: the edge or the cloud cannot be reached; nothing is lost, call again.

        """
        # First, and after an outage: see whether either end has gone back, before anything is pushed over it.
        ways = (self._push, self._puller.pull) if self._is_greeted else (self._puller.pull, self._push)
        self._is_greeted = True
        handled = 0
        try:
            for way in ways:
                handled += await way()
        except OUTAGE:
            self._is_greeted = False
            raise
        return handled

    async def lag(self) -> dict[str, Any]:
        """Return scopes_waiting, how many have changes that the cloud has not had, and oldest_seconds.

        The latter is for how long the one waiting longest has had some, by the server's clock, 0.0
        for none. It is what to watch: it grows when the cloud is away, however few changes there are.
        """
        keys = self._edge.keys
        waiting: int = await command(int, "ZCARD", keys.work)
        now: float = await command(lambda reply: reply[0] + reply[1] / 1e6, "TIME")
        since = await command(lambda found: [score for _, score in found], "ZRANGE", keys.work, 0, 0, "WITHSCORES")
        age = max(0.0, now - float(since[0]) / 1000) if since else 0.0
        return {"scopes_waiting": waiting, "oldest_seconds": age}

    async def status(self) -> dict[str, Any]:
        """Return what ``lag`` does, and further: scopes, changes_waiting, dead_letters and pushed_total.

        The last one counts the changes that workers have brought to the cloud, ever: two readings
        of it give the throughput. Reads each outbox's length, a few hundred a round trip.
        """
        keys = self._edge.keys
        found = await self.lag()
        found["scopes"] = await command(int, "HLEN", keys.scopes)
        found["changes_waiting"] = await self._changes_waiting()
        found["dead_letters"] = await command(int, "XLEN", keys.dead)
        found["pushed_total"] = await command(lambda reply: int(reply or 0), "HGET", keys.totals, "pushed")
        return found

    async def _changes_waiting(self) -> int:
        total, offset = 0, 0
        while names := (await self._waiting(offset, _OUTBOXES_AT_ONCE)):
            scopes = [name.decode(errors="replace") for name in names]
            lengths = await each([command(int, "XLEN", self._edge.keys.pending(scope)) for scope in scopes])
            total, offset = total + sum(length or 0 for length in lengths), offset + len(names)
        return total

    async def dead_letters(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the oldest ``limit`` changes that were given up.

        Each is a dict of id, scope, version, data (None of a delete, and where it does not decode), error (of the
        last try), deliveries and timestamp (UTC, when it was given up).
        """
        letters = await self._dead.read(validation.integer("limit", limit, least=1, most=MAX_READ))
        return [letter.describe() for letter in letters]

    def replay_dead_letters(self, limit: int = 100) -> Awaitable[int]:
        """Try the oldest ``limit`` dead letters once more; return how many the cloud now has.

        What was written to the scope since stays: an old change that comes late loses to it. Those
        that fail again stay among the dead letters.

        Raises:
            StoreUnavailableError: the edge or the cloud cannot be reached; nothing is lost, call again.

        """
        return self._dead.replay(validation.integer("limit", limit, least=1, most=MAX_READ))

    def collect(self, deleted_seconds: float = COLLECTED_AFTER) -> Awaitable[int]:
        """Forget the scopes of this edge that were deleted so many seconds ago or more; return how many.

        See ``RedisCloudStore.collect``, which does the same in the cloud. A delete that has not gone up
        yet is kept.
        """
        return collect(self._edge, validation.non_negative("deleted_seconds", deleted_seconds))

    async def _push(self) -> int:
        handled = offset = 0
        while not handled:
            names = await self._waiting(offset)
            if not names:
                break
            # No scope of ours has a name that does not decode; what somebody else put there finds no outbox.
            scopes = [name.decode(errors="replace") for name in names]
            found = await each([self._delivery.take(scope, self._batch_size) for scope in scopes])
            waiting = {scope: taken for scope, taken in zip(scopes, found, strict=True) if taken and taken.entries}
            handled += await self._delivery.deliver(waiting)
            offset += len(scopes)
        return handled

    def _waiting(self, offset: int, count: int = _SCOPES_AT_ONCE) -> Operation[list[bytes]]:
        return command(list, "ZRANGE", self._edge.keys.work, offset, offset + count - 1)
