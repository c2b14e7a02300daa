"""Bringing to the cloud what a worker has taken from the outboxes: many scopes side by side, each in its order."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Invoke, InvokeAll, Operation
from edge_redis._sync.change import Change, from_entry
from edge_redis._sync.config import strategy_of
from edge_redis._sync.failures import OUTAGE, each, unavailable
from edge_redis._sync.replica import Replica
from edge_redis._sync.replies import Entry, Taken
from edge_redis._sync.signing import Keyring, verify
from edge_redis._sync.store import CloudStore
from edge_redis.errors import AuthorityConflictError, EdgeRedisError, SignatureError
from edge_redis.models import SyncEvent

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
        self._slots = IdempotencyKeys()
        self._refused: set[str] = set()

    def take(self, scope: str, count: int) -> Operation[Taken]:
        """Take the oldest entries of a scope's outbox."""
        return self._edge.take(scope, self._group, self._consumer, count, self._claim_idle_ms)

    async def deliver(self, waiting: Mapping[str, Taken]) -> int:
        """Deliver what was taken; return how many changes were handled.

        What has failed before goes one by one, after the others. An outage gives back what it
        left undone, at its count as it was.
        """
        undone = dict(waiting)
        try:
            handled = await self._together(undone)
            for scope in list(undone):
                handled += await self._singly(scope, undone[scope])
                del undone[scope]
        except OUTAGE as error:
            for scope, taken in undone.items():
                await self._give_back(scope, taken)
            raise unavailable(error) from error
        return handled

    async def _together(self, undone: dict[str, Taken]) -> int:
        """Deliver to the scopes side by side and take those from ``undone`` with which all is well, or all is said."""
        first = [scope for scope, taken in undone.items() if self._go_together(taken.entries)]
        outcomes = await self._apply(undone, first)
        applied = [scope for scope, outcome in outcomes.items() if outcome is None]
        handled = await self._confirm({scope: undone[scope].entries for scope in applied})
        for scope in applied:
            del undone[scope]
        for scope, outcome in outcomes.items():
            if isinstance(outcome, OUTAGE):
                raise outcome
            if isinstance(outcome, AuthorityConflictError):
                await self._hold(scope, undone.pop(scope).entries, outcome)
            elif outcome is not None:  # which change is to blame will show
                _log.warning(
                    "%d changes of %r failed together and will be tried singly: %s",
                    len(undone[scope].entries), scope, outcome,
                )  # fmt: skip
        return handled

    def _go_together(self, entries: Sequence[Entry]) -> bool:
        return all(tries <= self._tries_together for _, tries, _ in entries)

    async def _apply(self, taken: Mapping[str, Taken], scopes: Sequence[str]) -> dict[str, Exception | None]:
        """Let the cloud apply what was taken from the scopes, side by side; return each scope's error, or None."""
        outcomes: dict[str, Exception | None] = {}
        calls: dict[str, Invoke[object]] = {}
        for scope in scopes:
            try:
                calls[scope] = self._call(scope, taken[scope].settings, taken[scope].entries)
            except EdgeRedisError as error:
                outcomes[scope] = error
        found: Sequence[object] = await _called([*calls.values()], self._at_once)
        for scope, outcome in zip(calls, found, strict=True):
            outcomes[scope] = outcome if isinstance(outcome, Exception) else None
        return outcomes

    def _call(self, scope: str, settings: str, entries: Sequence[Entry]) -> Invoke[object]:
        if self._keyring:  # which asks a function of the user's: on this thread, and never twice at once
            return Invoke(self._cloud.apply, scope, self._changes(scope, entries), strategy_of(settings))
        return Invoke(self._bring, scope, settings, entries)

    def _bring(self, scope: str, settings: str, entries: Sequence[Entry]) -> object:
        """Let the cloud apply entries: decoded only here, so that it is at work on one scope while the next is read."""
        return self._cloud.apply(scope, self._changes(scope, entries), strategy_of(settings))

    def _changes(self, scope: str, entries: Sequence[Entry]) -> list[Change]:
        changes = [from_entry(entry_id, values) for entry_id, _, values in entries]
        for change in changes:
            verify(self._keyring, scope, change)
        return changes

    async def _singly(self, scope: str, taken: Taken) -> int:
        """Deliver one by one what failed, or killed its worker, in a batch: so that only the culprit's count rises.

        A count is that of the try that comes next. All go down by one until their turn comes, so
        that whoever takes over from a worker that died here, and counts one more for each, raises
        the one alone that was being tried.
        """
        handled = 0
        try:
            await self._count(scope, taken.entries, change=-1)
            for index, entry in enumerate(taken.entries):
                if not (await self._count(scope, [entry])):
                    break  # another worker has taken over
                done = await self._try(scope, taken.settings, entry)
                if not done:
                    await self._count(scope, taken.entries[index + 1 :])
                    break
                handled += done
        except OUTAGE:
            raise
        except EdgeRedisError as error:  # the scope's own keys at the edge: the others go on
            _log.error("%r is held up: %s", scope, error)
        return handled

    async def _try(self, scope: str, settings: str, entry: Entry) -> int:
        entry_id, tries, _ = entry
        if tries > self._max_deliveries:
            return await self._park(scope, entry_id, tries - 1, "no worker outlived it")
        try:
            await self._call(scope, settings, [entry])
        except OUTAGE:
            raise
        except AuthorityConflictError as error:
            return await self._hold(scope, [entry], error)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it goes to the dead letters
            text = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS]
            if tries >= self._max_deliveries or isinstance(error, SignatureError):  # which no further try would mend
                return await self._park(scope, entry_id, tries, text)
            _log.warning("change %r of %r failed, %d of %d: %s", entry_id, scope, tries, self._max_deliveries, text)
            await self._count(scope, [entry], change=1)
            return 0
        return await self._confirm({scope: [entry]})

    async def _hold(self, scope: str, entries: Sequence[Entry], error: AuthorityConflictError) -> int:
        """Leave a scope's changes where they are: none of them is to blame. It is told once, and tried again."""
        if scope not in self._refused:
            self._refused.add(scope)
            _log.error("%r is held up: %s", scope, error)
            event = SyncEvent("push", int(entries[-1][0].partition(b"-")[0]), success=False, error=str(error))
            with self._slots.acquire() as (slot, number):
                await self._edge.note(scope, event, slot, number)
        return 0

    async def _confirm(self, delivered: Mapping[str, Sequence[Entry]]) -> int:
        """Confirm entries of scopes, side by side; return how many were."""
        confirmed = await each([self._confirmation(scope, entries) for scope, entries in delivered.items()])
        self._refused.difference_update(delivered)
        return sum(
            len(entries) for entries, done in zip(delivered.values(), confirmed, strict=True) if done is not None
        )

    def _confirmation(self, scope: str, entries: Sequence[Entry]) -> Operation[int]:
        ids = [entry_id for entry_id, _, _ in entries]
        up_to, clock = int(ids[-1].partition(b"-")[0]), entries[-1][2][0]
        return self._edge.confirm(scope, up_to, group=self._group, clock=clock, ids=ids)

    async def _park(self, scope: str, entry_id: bytes, deliveries: int, text: str) -> int:
        """Give a change up. Later ones go on: each is a full state and does not need it."""
        _log.error(
            "change %r of %r goes to the dead letters after %d deliveries: %s", entry_id, scope, deliveries, text
        )
        await self._edge.park(scope, self._group, entry_id, deliveries, text)
        return 1

    async def _count(self, scope: str, entries: Sequence[Entry], *, change: int = 0, idle_ms: int = 0) -> int:
        counted = [(entry_id, tries + change) for entry_id, tries, _ in entries]
        return await self._edge.release(scope, self._group, self._consumer, idle_ms, counted)

    async def _give_back(self, scope: str, taken: Taken) -> None:
        """Let another worker have at once what this one did not try: it counts one more, and was no try."""
        try:
            await self._count(scope, taken.entries, change=-1, idle_ms=self._claim_idle_ms)
        except EdgeRedisError as error:  # the edge is away too: the claim time will do it
            _log.warning("changes of %r stay claimed for %d ms: %s", scope, self._claim_idle_ms, error)


async def _called(calls: Sequence[Invoke[object]], at_once: int) -> Sequence[object]:
    """Make calls side by side; return what each returned, or the error that it raised."""
    if len(calls) != 1:
        return (await InvokeAll(calls, at_once)) if calls else ()
    try:
        return [(await calls[0])]
    except Exception as error:  # noqa: BLE001 -- as InvokeAll does
        return [error]
