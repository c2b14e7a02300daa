"""The worker between an edge and the cloud: pushes what waits at the edge, pulls what changed in the cloud.

The entries delivered to a worker and not yet confirmed are its lease on the scope: no other
worker takes entries of that scope before they have been idle for the claim time. So order
within a scope needs no lock, and a worker that dies loses its scopes by doing nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from edge_redis.core import check
from edge_redis.core.operation import Call, Flow, Operation, command
from edge_redis.core.subject import Subject
from edge_redis.errors import EdgeRedisError
from edge_redis.state.change import from_entry
from edge_redis.state.dead import MAX_READ, DeadLetters
from edge_redis.state.keys import StateKeys
from edge_redis.state.operations import Replica, Taken
from edge_redis.state.pulling import Puller
from edge_redis.state.settings import Settings, strategy_of
from edge_redis.state.store import CloudStore
from edge_redis.state.trouble import OUTAGE, each, unavailable

_log = logging.getLogger("edge_redis")

MAX_BATCH: Final = 1000
_SCOPES_AT_ONCE: Final = 32
_MAX_ERROR_CHARS: Final = 500


class Worker(Subject):
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
    ) -> None:
        self._cloud = cloud
        self._group = check.identifier("group", group)
        self._consumer = check.identifier("consumer", consumer)
        self._batch_size = check.integer("batch_size", batch_size, least=1, most=MAX_BATCH)
        self._claim_idle_ms = round(check.positive("claim_idle_seconds", claim_idle_seconds) * 1000)
        self._max_deliveries = check.integer("max_deliveries", max_deliveries, least=1, most=1_000_000)
        self._edge = Replica(StateKeys(namespace, "state"), Settings("edge"))
        self._puller = Puller(self._edge, cloud, self._batch_size)
        self._dead = DeadLetters(self._edge, cloud)

    def run_once(self) -> Flow[int]:
        """Push up to a batch of each of the scopes longest waiting, pull a batch; return how many changes were handled.

        A change is handled once the cloud has it and the edge has confirmed it, once it is in
        the dead letters, or once it was applied at the edge. 0 says that there is nothing to do now.

        Raises:
            StoreUnavailableError: the edge or the cloud cannot be reached; nothing is lost, call again.

        """
        pushed = yield from self._push()
        pulled = yield from self._puller.pull()
        return pushed + pulled

    def lag(self) -> Flow[dict[str, Any]]:
        """Return scopes_waiting, how many have changes that the cloud has not had, and oldest_seconds.

        The latter is for how long the one waiting longest has had some, by the server's clock, 0.0
        for none. It is what to watch: it grows when the cloud is away, however few changes there are.
        """
        keys = self._edge.keys
        waiting: int = yield from command(int, "ZCARD", keys.work)
        now: float = yield from command(lambda reply: reply[0] + reply[1] / 1e6, "TIME")
        since = yield from command(lambda found: [score for _, score in found], "ZRANGE", keys.work, 0, 0, "WITHSCORES")
        age = max(0.0, now - float(since[0]) / 1000) if since else 0.0
        return {"scopes_waiting": waiting, "oldest_seconds": age}

    def dead_letters(self, limit: int = 100) -> Flow[list[dict[str, Any]]]:
        """Return the oldest ``limit`` changes that were given up.

        Each is a dict of id, scope, version, data (None where it does not decode), error (of the
        last try), deliveries and timestamp (UTC, when it was given up).
        """
        letters = yield from self._dead.read(check.integer("limit", limit, least=1, most=MAX_READ))
        return [letter.describe() for letter in letters]

    def replay_dead_letters(self, limit: int = 100) -> Flow[int]:
        """Try the oldest ``limit`` dead letters once more; return how many the cloud now has.

        What was written to the scope since stays: an old change that comes late loses to it. Those
        that fail again stay among the dead letters.

        Raises:
            StoreUnavailableError: the edge or the cloud cannot be reached; nothing is lost, call again.

        """
        return self._dead.replay(check.integer("limit", limit, least=1, most=MAX_READ))

    def _push(self) -> Flow[int]:
        handled = offset = 0
        while not handled:
            names: list[bytes] = yield from command(
                list, "ZRANGE", self._edge.keys.work, offset, offset + _SCOPES_AT_ONCE - 1
            )
            if not names:
                break
            # No scope of ours has a name that does not decode; what somebody else put there finds no outbox.
            scopes = [name.decode(errors="replace") for name in names]
            found = yield from each([self._take(scope, self._batch_size) for scope in scopes])
            waiting = [(scope, taken) for scope, taken in zip(scopes, found, strict=True) if taken and taken.entries]
            handled += yield from self._deliver_all(waiting)
            offset += len(scopes)
        return handled

    def _deliver_all(self, waiting: Sequence[tuple[str, Taken]]) -> Flow[int]:
        """Deliver to one scope after another. An outage gives back what it left untried, at its count as it was."""
        handled = 0
        for index, (scope, taken) in enumerate(waiting):
            try:
                handled += yield from self._deliver(scope, taken)
            except OUTAGE as error:
                for untried in waiting[index:]:
                    yield from self._give_back(*untried)
                raise unavailable(error) from error
            except EdgeRedisError as error:  # the scope's own keys at the edge: the others go on
                _log.error("%r is held up: %s", scope, error)
        return handled

    def _take(self, scope: str, count: int) -> Operation[Taken]:
        return self._edge.take(scope, self._group, self._consumer, count, self._claim_idle_ms)

    def _deliver(self, scope: str, taken: Taken) -> Flow[int]:
        if any(deliveries > 1 for _, deliveries, _ in taken.entries):
            return (yield from self._deliver_singly(scope, taken))
        try:
            yield from self._apply(scope, taken)
        except OUTAGE:
            raise
        except Exception as error:  # noqa: BLE001 -- which change is to blame will show
            _log.warning(
                "%d changes of %r failed together and will be tried singly: %s", len(taken.entries), scope, error
            )
            return (yield from self._deliver_singly(scope, taken))
        return (yield from self._confirm(scope, taken))

    def _deliver_singly(self, scope: str, taken: Taken) -> Flow[int]:
        """Deliver one by one what failed, or killed its worker, in a batch: so that only the culprit's count rises."""
        yield from self._release(scope, taken, idle_ms=0)
        handled = 0
        for _ in taken.entries:
            one = yield from self._take(scope, 1)
            done = yield from self._try(scope, one) if one.entries else _nothing()
            if not done:
                break
            handled += done
        return handled

    def _try(self, scope: str, one: Taken) -> Flow[int]:
        entry_id, deliveries, _ = one.entries[0]
        if deliveries > self._max_deliveries:
            return (yield from self._park(scope, entry_id, deliveries - 1, "no worker outlived it"))
        try:
            yield from self._apply(scope, one)
        except OUTAGE:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, it goes to the dead letters
            text = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS]
            if deliveries >= self._max_deliveries:
                return (yield from self._park(scope, entry_id, deliveries, text))
            _log.warning(
                "change %r of %r failed, %d of %d: %s", entry_id, scope, deliveries, self._max_deliveries, text
            )
            return 0
        return (yield from self._confirm(scope, one))

    def _apply(self, scope: str, taken: Taken) -> Flow[None]:
        changes = [from_entry(entry_id, values) for entry_id, _, values in taken.entries]
        for change in changes:
            change.verify()
        yield from Call(self._cloud.apply, scope, changes, strategy_of(taken.settings))

    def _confirm(self, scope: str, taken: Taken) -> Flow[int]:
        ids = [entry_id for entry_id, _, _ in taken.entries]
        up_to = int(ids[-1].partition(b"-")[0])
        yield from self._edge.confirm(scope, up_to, group=self._group, ids=ids)
        return len(ids)

    def _park(self, scope: str, entry_id: bytes, deliveries: int, text: str) -> Flow[int]:
        """Give a change up. Later ones go on: each is a full state and does not need it."""
        _log.error(
            "change %r of %r goes to the dead letters after %d deliveries: %s", entry_id, scope, deliveries, text
        )
        yield from self._edge.park(scope, self._group, entry_id, deliveries, text)
        return 1

    def _release(self, scope: str, taken: Taken, *, idle_ms: int) -> Operation[int]:
        entries = [(entry_id, deliveries) for entry_id, deliveries, _ in taken.entries]
        return self._edge.release(scope, self._group, self._consumer, idle_ms, entries)

    def _give_back(self, scope: str, taken: Taken) -> Flow[None]:
        try:
            yield from self._release(scope, taken, idle_ms=self._claim_idle_ms)
        except EdgeRedisError as error:  # the edge is away too: the claim time will do it
            _log.warning("changes of %r stay claimed for %d ms: %s", scope, self._claim_idle_ms, error)


def _nothing() -> Flow[int]:
    yield from ()
    return 0
