"""Pushes an edge's changes: leases them from the outboxes, lets the cloud apply them, confirms them.

Several scopes are pushed concurrently, the changes of each in their order.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from edge_redis._core.error_text import describe_error
from edge_redis._sync.cloud_calls import CloudCalls, LeasedBatch, Outcomes
from edge_redis._sync.cloud_health import CloudHealth
from edge_redis._sync.cloud_store import AnyCloudStore
from edge_redis._sync.config import WorkerConfig
from edge_redis._sync.echoes import Echoes
from edge_redis._sync.edge_shards import Edge
from edge_redis._sync.event_recorder import EventRecorder
from edge_redis._sync.failures import OUTAGE, unavailable
from edge_redis._sync.outbox_leases import OutboxLeases
from edge_redis._sync.patterns import Carried
from edge_redis._sync.replies import OutboxLease
from edge_redis._sync.signing import Keyring
from edge_redis._sync.transfer import TransferSize
from edge_redis._sync.wire import LeasedEntry
from edge_redis.errors import AuthorityConflictError, EdgeRedisError, SignatureError, StoreOutOfMemoryError
from edge_redis.models import SyncEvent

_log = logging.getLogger("edge_redis")

SCOPES_A_PAGE: Final = 32

SCOPES_A_CALL: Final = 1024
"""A page, where the cloud applies changes of many scopes in one call."""

URGENT_SCOPES: Final = 256
"""A page of a worker that has urgent scopes, which wait for it at most."""

_TRANSFERS_A_PAGE: Final = 8
"""Transfers that follow one another at most before the worker pulls."""

_NONE_LEFT: Final = (LeasedBatch({}), 0)

Entries: TypeAlias = Mapping[str, Sequence[LeasedEntry]]
"""Leased changes of several scopes."""


class Pusher:
    """Pushes the changes that one worker has leased."""

    def __init__(
        self,
        edge: Edge,
        cloud: AnyCloudStore,
        config: WorkerConfig,
        keyring: Keyring | None,
        transfer: TransferSize,
        carried: Carried,
    ) -> None:
        self._edge = edge
        self._config = config
        self._tries_together = config.tries_together
        self._pushed = carried.pushed
        self._has_urgent = bool(carried.urgent.texts)
        self._transfer = transfer
        self._events = EventRecorder()
        self._held_up: set[str] = set()
        self.has_waiting = False
        """Whether the last push left changes that a later one may bring to the cloud."""
        self.cloud_health = CloudHealth(cloud)
        self.echoes = Echoes()
        self.leases = OutboxLeases(edge, config, transfer, self.echoes)
        self._calls = CloudCalls(cloud, keyring, self.cloud_health, self.leases.renewal)

    async def push(self) -> int:
        """Push up to a batch of each of the scopes that wait longest; return how many changes were handled."""
        for shard in self._edge.present:
            if shard.registration.is_missing:
                with suppress(StoreOutOfMemoryError):  # a full edge is drained first
                    await shard.registration.perform()
        urgent, handled = (await self.push_urgent()) if self._has_urgent else 0, 0
        passed: dict[str, int] = {}
        self.has_waiting = False
        page = SCOPES_A_CALL if self._calls.are_of_many else SCOPES_A_PAGE
        if self._has_urgent:
            page = min(page, URGENT_SCOPES)
        while not handled and (scopes := await self.leases.read_waiting(passed, page)):
            carried = scopes if self._pushed.has_all else self._pushed.select(scopes)
            handled, tried = await self._push_page(carried)
            self.has_waiting |= not self._held_up.issuperset(carried)
            if not handled:
                self.leases.pass_over(
                    passed, scopes if tried == len(carried) else scopes[: scopes.index(carried[tried])]
                )
        return urgent + handled

    async def push_urgent(self) -> int:
        """Push a batch of each of the urgent scopes that wait longest; return how many changes were handled."""
        if not (self._has_urgent and (scopes := await self._read_urgent())):
            return 0
        handled, _ = await self._push_page(scopes, is_urgent=True)
        return handled

    async def _read_urgent(self) -> Sequence[str]:
        scopes = self._pushed.select(await self.leases.read_urgent(SCOPES_A_PAGE))
        return [scope for scope in scopes if scope not in self._held_up]

    async def _push_page(self, scopes: Sequence[str], *, is_urgent: bool = False) -> tuple[int, int]:
        """Push a batch of each scope; return how many changes were handled, and how many scopes were looked at.

        A transfer has as much as the link passes in a short time. Where it is fast, others follow at once, and while
        one is under way, the edge confirms the last one and leases the next. So the changes of a scope are in one
        transfer at most. Changes that have failed before go one by one, after the others. After an outage the leases
        that were not handled are given back, with their counts as they were.
        """
        unhandled = self.leases.unhandled
        handled = transfers = 0
        applied: Entries = {}
        try:
            batch, tried = await self._lease(scopes)
            while batch.leases:
                transfers += 1
                goes_on = transfers < _TRANSFERS_A_PAGE and self._transfer.is_fast
                if goes_on and self._has_urgent and not is_urgent:
                    goes_on = not await self._read_urgent()  # else they are next
                rest = scopes[tried:] if goes_on else ()
                outcomes, (confirmed, (batch, some)) = await self._apply(batch, applied, rest)
                handled, tried = handled + confirmed, tried + some
                applied = {scope: unhandled[scope].entries for scope, error in outcomes.items() if error is None}
                self._held_up.difference_update(applied)
                if len(applied) < len(outcomes):
                    await self._sort_failed(outcomes, applied)
            handled += await self._confirm(applied)
            for scope in list(unhandled):
                handled += await self._deliver_singly(scope, unhandled[scope])
                del unhandled[scope]
        except OUTAGE as error:
            if transfers:
                self._transfer.fail()
            for scope, lease in unhandled.items():
                await self.leases.give_back(scope, lease)
            raise unavailable(error) from error
        finally:
            unhandled.clear()
        return handled, tried

    async def _lease(self, scopes: Sequence[str]) -> tuple[LeasedBatch, int]:
        """Lease changes of the first of these scopes, as many as one transfer may have; return how many scopes."""
        leases, tried = await self.leases.take(scopes)
        self.leases.unhandled.update(leases)
        most = self._tries_together
        return self._calls.prepare({scope: lease for scope, lease in leases.items() if lease.deliveries <= most}), tried

    async def _apply(
        self, batch: LeasedBatch, applied: Entries, rest: Sequence[str]
    ) -> tuple[Outcomes, tuple[int, tuple[LeasedBatch, int]]]:
        """Let the cloud apply a batch; meanwhile confirm the one before, and lease the next, of the rest of the scopes.

        Return also how many changes were confirmed, the next batch, and of how many scopes it is.
        """

        async def meanwhile() -> tuple[int, tuple[LeasedBatch, int]]:
            confirmed = await self._confirm(applied)
            return confirmed, ((await self._lease(rest)) if rest else _NONE_LEFT)

        self._transfer.begin()
        size = self.leases.taken_bytes
        if applied or (rest and self._calls.are_of_many):
            outcomes, done = await self._calls.apply_during(batch, meanwhile)
        else:
            outcomes, done = await self._calls.apply(batch), (0, _NONE_LEFT)
        self._transfer.end(size, size)
        return outcomes, done

    async def _confirm(self, applied: Entries) -> int:
        """Confirm what the cloud has applied; return how many changes were confirmed."""
        if not applied:
            return 0
        confirmed = await self.leases.confirm(applied)
        for scope in applied:
            self.leases.unhandled.pop(scope, None)
        return confirmed

    async def _sort_failed(self, outcomes: Outcomes, applied: Entries) -> None:
        """Hold up scopes that another edge may write alone, leave other failures to single tries, raise an outage."""
        for error in outcomes.values():
            if isinstance(error, OUTAGE):
                await self._confirm(applied)
                raise error
        for scope, error in outcomes.items():
            if isinstance(error, AuthorityConflictError):
                await self._hold_up(scope, self.leases.unhandled.pop(scope).entries, error)
            elif error is not None:  # the single tries will show which change fails
                count = len(self.leases.unhandled[scope].entries)
                text = describe_error(error)
                _log.warning("%d changes of %r failed together and will be tried singly: %s", count, scope, text)

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
            await self._calls.try_one(scope, settings, entry)
        except OUTAGE:
            raise
        except AuthorityConflictError as error:
            await self._hold_up(scope, [entry], error)
            return 0
        except Exception as error:  # noqa: BLE001 -- any error counts against the change
            return await self._count_failure(scope, entry, error)
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
            await self._events.try_record(self._edge.of(scope), scope, event)

    async def _give_up(self, scope: str, entry: LeasedEntry, deliveries: int, text: str) -> int:
        await self.leases.dead_letter(scope, entry, deliveries, text)
        return 1
