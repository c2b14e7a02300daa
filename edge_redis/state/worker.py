"""The worker between an edge and the cloud: pushes what waits at the edge, pulls what changed in the cloud.

The entries delivered to a worker and not yet confirmed are its lease on the scope: no other
worker takes entries of that scope before they have been idle for the claim time. So order
within a scope needs no lock, and a worker that dies loses its scopes by doing nothing.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any, Final

from edge_redis.core import check
from edge_redis.core.operation import Call, Flow, Operation, command
from edge_redis.core.repeats import Slots
from edge_redis.core.subject import Subject
from edge_redis.errors import AuthorityConflictError, EdgeRedisError, SignatureError
from edge_redis.models import SyncEvent
from edge_redis.state.change import Change, from_entry
from edge_redis.state.dead import MAX_READ, DeadLetters
from edge_redis.state.keys import StateKeys
from edge_redis.state.operations import Entry, Replica, Taken
from edge_redis.state.pulling import Puller
from edge_redis.state.settings import Settings, strategy_of
from edge_redis.state.signing import Keyring, Keys
from edge_redis.state.store import CloudStore
from edge_redis.state.trouble import OUTAGE, each, unavailable

_log = logging.getLogger("edge_redis")

MAX_BATCH: Final = 1000
_SCOPES_AT_ONCE: Final = 32
_OUTBOXES_AT_ONCE: Final = 500
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
        keys: Keys | None = None,
    ) -> None:
        self._cloud = cloud
        self._group = check.identifier("group", group)
        self._consumer = f"{check.identifier('consumer', consumer)}#{secrets.token_hex(6)}"
        self._batch_size = check.integer("batch_size", batch_size, least=1, most=MAX_BATCH)
        self._claim_idle_ms = round(check.positive("claim_idle_seconds", claim_idle_seconds) * 1000)
        self._max_deliveries = check.integer("max_deliveries", max_deliveries, least=1, most=1_000_000)
        self._edge = Replica(StateKeys(namespace, "state"), Settings("edge"))
        self._keyring = None if keys is None else Keyring(namespace, keys)
        self._puller = Puller(self._edge, cloud, self._batch_size, self._keyring)
        self._dead = DeadLetters(self._edge, cloud, self._keyring)
        self._slots = Slots()
        self._is_greeted = False
        self._refused: set[str] = set()

    def run_once(self) -> Flow[int]:
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
                handled += yield from way()
        except OUTAGE:
            self._is_greeted = False
            raise
        return handled

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

    def status(self) -> Flow[dict[str, Any]]:
        """Return what ``lag`` does, and further: scopes, changes_waiting, dead_letters and pushed_total.

        The last one counts the changes that workers have brought to the cloud, ever: two readings
        of it give the throughput. Reads each outbox's length, a few hundred a round trip.
        """
        keys = self._edge.keys
        found = yield from self.lag()
        found["scopes"] = yield from command(int, "HLEN", keys.scopes)
        found["changes_waiting"] = yield from self._changes_waiting()
        found["dead_letters"] = yield from command(int, "XLEN", keys.dead)
        found["pushed_total"] = yield from command(lambda reply: int(reply or 0), "HGET", keys.totals, "pushed")
        return found

    def _changes_waiting(self) -> Flow[int]:
        total, offset = 0, 0
        while names := (yield from self._waiting(offset, _OUTBOXES_AT_ONCE)):
            scopes = [name.decode(errors="replace") for name in names]
            lengths = yield from each([command(int, "XLEN", self._edge.keys.pending(scope)) for scope in scopes])
            total, offset = total + sum(length or 0 for length in lengths), offset + len(names)
        return total

    def dead_letters(self, limit: int = 100) -> Flow[list[dict[str, Any]]]:
        """Return the oldest ``limit`` changes that were given up.

        Each is a dict of id, scope, version, data (None of a delete, and where it does not decode), error (of the
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
            names = yield from self._waiting(offset)
            if not names:
                break
            # No scope of ours has a name that does not decode; what somebody else put there finds no outbox.
            scopes = [name.decode(errors="replace") for name in names]
            found = yield from each([self._take(scope, self._batch_size) for scope in scopes])
            waiting = [(scope, taken) for scope, taken in zip(scopes, found, strict=True) if taken and taken.entries]
            handled += yield from self._deliver_all(waiting)
            offset += len(scopes)
        return handled

    def _waiting(self, offset: int, count: int = _SCOPES_AT_ONCE) -> Operation[list[bytes]]:
        return command(list, "ZRANGE", self._edge.keys.work, offset, offset + count - 1)

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
        if any(tries > 1 for _, tries, _ in taken.entries):
            return (yield from self._deliver_singly(scope, taken))
        try:
            yield from self._apply(scope, taken.settings, taken.entries)
        except OUTAGE:
            raise
        except AuthorityConflictError as error:
            return (yield from self._hold(scope, taken, error))
        except Exception as error:  # noqa: BLE001 -- which change is to blame will show
            _log.warning(
                "%d changes of %r failed together and will be tried singly: %s", len(taken.entries), scope, error
            )
            return (yield from self._deliver_singly(scope, taken))
        return (yield from self._confirm(scope, taken.entries))

    def _deliver_singly(self, scope: str, taken: Taken) -> Flow[int]:
        """Deliver one by one what failed, or killed its worker, in a batch: so that only the culprit's count rises.

        A count is that of the try that comes next. All go down by one until their turn comes, so
        that whoever takes over from a worker that died here, and counts one more for each, raises
        the one alone that was being tried.
        """
        yield from self._count(scope, taken.entries, change=-1)
        handled = 0
        for index, entry in enumerate(taken.entries):
            if not (yield from self._count(scope, [entry])):
                break  # another worker has taken over
            done = yield from self._try(scope, taken.settings, entry)
            if not done:
                yield from self._count(scope, taken.entries[index + 1 :])
                break
            handled += done
        return handled

    def _try(self, scope: str, settings: str, entry: Entry) -> Flow[int]:
        entry_id, tries, _ = entry
        if tries > self._max_deliveries:
            return (yield from self._park(scope, entry_id, tries - 1, "no worker outlived it"))
        try:
            yield from self._apply(scope, settings, [entry])
        except OUTAGE:
            raise
        except AuthorityConflictError as error:
            return (yield from self._hold(scope, Taken(settings, [entry]), error))
        except Exception as error:  # noqa: BLE001 -- whatever it is, it goes to the dead letters
            text = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS]
            if tries >= self._max_deliveries or isinstance(error, SignatureError):  # which no further try would mend
                return (yield from self._park(scope, entry_id, tries, text))
            _log.warning("change %r of %r failed, %d of %d: %s", entry_id, scope, tries, self._max_deliveries, text)
            yield from self._count(scope, [entry], change=1)
            return 0
        return (yield from self._confirm(scope, [entry]))

    def _hold(self, scope: str, taken: Taken, error: AuthorityConflictError) -> Flow[int]:
        """Leave a scope's changes where they are: none of them is to blame. It is told once, and tried again."""
        if scope not in self._refused:
            self._refused.add(scope)
            _log.error("%r is held up: %s", scope, error)
            event = SyncEvent("push", int(taken.entries[-1][0].partition(b"-")[0]), success=False, error=str(error))
            with self._slots.hold() as (slot, number):
                yield from self._edge.note(scope, event, slot, number)
        return 0

    def _apply(self, scope: str, settings: str, entries: Sequence[Entry]) -> Flow[None]:
        changes = [from_entry(entry_id, values) for entry_id, _, values in entries]
        for change in changes:
            self._verify(scope, change)
        yield from Call(self._cloud.apply, scope, changes, strategy_of(settings))

    def _verify(self, scope: str, change: Change) -> None:
        """Raise ChecksumMismatchError or SignatureError where a change is not to be brought to the cloud."""
        change.verify()
        if self._keyring:
            self._keyring.check_change(scope, change)

    def _confirm(self, scope: str, entries: Sequence[Entry]) -> Flow[int]:
        ids = [entry_id for entry_id, _, _ in entries]
        up_to, clock = int(ids[-1].partition(b"-")[0]), entries[-1][2][0]
        yield from self._edge.confirm(scope, up_to, group=self._group, clock=clock, ids=ids)
        self._refused.discard(scope)
        return len(ids)

    def _park(self, scope: str, entry_id: bytes, deliveries: int, text: str) -> Flow[int]:
        """Give a change up. Later ones go on: each is a full state and does not need it."""
        _log.error(
            "change %r of %r goes to the dead letters after %d deliveries: %s", entry_id, scope, deliveries, text
        )
        yield from self._edge.park(scope, self._group, entry_id, deliveries, text)
        return 1

    def _count(self, scope: str, entries: Sequence[Entry], *, change: int = 0, idle_ms: int = 0) -> Flow[int]:
        counted = [(entry_id, tries + change) for entry_id, tries, _ in entries]
        return (yield from self._edge.release(scope, self._group, self._consumer, idle_ms, counted))

    def _give_back(self, scope: str, taken: Taken) -> Flow[None]:
        """Let another worker have at once what this one did not try: it counts one more, and was no try."""
        try:
            yield from self._count(scope, taken.entries, change=-1, idle_ms=self._claim_idle_ms)
        except EdgeRedisError as error:  # the edge is away too: the claim time will do it
            _log.warning("changes of %r stay claimed for %d ms: %s", scope, self._claim_idle_ms, error)
