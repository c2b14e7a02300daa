"""Bringing to the cloud what a worker has taken from the outboxes: many scopes side by side, each in its order."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from edge_redis.core.operation import Call, Calls, Flow, Operation
from edge_redis.core.repeats import Slots
from edge_redis.errors import AuthorityConflictError, EdgeRedisError, SignatureError
from edge_redis.models import SyncEvent
from edge_redis.state.change import Change, from_entry
from edge_redis.state.operations import Replica
from edge_redis.state.replies import Entry, Taken
from edge_redis.state.settings import strategy_of
from edge_redis.state.signing import Keyring, verify
from edge_redis.state.store import CloudStore
from edge_redis.state.trouble import OUTAGE, each, unavailable

_log = logging.getLogger("edge_redis")

_MAX_ERROR_CHARS: Final = 500


class Delivery:
    """What one worker has taken, on its way: applied in the cloud, then confirmed at the edge."""

    def __init__(
        self,
        edge: Replica,
        cloud: CloudStore,
        keyring: Keyring | None,
        *,
        group: str,
        consumer: str,
        claim_idle_ms: int,
        max_deliveries: int,
    ) -> None:
        self._edge = edge
        self._cloud = cloud
        self._keyring = keyring
        self._at_once: int = getattr(cloud, "scopes_at_once", 1)
        self._group = group
        self._consumer = consumer
        self._claim_idle_ms = claim_idle_ms
        self._max_deliveries = max_deliveries
        # One that died with a batch in hand was most likely not killed by it: the heir tries the whole once more.
        self._tries_together = max(1, min(2, max_deliveries - 1))
        self._slots = Slots()
        self._refused: set[str] = set()

    def take(self, scope: str, count: int) -> Operation[Taken]:
        """Take the oldest entries of a scope's outbox."""
        return self._edge.take(scope, self._group, self._consumer, count, self._claim_idle_ms)

    def deliver(self, waiting: Mapping[str, Taken]) -> Flow[int]:
        """Deliver what was taken; return how many changes were handled.

        What has failed before goes one by one, after the others. An outage gives back what it
        left undone, at its count as it was.
        """
        undone = dict(waiting)
        try:
            handled = yield from self._together(undone)
            for scope in list(undone):
                handled += yield from self._singly(scope, undone[scope])
                del undone[scope]
        except OUTAGE as error:
            for scope, taken in undone.items():
                yield from self._give_back(scope, taken)
            raise unavailable(error) from error
        return handled

    def _together(self, undone: dict[str, Taken]) -> Flow[int]:
        """Deliver to the scopes side by side and take those from ``undone`` with which all is well, or all is said."""
        first = [scope for scope, taken in undone.items() if self._go_together(taken.entries)]
        outcomes = yield from self._apply(undone, first)
        applied = [scope for scope, outcome in outcomes.items() if outcome is None]
        handled = yield from self._confirm({scope: undone[scope].entries for scope in applied})
        for scope in applied:
            del undone[scope]
        for scope, outcome in outcomes.items():
            if isinstance(outcome, OUTAGE):
                raise outcome
            if isinstance(outcome, AuthorityConflictError):
                yield from self._hold(scope, undone.pop(scope).entries, outcome)
            elif outcome is not None:  # which change is to blame will show
                _log.warning(
                    "%d changes of %r failed together and will be tried singly: %s",
                    len(undone[scope].entries), scope, outcome,
                )  # fmt: skip
        return handled

    def _go_together(self, entries: Sequence[Entry]) -> bool:
        return all(tries <= self._tries_together for _, tries, _ in entries)

    def _apply(self, taken: Mapping[str, Taken], scopes: Sequence[str]) -> Flow[dict[str, Exception | None]]:
        """Let the cloud apply what was taken from the scopes, side by side; return each scope's error, or None."""
        outcomes: dict[str, Exception | None] = {}
        calls: dict[str, Call[object]] = {}
        for scope in scopes:
            try:
                calls[scope] = self._call(scope, taken[scope].settings, taken[scope].entries)
            except EdgeRedisError as error:
                outcomes[scope] = error
        found: Sequence[object] = yield from _called([*calls.values()], self._at_once)
        for scope, outcome in zip(calls, found, strict=True):
            outcomes[scope] = outcome if isinstance(outcome, Exception) else None
        return outcomes

    def _call(self, scope: str, settings: str, entries: Sequence[Entry]) -> Call[object]:
        if self._keyring:  # which asks a function of the user's: on this thread, and never twice at once
            return Call(self._cloud.apply, scope, self._changes(scope, entries), strategy_of(settings))
        return Call(self._bring, scope, settings, entries)

    def _bring(self, scope: str, settings: str, entries: Sequence[Entry]) -> object:
        """Let the cloud apply entries: decoded only here, so that it is at work on one scope while the next is read."""
        return self._cloud.apply(scope, self._changes(scope, entries), strategy_of(settings))

    def _changes(self, scope: str, entries: Sequence[Entry]) -> list[Change]:
        changes = [from_entry(entry_id, values) for entry_id, _, values in entries]
        for change in changes:
            verify(self._keyring, scope, change)
        return changes

    def _singly(self, scope: str, taken: Taken) -> Flow[int]:
        """Deliver one by one what failed, or killed its worker, in a batch: so that only the culprit's count rises.

        A count is that of the try that comes next. All go down by one until their turn comes, so
        that whoever takes over from a worker that died here, and counts one more for each, raises
        the one alone that was being tried.
        """
        handled = 0
        try:
            yield from self._count(scope, taken.entries, change=-1)
            for index, entry in enumerate(taken.entries):
                if not (yield from self._count(scope, [entry])):
                    break  # another worker has taken over
                done = yield from self._try(scope, taken.settings, entry)
                if not done:
                    yield from self._count(scope, taken.entries[index + 1 :])
                    break
                handled += done
        except OUTAGE:
            raise
        except EdgeRedisError as error:  # the scope's own keys at the edge: the others go on
            _log.error("%r is held up: %s", scope, error)
        return handled

    def _try(self, scope: str, settings: str, entry: Entry) -> Flow[int]:
        entry_id, tries, _ = entry
        if tries > self._max_deliveries:
            return (yield from self._park(scope, entry_id, tries - 1, "no worker outlived it"))
        try:
            yield from self._call(scope, settings, [entry])
        except OUTAGE:
            raise
        except AuthorityConflictError as error:
            return (yield from self._hold(scope, [entry], error))
        except Exception as error:  # noqa: BLE001 -- whatever it is, it goes to the dead letters
            text = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS]
            if tries >= self._max_deliveries or isinstance(error, SignatureError):  # which no further try would mend
                return (yield from self._park(scope, entry_id, tries, text))
            _log.warning("change %r of %r failed, %d of %d: %s", entry_id, scope, tries, self._max_deliveries, text)
            yield from self._count(scope, [entry], change=1)
            return 0
        return (yield from self._confirm({scope: [entry]}))

    def _hold(self, scope: str, entries: Sequence[Entry], error: AuthorityConflictError) -> Flow[int]:
        """Leave a scope's changes where they are: none of them is to blame. It is told once, and tried again."""
        if scope not in self._refused:
            self._refused.add(scope)
            _log.error("%r is held up: %s", scope, error)
            event = SyncEvent("push", int(entries[-1][0].partition(b"-")[0]), success=False, error=str(error))
            with self._slots.hold() as (slot, number):
                yield from self._edge.note(scope, event, slot, number)
        return 0

    def _confirm(self, delivered: Mapping[str, Sequence[Entry]]) -> Flow[int]:
        """Confirm entries of scopes, side by side; return how many were."""
        confirmed = yield from each([self._confirmation(scope, entries) for scope, entries in delivered.items()])
        self._refused.difference_update(delivered)
        return sum(
            len(entries) for entries, done in zip(delivered.values(), confirmed, strict=True) if done is not None
        )

    def _confirmation(self, scope: str, entries: Sequence[Entry]) -> Operation[int]:
        ids = [entry_id for entry_id, _, _ in entries]
        up_to, clock = int(ids[-1].partition(b"-")[0]), entries[-1][2][0]
        return self._edge.confirm(scope, up_to, group=self._group, clock=clock, ids=ids)

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


def _called(calls: Sequence[Call[object]], at_once: int) -> Flow[Sequence[object]]:
    """Make calls side by side; return what each returned, or the error that it raised."""
    if len(calls) != 1:
        return (yield from Calls(calls, at_once)) if calls else ()
    try:
        return [(yield from calls[0])]
    except Exception as error:  # noqa: BLE001 -- as Calls does
        return [error]
