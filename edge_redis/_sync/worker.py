"""The worker between an edge and the cloud: pushes the edge's changes up, and pulls the cloud's changes down.

The entries leased to a worker and not yet confirmed are its lease on the scope: no other worker gets entries of that
scope before they have been idle for the claim time. So order within a scope needs no lock, and the scopes of a worker
that dies are free after the claim time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.shards import ShardCount
from edge_redis._sync import scripts
from edge_redis._sync.clones import seconds_since_clone
from edge_redis._sync.cloud_store import AnyCloudStore
from edge_redis._sync.cloud_store_calls import find_apply_many
from edge_redis._sync.config import MAX_BATCH, WorkerConfig
from edge_redis._sync.dead_letters import MAX_READ, EdgeDeadLetters, check_letter_ids
from edge_redis._sync.edge_keys import make_edge_keys
from edge_redis._sync.edge_shards import Edge
from edge_redis._sync.failures import MOVED, OUTAGE
from edge_redis._sync.hints import Hints, edge_hints
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.link_totals import SAVE_SECONDS, LinkTotals
from edge_redis._sync.outbox_counts import read_lag, read_outboxes
from edge_redis._sync.outbox_leases import CALL_BYTES, LEASE_BYTES
from edge_redis._sync.pace import WorkerPace
from edge_redis._sync.patterns import ALL, Carried
from edge_redis._sync.pull import Puller
from edge_redis._sync.push import Pusher
from edge_redis._sync.signing import Keyring, Keys
from edge_redis._sync.tombstones import TOMBSTONE_SECONDS, purge
from edge_redis._sync.totals import Totals, read_totals
from edge_redis._sync.transfer import (
    FIRST_BYTES,
    TRANSFER_SECONDS,
    URGENT_SECONDS,
    Clock,
    TokenBucket,
    TransferSize,
    no_clock,
)
from edge_redis.errors import CloudMismatchError, StoreOutOfMemoryError

_FIRST_SCOPES: Final = 4
"""Scopes that are read together after an outage."""

_PAGE_BYTES: Final = 4 * 1024 * 1024
"""Bytes of the bodies of a page: after a page of more the next one has fewer scopes."""


class Worker(Component):
    """The methods of CloudWorker, as coroutines. ``CloudWorker`` documents each of them in full."""

    tick_seconds = SAVE_SECONDS

    def __init__(
        self,
        cloud: AnyCloudStore,
        *,
        namespace: str,
        group: str,
        consumer: str,
        batch_size: int,
        claim_idle_seconds: float,
        max_deliveries: int,
        keys: Keys | None = None,
        push: Sequence[str] = (ALL,),
        pull: Sequence[str] = (ALL,),
        urgent: Sequence[str] = (),
        max_bytes_per_second: float | None = None,
        may_change_cloud: bool = True,
        clock: Clock = no_clock,
        bucket: TokenBucket | None = None,
        shards: ShardCount | None = None,
    ) -> None:
        self.namespace = namespace
        carried = Carried.of(push, pull, urgent)
        seconds = URGENT_SECONDS if carried.urgent.texts else TRANSFER_SECONDS
        rate = max_bytes_per_second
        if rate is not None:
            rate = validation.check_positive("max_bytes_per_second", rate)
        self._config = config = WorkerConfig.validate(group, consumer, batch_size, claim_idle_seconds, max_deliveries)
        keyring = None if keys is None else Keyring(namespace, keys)
        self._edge = Edge(make_edge_keys(namespace, shards, carried.digest), cloud, keyring, carried)
        self._bucket = bucket or (None if rate is None else TokenBucket(rate, clock))
        max_bytes = None if rate is None else max(1, int(rate * seconds))
        count = self._find_count(cloud)
        most = LEASE_BYTES if find_apply_many(cloud) is None else CALL_BYTES
        transfer = TransferSize(
            int(FIRST_BYTES * seconds / TRANSFER_SECONDS),
            min(most, max_bytes or most),
            clock,
            max_bytes=max_bytes,
            count_bytes=count,
            seconds=seconds,
        )
        page = TransferSize(
            _FIRST_SCOPES,
            MAX_BATCH,
            clock,
            size=config.batch_size if rate is None else None,
            max_bytes=max_bytes or _PAGE_BYTES,
            count_bytes=count,
            seconds=seconds,
        )
        self.pusher = Pusher(self._edge, cloud, config, keyring, transfer, carried)
        self.puller = Puller(self._edge, cloud, page, keyring, self.pusher.cloud_health, carried, self.pusher.echoes)
        self.puller.push_urgent = self.pusher.push_urgent
        self.puller.may_change_cloud = validation.check_instance("may_change_cloud", may_change_cloud, bool)
        self._dead_letters = EdgeDeadLetters(self._edge, cloud, keyring)
        self._link_totals = LinkTotals(self._edge, cloud)
        self.cloud = cloud
        self.segments: Sequence[str] | None = carried.pulled.segments
        """What the carried scopes begin with, up to a slash or their end; None where that is anything."""
        self._pushes_first = False
        self.may_have_more = True
        """Whether a next round may find something, after one that handled something: else hints are enough."""

    async def tick(self) -> None:
        """Save what the link has counted; what cannot be saved now is kept."""
        self.has_flushed = await self._link_totals.save()

    def describe_unflushed(self) -> str:
        """Return what is not saved; empty where everything is."""
        return f"counts of the link of namespace {self.namespace!r}" if self._link_totals.has_unsaved else ""

    def after_fork(self) -> None:
        """Reset state in a forked child."""
        self._link_totals.after_fork()

    async def look_for_more(self) -> None:
        """Find out whether a next round may find something at the edge."""
        if not self.may_have_more:
            self.may_have_more = await self.pusher.leases.count_waiting() > 0

    def pace(self, poll_interval_seconds: float) -> WorkerPace:
        """Return the pauses of this worker."""
        poll = validation.check_positive("poll_interval_seconds", poll_interval_seconds)
        return WorkerPace(
            poll,
            self._config.claim_idle_ms / 1000,
            lambda: self.pusher.has_waiting or not self._edge.are_all_read,
            self._seconds_in_debt,
            lambda: self.may_have_more,
        )

    def _find_count(self, cloud: AnyCloudStore) -> Callable[[int], None] | None:
        """Return what counts the bytes of bodies, where there is a limit and the store does not count by itself."""
        if self._bucket is None:
            return None
        count_bytes = getattr(cloud, "count_bytes", None)
        if count_bytes is None:
            return self._bucket.take
        count_bytes(self._bucket.take)
        return None

    def _seconds_in_debt(self) -> float:
        return 0.0 if self._bucket is None else self._bucket.seconds_left()

    def edge_hints(self, wake: Callable[[], None]) -> Hints:
        """Return the hints of changes at the edge."""
        return edge_hints(SyncKeys(self.namespace, "sync"), wake)

    async def run_once(self) -> int:
        """Push a batch of the scopes that wait longest and pull a page; return how many changes were handled."""
        edge = self._edge
        if edge.is_changing:
            await edge.follow()
        # At first and after an outage, pull first: it shows whether either end lost data, before anything is pushed.
        ways = [self.pusher.push, self.puller.pull] if self._pushes_first else [self.puller.pull, self.pusher.push]
        if self._pushes_first and self.puller.delivered.pages:
            ways.insert(0, self.puller.apply_delivered)
        reads_own, self._pushes_first = self._pushes_first, True
        self.may_have_more = True
        handled, full = 0, None
        try:
            for way in ways:
                try:
                    handled += await way()
                except StoreOutOfMemoryError as error:  # the other way may free memory
                    full = error
            if not handled and full is None and self.puller.has_rejected:
                handled = await self.pusher.push()  # what a LOCAL_WINS edge has written again over the cloud's state
                reads_own = False
            self.may_have_more = not reads_own or self.puller.has_more or full is not None
        except (*OUTAGE, *MOVED, CloudMismatchError) as error:
            self._pushes_first = False
            if isinstance(error, MOVED) and await edge.goes_on():
                return await self.run_once()
            raise
        return handled or _raise_or_return(full)

    async def end(self) -> None:
        """Let a worker that pushes a part of these scopes take the place of this one at once."""
        if self._pushes_first:  # it has worked, and both ends have answered
            for shard in self._edge.present:
                await shard.registration.end()

    async def lag(self) -> dict[str, Any]:
        """Return scopes_waiting and oldest_seconds."""
        return await read_lag(await self._edge.keys())

    async def status(self) -> dict[str, Any]:
        """Return what ``lag`` does, and what ``WorkerStatus`` has besides."""
        return (await self.status_and_totals())[0]

    async def status_and_totals(self) -> tuple[dict[str, Any], Totals]:
        """Return the status, and the totals that are in it."""
        shards = await self._edge.keys()
        found = await read_lag(shards)
        found |= await read_outboxes(shards, found["scopes_waiting"])
        totals = await self.totals()
        found["pushed_total"] = totals.pushed
        found["link"] = dict(totals.link)
        found["time_to_cloud"] = totals.describe_time()
        found["clone_seen_seconds"] = await seconds_since_clone(shards)
        return found, totals

    async def totals(self) -> Totals:
        """Return what the workers of this edge have carried, this one's counts included."""
        await self._link_totals.save()
        return await read_totals(await self._edge.keys())

    async def dead_letters(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the oldest ``limit`` changes that were given up."""
        return await self._dead_letters.read(validation.check_integer("limit", limit, least=1, most=MAX_READ))

    async def replay_dead_letters(self, limit: int = 100) -> int:
        """Push the oldest ``limit`` dead letters once more; return how many the cloud now has."""
        return await self._dead_letters.replay(validation.check_integer("limit", limit, least=1, most=MAX_READ))

    async def discard_dead_letters(self, ids: Sequence[str]) -> int:
        """Remove dead letters by their ids; return how many there were."""
        return await self._dead_letters.discard(check_letter_ids(ids))

    async def new_identity(self) -> str:
        """Give this edge's store another id; return it."""
        await self._edge.settle()
        await self._edge.refresh()
        return ",".join([await scripts.new_identity(shard.replica) for shard in self._edge.shards])

    async def purge_tombstones(self, older_than_seconds: float = TOMBSTONE_SECONDS) -> int:
        """Remove scopes of this edge that were deleted longer ago than this; return how many."""
        seconds = validation.check_non_negative("older_than_seconds", older_than_seconds)
        await self._edge.settle()
        await self._edge.refresh()
        return sum([await purge(shard.replica, seconds) for shard in self._edge.shards])


def _raise_or_return(full: StoreOutOfMemoryError | None) -> int:
    """Raise the error of an edge that is full, by which nothing was handled; else return 0."""
    if full is not None:
        raise full
    return 0
