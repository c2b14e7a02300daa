"""Pushes an edge's changes: leases them from the outboxes, lets the cloud apply them, confirms them.

Several scopes are pushed concurrently, the changes of each in their order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edge_redis._core.error_text import describe_error
from edge_redis._core.operation import Invoke, InvokeAll, Renewal
from edge_redis._sync.change import Change
from edge_redis._sync.cloud_health import CloudHealth
from edge_redis._sync.cloud_store import AnyCloudStore
from edge_redis._sync.cloud_store_calls import check_results, find_apply_many
from edge_redis._sync.config import WorkerConfig, strategy_of
from edge_redis._sync.event_recorder import EventRecorder
from edge_redis._sync.failures import OUTAGE, unavailable
from edge_redis._sync.outbox_leases import OutboxLeases
from edge_redis._sync.patterns import Patterns
from edge_redis._sync.replica import Replica
from edge_redis._sync.replies import OutboxLease
from edge_redis._sync.signing import Keyring
from edge_redis._sync.transfer import TransferSize
from edge_redis._sync.wire import LeasedEntry
from edge_redis.errors import AuthorityConflictError, EdgeRedisError, SignatureError
from edge_redis.models import ConflictStrategy, SyncEvent

_log = logging.getLogger("edge_redis")

SCOPES_A_PAGE: Final = 32

SCOPES_A_CALL: Final = 256
"""A page, where the cloud applies changes of many scopes in one call."""


class Pusher:
    """Pushes the changes that one worker has leased."""

    def __init__(
        self,
        edge: Replica,
        cloud: AnyCloudStore,
        config: WorkerConfig,
        keyring: Keyring | None,
        transfer: TransferSize,
        pushed: Patterns,
    ) -> None:
        self._cloud = cloud
        self._config = config
        self._keyring = keyring
        self._pushed = pushed
        self._transfer = transfer
        self._scopes_at_once: int = getattr(cloud, "scopes_at_once", 1)
        self._apply_many = find_apply_many(cloud)
        self._events = EventRecorder(edge)
        self._held_up: set[str] = set()
        self.has_waiting = False
        """Whether the last push left changes that a later one may bring to the cloud."""
        self.cloud_health = CloudHealth(cloud)
        self.leases = OutboxLeases(edge, config, transfer)

    async def push(self) -> int:
        """Push up to a batch of each of the scopes that wait longest; return how many changes were handled."""
        handled = offset = 0
        self.has_waiting = False
        page = SCOPES_A_PAGE if self._apply_many is None else SCOPES_A_CALL
        while not handled and (scopes := await self.leases.read_waiting(offset, page)):
            carried = self._pushed.select(scopes)
            leases, tried = await self.leases.take(carried)
            if leases:
                handled += await self._measure(leases)
            self.has_waiting |= not self._held_up.issuperset(carried)
            offset += len(scopes) if tried == len(carried) else scopes.index(carried[tried])
        return handled

    async def _measure(self, leases: Mapping[str, OutboxLease]) -> int:
        """Deliver the leased changes, and adapt how much is leased next; return how many were handled."""
        self._transfer.begin()
        try:
            handled = await self._deliver(leases)
        except OUTAGE:
            self._transfer.fail()
            raise
        self._transfer.end(self.leases.taken_bytes, self.leases.taken_bytes)
        return handled

    async def _deliver(self, leases: Mapping[str, OutboxLease]) -> int:
        """Deliver the leased changes; return how many were handled.

        Changes that have failed before go one by one, after the others. After an outage the leases that were not
        handled are given back, with their counts as they were.
        """
        unhandled = self.leases.unhandled = dict(leases)
        try:
            handled = await self._deliver_batches(unhandled)
            for scope in list(unhandled):
                handled += await self._deliver_singly(scope, unhandled[scope])
                del unhandled[scope]
        except OUTAGE as error:
            for scope, lease in unhandled.items():
                await self.leases.give_back(scope, lease)
            raise unavailable(error) from error
        finally:
            self.leases.unhandled = {}
        return handled

    async def _deliver_batches(self, unhandled: dict[str, OutboxLease]) -> int:
        """Deliver whole leases concurrently, and remove those from ``unhandled`` that need no further try now."""
        most = self._config.tries_together
        outcomes = await self._apply({scope: lease for scope, lease in unhandled.items() if lease.deliveries <= most})
        applied: dict[str, Sequence[LeasedEntry]] = {}
        for scope, outcome in outcomes.items():
            if outcome is None:
                applied[scope] = unhandled[scope].entries
        self._held_up.difference_update(applied)
        handled = (await self.leases.confirm(applied)) if applied else 0
        for scope in applied:
            del unhandled[scope]
        for scope, outcome in outcomes.items():
            if isinstance(outcome, OUTAGE):
                raise outcome
            if isinstance(outcome, AuthorityConflictError):
                await self._hold_up(scope, unhandled.pop(scope).entries, outcome)
            elif outcome is not None:  # the single tries will show which change fails
                count = len(unhandled[scope].entries)
                text = describe_error(outcome)
                _log.warning("%d changes of %r failed together and will be tried singly: %s", count, scope, text)
        return handled

    async def _apply(self, leases: Mapping[str, OutboxLease]) -> dict[str, Exception | None]:
        """Let the cloud apply leases concurrently; return each scope's error, or None."""
        if self._apply_many is not None and len(leases) > 1:
            return await self._apply_together(self._apply_many, leases)
        outcomes: dict[str, Exception | None] = {}
        calls: dict[str, Invoke[object]] = {}
        for scope, lease in leases.items():
            try:
                calls[scope] = self._call(scope, lease.settings, lease.entries)
            except EdgeRedisError as error:
                outcomes[scope] = error
        results = await _invoke([*calls.values()], self._scopes_at_once, self.leases.renewal)
        for scope, result in zip(calls, results, strict=True):
            outcomes[scope] = result if isinstance(result, Exception) else None
            if not isinstance(result, Exception):
                self.cloud_health.add_success(scope)
        return outcomes

    async def _apply_together(
        self, apply_many: Callable[..., object], leases: Mapping[str, OutboxLease]
    ) -> dict[str, Exception | None]:
        """Let the cloud apply leases in one call; return each scope's error, or None."""
        outcomes: dict[str, Exception | None] = {}
        batches: dict[str, tuple[Sequence[Change], ConflictStrategy]] = {}
        for scope, lease in leases.items():
            try:
                batches[scope] = self._decode_changes(scope, lease.entries), strategy_of(lease.settings)
            except EdgeRedisError as error:
                outcomes[scope] = error
        try:
            found = check_results(await Invoke(apply_many, batches, renewal=self.leases.renewal))
        except Exception as error:  # noqa: BLE001 -- as of a single scope: the tries that follow decide
            found = dict.fromkeys(batches, error)
        for scope in batches:
            result = found.get(scope)
            outcomes[scope] = result if isinstance(result, Exception) else None
            if not isinstance(result, Exception):
                self.cloud_health.add_success(scope)
        return outcomes

    def _call(self, scope: str, settings: str, entries: Sequence[LeasedEntry]) -> Invoke[object]:
        if self._keyring:  # a keyring may call the user's function: on this thread only, one call at a time
            changes = self._decode_changes(scope, entries)
            return Invoke(self._cloud.apply, scope, changes, strategy_of(settings))
        return Invoke(self._decode_and_apply, scope, settings, entries)

    def _decode_and_apply(self, scope: str, settings: str, entries: Sequence[LeasedEntry]) -> object:
        """Decode entries and let the cloud apply them: on a thread, while the cloud works on other scopes."""
        return self._cloud.apply(scope, self._decode_changes(scope, entries), strategy_of(settings))

    def _decode_changes(self, scope: str, entries: Sequence[LeasedEntry]) -> list[Change]:
        changes = []
        for entry in entries:
            change = entry.change()
            change.verify()
            if self._keyring:
                self._keyring.check_change(scope, change)
            changes.append(change)
        return changes

    async def _deliver_singly(self, scope: str, lease: OutboxLease) -> int:
        """Deliver one by one the changes of a batch that failed, or whose worker died.

        Only the count of the failing change may rise. If this worker dies, its successor adds one to every count. So
        all counts are lowered by one here, and each is restored just before its change is tried.
        """
        handled = 0
        try:
            await self.leases.set_deliveries(scope, lease.entries, change=-1)
            for index, entry in enumerate(lease.entries):
                if not (await self.leases.set_deliveries(scope, [entry])):
                    break  # another worker has claimed it
                done = await self._try(scope, lease.settings, entry)
                if not done:
                    await self.leases.set_deliveries(scope, lease.entries[index + 1 :])
                    break
                handled += done
        except OUTAGE:
            raise
        except EdgeRedisError as error:  # damaged keys of this scope at the edge must not stop the others
            _log.error("%r is held up: %s", scope, error)
        return handled

    async def _try(self, scope: str, settings: str, entry: LeasedEntry) -> int:
        """Deliver one change; return 1 where it was handled."""
        if entry.deliveries > self._config.max_deliveries:
            return await self._give_up(scope, entry, entry.deliveries - 1, "every worker died while delivering it")
        try:
            call = self._call(scope, settings, [entry])
            call.renewal = self.leases.renewal
            await call
        except OUTAGE:
            raise
        except AuthorityConflictError as error:
            await self._hold_up(scope, [entry], error)
            return 0
        except Exception as error:  # noqa: BLE001 -- any error counts against the change
            return await self._count_failure(scope, entry, error)
        self.cloud_health.add_success(scope)
        self._held_up.discard(scope)
        return await self.leases.confirm({scope: [entry]})

    async def _count_failure(self, scope: str, entry: LeasedEntry, error: Exception) -> int:
        """Count a failed try; give the change up at its last one. Return 1 where it was given up."""
        text = describe_error(error)
        tries, most = entry.deliveries, self._config.max_deliveries
        self.cloud_health.add_failure(scope)
        if isinstance(error, SignatureError):  # no further try changes it
            return await self._give_up(scope, entry, tries, text)
        if tries >= most and await self.cloud_health.cloud_works(scope):
            return await self._give_up(scope, entry, tries, text)
        _log.warning("change %r of %r failed, %d of %d: %s", entry.id, scope, tries, most, text)
        await self.leases.set_deliveries(scope, [entry], change=int(tries < most))
        return 0

    async def _hold_up(self, scope: str, entries: Sequence[LeasedEntry], error: AuthorityConflictError) -> None:
        """Leave a scope's changes in the outbox, to be tried again; record it once."""
        if scope not in self._held_up:
            self._held_up.add(scope)
            _log.error("%r is held up: %s", scope, describe_error(error))
            event = SyncEvent("push", entries[-1].version, success=False, error=str(error))
            await self._events.try_record(scope, event)

    async def _give_up(self, scope: str, entry: LeasedEntry, deliveries: int, text: str) -> int:
        await self.leases.dead_letter(scope, entry, deliveries, text)
        return 1


async def _invoke(calls: Sequence[Invoke[object]], max_concurrency: int, renewal: Renewal | None) -> Sequence[object]:
    """Make calls concurrently; return the result of each, or the error that it raised."""
    if len(calls) != 1:
        return (await InvokeAll(calls, max_concurrency, renewal)) if calls else ()
    calls[0].renewal = renewal
    try:
        return [(await calls[0])]
    except Exception as error:  # noqa: BLE001 -- as InvokeAll does
        return [error]
