"""CloudWorker for an asyncio client."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from edge_redis._io.clients import AsyncClient
from edge_redis._io.lifecycle import AsyncLoopService
from edge_redis._services.aio.cloud import RedisCloudStore
from edge_redis._services.components import consumer_name, edge_shards
from edge_redis._services.listening import Listening
from edge_redis._sync.cloud_store import AsyncCloudStore, CloudStore
from edge_redis._sync.signing import Keys
from edge_redis._sync.tombstones import TOMBSTONE_SECONDS
from edge_redis._sync.totals import Totals
from edge_redis._sync.transfer import TokenBucket
from edge_redis._sync.worker import Worker
from edge_redis.errors import EdgeRedisError
from edge_redis.types import DeadLetter, WorkerLag, WorkerStatus


class CloudWorker(AsyncLoopService[Worker]):
    """Carries changes between an edge and the cloud, both ways. Any number share the work.

    Args:
        edge_client: a client of the edge's Redis or Valkey.
        cloud: a CloudStore, or a client of the cloud's Redis, which means RedisCloudStore.
        namespace: the namespace of the synchronizers; all its scopes are carried.
        group: the consumer group. Use one group for each edge: two would each remove changes that the other needs.
        consumer: this worker's name in the group, by default a new one.
        batch_size: changes of one scope that are pushed together, up to 1,000.
        claim_idle_seconds: a worker that has confirmed nothing for this long counts as dead, and another
            worker takes its changes. From 0.5 on the worker renews its claim while the cloud applies changes.
        max_deliveries: a change that has failed this often goes to the dead letters, unless the cloud refuses
            other changes too.
        keys: the ``signing_key`` of each origin, or several keys while one replaces another; or a function that
            returns them for an origin, and None for an unknown one. With keys, a change that is not signed by
            its origin goes to the dead letters at once. The key of "cloud" is the worker's own: it signs the
            cloud's states for the edge, so that they can be offered again to a cloud that lost its data.
        push: patterns of the scopes that are pushed: ``*`` stands for any text, ``?`` for one character, nothing
            else is special. Other scopes stay at the edge: where no worker there pushes a scope, its newest state alone
            is kept, and no write to it is refused because changes wait.
        pull: patterns of the scopes that are pulled besides those that match ``push``, which always get the cloud's
            answer. Filtered in the cloud, where the store can.
        urgent: patterns of scopes that go before all others, both ways: they wait for the transfer under way alone,
            which then takes about a quarter of a second at most, or one change. From a store of your own whose
            ``changes_since`` takes no patterns, urgent scopes come down in the order of the feed.
        poll_interval_seconds: ``run`` and ``start`` wait until a server reports a change, on a connection of their
            own to each of the two, and read about once a minute besides. They pause for this long at most where one
            cannot be listened to: SQLite, a store without ``listen``, a user who may not subscribe.
        may_change_cloud: False: refuse, with CloudMismatchError and before anything is carried, a cloud that is not the
            one that this edge was carried to before, and one that has lost its data.
        max_bytes_per_second: ``run`` and ``start`` send to the cloud and receive from it about so many bytes a second
            at most, on average over some seconds; None: as fast as the link is. Of a store of your own without
            ``count_bytes``, the bodies are counted alone.
        shards: as in EdgeSynchronizer. A worker carries the scopes of all of them, and reads the cloud once for all.
            While some cannot be reached it goes on with the others.

    """

    def __init__(
        self,
        edge_client: AsyncClient,
        cloud: AsyncCloudStore | CloudStore | AsyncClient,
        *,
        namespace: str = "default",
        group: str = "cloud",
        consumer: str | None = None,
        batch_size: int = 100,
        claim_idle_seconds: float = 5.0,
        max_deliveries: int = 5,
        keys: Keys | None = None,
        push: Sequence[str] = ("*",),
        pull: Sequence[str] = ("*",),
        urgent: Sequence[str] = (),
        poll_interval_seconds: float = 0.5,
        max_bytes_per_second: float | None = None,
        may_change_cloud: bool = True,
        shards: int | None = None,
    ) -> None:
        self._own_store: RedisCloudStore | None = None
        store: AsyncCloudStore | CloudStore
        if isinstance(cloud, (AsyncCloudStore, CloudStore)):
            store = cloud
        else:
            store = self._own_store = RedisCloudStore(cloud, namespace=namespace)
        component = Worker(
            store,
            namespace=namespace,
            group=group,
            consumer=consumer_name() if consumer is None else consumer,
            batch_size=batch_size,
            claim_idle_seconds=claim_idle_seconds,
            max_deliveries=max_deliveries,
            keys=keys,
            push=push,
            pull=pull,
            urgent=urgent,
            max_bytes_per_second=max_bytes_per_second,
            may_change_cloud=may_change_cloud,
            clock=time.monotonic,
            bucket=self._find_shared_bucket(),
            shards=edge_shards(edge_client, namespace, shards),
        )
        self._listening = Listening(edge_client, component)
        super().__init__(
            edge_client,
            component,
            component.pace(poll_interval_seconds),
            self._listening.make,
        )

    async def run_once(self) -> int:
        """Push a batch of each of the scopes that wait longest, pull a batch; return how many changes were handled.

        A change is handled once the cloud has it and the edge has confirmed it, once it is in
        the dead letters, or once it was applied at the edge. 0 says that there is nothing to do now.

        Raises:
            StoreUnavailableError: the edge or the cloud cannot be reached; nothing is lost, call again.

        """
        return await self._run(self._component.run_once())

    def _find_shared_bucket(self) -> TokenBucket | None:
        """Return the limit of bytes that this worker shares with others, None where it has its own."""
        return None

    async def _round(self) -> int:
        handled = await self.run_once()
        if handled:
            await self._run(self._component.look_for_more())
        return handled

    async def lag(self) -> WorkerLag:
        """Return scopes_waiting (scopes with changes that the cloud has not confirmed) and oldest_seconds.

        ``oldest_seconds`` is how long the scope that waits longest has waited, by the server's clock; 0.0
        where none waits. Alert on it: it grows while the cloud cannot be reached, however few changes wait.
        """
        return cast("WorkerLag", await self._run(self._component.lag()))

    async def status(self) -> WorkerStatus:
        """Return the fields of ``lag``, and what else ``WorkerStatus`` has, such as changes_waiting and dead_letters.

        ``scopes_not_pushed`` have a state in their outbox and match no worker's ``push``: the other fields leave them
        out, but for ``scopes`` and ``pending_bytes``.
        ``pending_bytes`` is about what the outboxes take in the edge's memory. ``pushed_total`` counts all changes that
        workers ever brought to the cloud: two readings give the throughput. ``link`` has the bytes, states and round
        trips of all workers on RedisCloudStore, but for the last seconds of other processes; ``time_to_cloud`` has the
        times from the write of a change at the edge to its confirmation there. These are kept at the edge and only
        rise. ``clone_seen_seconds`` is how long ago a state was pulled that a clone of this edge wrote (see
        ``new_identity``), None if none was within the last day.
        Reads the length of each outbox, a few hundred in a round trip.
        """
        return cast("WorkerStatus", await self._run(self._component.status()))

    async def totals(self) -> Totals:
        """Return the counters of ``status`` that only rise, with the buckets of the times, as exporters need them."""
        return await self._run(self._component.totals())

    async def status_and_totals(self) -> tuple[WorkerStatus, Totals]:
        """Return ``status``, and the ``totals`` that are in it: both by one read, for an exporter."""
        return cast("tuple[WorkerStatus, Totals]", await self._run(self._component.status_and_totals()))

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """Return the oldest ``limit`` changes that were given up.

        Each is a dict of id, scope, version, data (None of a delete, and where it does not decode), error (of the
        last try), deliveries and timestamp (UTC, when it was given up).
        """
        return cast("list[DeadLetter]", await self._run(self._component.dead_letters(limit)))

    async def replay_dead_letters(self, limit: int = 100) -> int:
        """Try the oldest ``limit`` dead letters once more; return how many the cloud now has.

        Later writes to the scope are kept: an old change loses to them. Changes that fail again stay
        among the dead letters.

        Raises:
            StoreUnavailableError: the edge or the cloud cannot be reached; nothing is lost, call again.

        """
        return await self._run(self._component.replay_dead_letters(limit))

    async def discard_dead_letters(self, ids: Sequence[str]) -> int:
        """Remove dead letters, which are then lost; return how many there were.

        Args:
            ids: of ``dead_letters()``.

        Raises:
            InvalidArgumentError, InvalidTypeError: one is not the id of a dead letter; nothing was removed.

        """
        return await self._run(self._component.discard_dead_letters(ids))

    async def new_identity(self) -> str:
        """Give this edge an identity of its own, and forget the clone that was seen; return the edge's new id.

        Two edges that were started from one disk image, or a restored copy beside its original, have one identity.
        Nothing is lost meanwhile: each run of a server writes under an origin of its own, and what loses is kept among
        the conflicts. But each reports the other as its clone, and a LOCAL_WINS scope is held up at one of them. Call
        this once at the clone. Pending changes are kept, and go to the cloud as before.
        """
        return await self._run(self._component.new_identity())

    async def purge_tombstones(self, older_than_seconds: float = TOMBSTONE_SECONDS) -> int:
        """Remove the scopes of this edge that were deleted at least ``older_than_seconds`` ago; return how many.

        ``RedisCloudStore.purge_tombstones`` does the same in the cloud. A delete that the cloud has not
        confirmed is kept.
        """
        return await self._run(self._component.purge_tombstones(older_than_seconds))

    async def close(self) -> None:
        """Stop, wait for the round under way, and close the store if this worker made it. The clients stay open."""
        if not self._closed:
            await self._loop.end()
            with suppress(EdgeRedisError):  # the registration of its patterns expires later then
                await self._run(self._component.end())
        await super().close()
        if self._own_store is not None:
            await self._own_store.close()
