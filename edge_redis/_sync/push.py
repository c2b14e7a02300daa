"""Pushes an edge's changes: leases them from the outboxes, lets the cloud apply them, confirms them.

Several scopes are pushed concurrently, the changes of each in their order.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final

from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Batch, Invoke, InvokeAll, Operation, Renewal, command
from edge_redis._sync import scripts
from edge_redis._sync.change import Change
from edge_redis._sync.cloud_health import CloudHealth
from edge_redis._sync.cloud_store import AnyCloudStore
from edge_redis._sync.config import WorkerConfig, strategy_of
from edge_redis._sync.failures import OUTAGE, perform_each, unavailable
from edge_redis._sync.replica import Replica
from edge_redis._sync.replies import OutboxLease
from edge_redis._sync.signing import Keyring
from edge_redis._sync.wire import LeasedEntry
from edge_redis.errors import AuthorityConflictError, EdgeRedisError, SignatureError
from edge_redis.models import SyncEvent

_log = logging.getLogger("edge_redis")

SCOPES_A_PAGE: Final = 32
LEASE_BYTES: Final = 8 * 1024 * 1024
"""Bytes of all leases of a page of scopes together; each lease may have one entry whatever its size."""

MIN_RENEWED_MS: Final = 500
"""Shorter claim times are not renewed: a renewal would come too late."""

_ENTRY_ID: Final = attrgetter("id")
MAX_SCOPE_BYTES: Final = 1024 * 1024
"""Bytes of one lease; it may have one entry whatever its size."""
_MAX_ERROR_CHARS: Final = 500


class Pusher:
    """Pushes what one worker has leased."""

    def __init__(self, edge: Replica, cloud: AnyCloudStore, config: WorkerConfig, keyring: Keyring | None) -> None:
        self._edge = edge
        self._cloud = cloud
        self._config = config
        self._keyring = keyring
        self._scopes_at_once: int = getattr(cloud, "scopes_at_once", 1)
        self._idempotency = IdempotencyKeys()
        self._held_up: set[str] = set()
        self._unhandled: dict[str, OutboxLease] = {}
        self._cloud_health = CloudHealth(cloud)
        seconds = config.claim_idle_ms / 3000
        self._renewal = Renewal(seconds, self._renew) if config.claim_idle_ms >= MIN_RENEWED_MS else None

    @property
    def cloud_health(self) -> CloudHealth:
        """What is known of whether the cloud works."""
        return self._cloud_health

    def _renew(self) -> Batch[int]:
        """Renew the leases that are not handled yet: a cloud may take longer than the claim time."""
        config = self._config
        return Batch(
            [
                scripts.renew_lease(self._edge, scope, config.group, config.consumer, config.batch_size)
                for scope in self._unhandled.copy()
            ],
            return_exceptions=True,
        )

    async def push(self) -> int:
        """Push up to a batch of each of the scopes that wait longest; return how many changes were handled."""
        handled = offset = 0
        while not handled and (scopes := await self.waiting(offset, SCOPES_A_PAGE)):
            found = await perform_each([self._lease(scope, len(scopes)) for scope in scopes])
            leases = {scope: lease for scope, lease in zip(scopes, found, strict=True) if lease and lease.entries}
            if leases:
                handled += await self._deliver(leases)
            offset += len(scopes)
        return handled

    def waiting(self, offset: int, count: int) -> Operation[list[str]]:
        """Read the names of scopes with changes in their outbox, the one that waits longest first."""
        return command(_decode_names, "ZRANGE", self._edge.keys.work, offset, offset + count - 1)

    def _lease(self, scope: str, scopes: int) -> Operation[OutboxLease]:
        config, max_bytes = self._config, min(MAX_SCOPE_BYTES, LEASE_BYTES // scopes)
        return scripts.lease_entries(
            self._edge, scope, config.group, config.consumer, config.batch_size, config.claim_idle_ms, max_bytes
        )

    async def _deliver(self, leases: Mapping[str, OutboxLease]) -> int:
        """Deliver what was leased; return how many changes were handled.

        Changes that have failed before go one by one, after the others. After an outage the leases that were not
        handled are given back, with their counts as they were.
        """
        unhandled = self._unhandled = dict(leases)
        try:
            handled = await self._deliver_batches(unhandled)
            for scope in list(unhandled):
                handled += await self._deliver_singly(scope, unhandled[scope])
                del unhandled[scope]
        except OUTAGE as error:
            for scope, lease in unhandled.items():
                await self._give_back(scope, lease)
            raise unavailable(error) from error
        finally:
            self._unhandled = {}
        return handled

    async def _deliver_batches(self, unhandled: dict[str, OutboxLease]) -> int:
        """Deliver whole leases concurrently, and remove those from ``unhandled`` that need no further try now."""
        most = self._config.tries_together
        outcomes = await self._apply({scope: lease for scope, lease in unhandled.items() if lease.deliveries <= most})
        applied = {scope: unhandled[scope].entries for scope, outcome in outcomes.items() if outcome is None}
        handled = (await self._confirm(applied)) if applied else 0
        for scope in applied:
            del unhandled[scope]
        for scope, outcome in outcomes.items():
            if isinstance(outcome, OUTAGE):
                raise outcome
            if isinstance(outcome, AuthorityConflictError):
                await self._hold_up(scope, unhandled.pop(scope).entries, outcome)
            elif outcome is not None:  # the single tries will show which change fails
                count = len(unhandled[scope].entries)
                _log.warning("%d changes of %r failed together and will be tried singly: %s", count, scope, outcome)
        return handled

    async def _apply(self, leases: Mapping[str, OutboxLease]) -> dict[str, Exception | None]:
        """Let the cloud apply leases concurrently; return each scope's error, or None."""
        outcomes: dict[str, Exception | None] = {}
        calls: dict[str, Invoke[object]] = {}
        for scope, lease in leases.items():
            try:
                calls[scope] = self._call(scope, lease.settings, lease.entries)
            except EdgeRedisError as error:
                outcomes[scope] = error
        results = await _invoke([*calls.values()], self._scopes_at_once, self._renewal)
        for scope, result in zip(calls, results, strict=True):
            outcomes[scope] = result if isinstance(result, Exception) else None
            if not isinstance(result, Exception):
                self._cloud_health.add_success(scope)
        return outcomes

    def _call(self, scope: str, settings: str, entries: Sequence[LeasedEntry]) -> Invoke[object]:
        if self._keyring:  # a keyring may call the user's function: on this thread only, one call at a time
            changes = self._changes(scope, entries)
            return Invoke(self._cloud.apply, scope, changes, strategy_of(settings))
        return Invoke(self._decode_and_apply, scope, settings, entries)

    def _decode_and_apply(self, scope: str, settings: str, entries: Sequence[LeasedEntry]) -> object:
        """Decode entries and let the cloud apply them: on a thread, while the cloud works on other scopes."""
        return self._cloud.apply(scope, self._changes(scope, entries), strategy_of(settings))

    def _changes(self, scope: str, entries: Sequence[LeasedEntry]) -> list[Change]:
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
            await self._set_deliveries(scope, lease.entries, change=-1)
            for index, entry in enumerate(lease.entries):
                if not (await self._set_deliveries(scope, [entry])):
                    break  # another worker has claimed it
                done = await self._try(scope, lease.settings, entry)
                if not done:
                    await self._set_deliveries(scope, lease.entries[index + 1 :])
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
            call.renewal = self._renewal
            await call
        except OUTAGE:
            raise
        except AuthorityConflictError as error:
            await self._hold_up(scope, [entry], error)
            return 0
        except Exception as error:  # noqa: BLE001 -- any error counts against the change
            return await self._count_failure(scope, entry, error)
        self._cloud_health.add_success(scope)
        return await self._confirm({scope: [entry]})

    async def _count_failure(self, scope: str, entry: LeasedEntry, error: Exception) -> int:
        """Count a failed try; give the change up at its last one. Return 1 where it was given up."""
        text = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS]
        tries, most = entry.deliveries, self._config.max_deliveries
        self._cloud_health.add_failure(scope)
        if isinstance(error, SignatureError):  # no further try changes it
            return await self._give_up(scope, entry, tries, text)
        if tries >= most and await self._cloud_health.cloud_works(scope):
            return await self._give_up(scope, entry, tries, text)
        _log.warning("change %r of %r failed, %d of %d: %s", entry.id, scope, tries, most, text)
        await self._set_deliveries(scope, [entry], change=int(tries < most))
        return 0

    async def _hold_up(self, scope: str, entries: Sequence[LeasedEntry], error: AuthorityConflictError) -> None:
        """Leave a scope's changes in the outbox, to be tried again; record it once."""
        if scope not in self._held_up:
            self._held_up.add(scope)
            _log.error("%r is held up: %s", scope, error)
            event = SyncEvent("push", entries[-1].version, success=False, error=str(error))
            with self._idempotency.acquire() as key:
                await scripts.record_event(self._edge, scope, event, key)

    async def _confirm(self, delivered: Mapping[str, Sequence[LeasedEntry]]) -> int:
        """Confirm entries of several scopes in one batch; return how many were confirmed."""
        confirmations = [self._confirmation(scope, entries) for scope, entries in delivered.items()]
        self._held_up.difference_update(delivered)
        removed = await perform_each(confirmations)
        confirmed = 0
        for entries, count in zip(delivered.values(), removed, strict=True):
            confirmed += 0 if count is None else len(entries)
        return confirmed

    def _confirmation(self, scope: str, entries: Sequence[LeasedEntry]) -> Operation[int]:
        last = entries[-1]
        ids = [*map(_ENTRY_ID, entries)]
        return scripts.confirm(self._edge, scope, last.version, group=self._config.group, clock=last.clock, ids=ids)

    async def _give_up(self, scope: str, entry: LeasedEntry, deliveries: int, text: str) -> int:
        """Move a change to the dead letters. Later ones go on: each is a full state and does not need it."""
        _log.error(
            "change %r of %r goes to the dead letters after %d deliveries: %s", entry.id, scope, deliveries, text
        )
        await scripts.dead_letter(self._edge, scope, self._config.group, entry.id, deliveries, text)
        return 1

    async def _set_deliveries(
        self, scope: str, entries: Sequence[LeasedEntry], *, change: int = 0, idle_ms: int = 0
    ) -> int:
        counts = [(entry.id, entry.deliveries + change) for entry in entries]
        config = self._config
        return await scripts.set_deliveries(self._edge, scope, config.group, config.consumer, idle_ms, counts)

    async def _give_back(self, scope: str, lease: OutboxLease) -> None:
        """Give a lease to any worker at once. The next worker adds one to the counts, so this lowers them by one."""
        try:
            await self._set_deliveries(scope, lease.entries, change=-1, idle_ms=self._config.claim_idle_ms)
        except EdgeRedisError as error:  # the edge is unavailable too: the lease ends after the claim time
            _log.warning("changes of %r stay claimed for %d ms: %s", scope, self._config.claim_idle_ms, error)


def _decode_names(found: list[bytes]) -> list[str]:
    # A name that does not decode was not written by this package, and has no outbox.
    return [name.decode(errors="replace") for name in found]


async def _invoke(calls: Sequence[Invoke[object]], max_concurrency: int, renewal: Renewal | None) -> Sequence[object]:
    """Make calls concurrently; return what each returned, or the error that it raised."""
    if len(calls) != 1:
        return (await InvokeAll(calls, max_concurrency, renewal)) if calls else ()
    calls[0].renewal = renewal
    try:
        return [(await calls[0])]
    except Exception as error:  # noqa: BLE001 -- as InvokeAll does
        return [error]
