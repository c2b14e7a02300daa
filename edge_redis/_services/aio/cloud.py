"""RedisCloudStore for an asyncio client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, cast

from edge_redis._core.validation import check_callable
from edge_redis._io.byte_counting import count_runner_bytes
from edge_redis._io.clients import AsyncClient
from edge_redis._io.hint_listener import make_listener
from edge_redis._io.service import AsyncService
from edge_redis._io.shutdown import new_mutex
from edge_redis._sync.accepted import CLAIM_IDLE_SECONDS, KEPT_BODY_BYTES, KEPT_CHANGES, AcceptedReader
from edge_redis._sync.change import Change, Outcome
from edge_redis._sync.cloud import SCOPES_AT_ONCE, Cloud
from edge_redis._sync.cloud_store import FeedListener, FeedReader
from edge_redis._sync.feed import Feed
from edge_redis._sync.hints import Hints
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS
from edge_redis._sync.scripts import NOTHING_GIVEN
from edge_redis._sync.tombstones import TOMBSTONE_SECONDS
from edge_redis.errors import EdgeRedisError
from edge_redis.models import AcceptedChange, ConflictStrategy, SyncEvent, SyncState
from edge_redis.types import AcceptedStatus, Conflict, LinkStats


class RedisCloudStore(AsyncService[Cloud]):
    """The cloud's states in Redis. A CloudWorker pushes to this store and pulls from it.

    Args:
        client: a Redis or Valkey client with ``decode_responses=False``.
        namespace: the namespace of the edges that it serves.
        max_history: pushed changes kept for each scope, up to 100,000.
        max_conflicts: losing sides kept for each scope, up to 100,000.
        max_bytes: most bytes of a state written here, once encoded; up to 16 MiB, the default. Not for edges' changes.
        max_fields: most top-level fields of such a state, up to 1,000,000.
        shards: parts of the cloud, each in a hash slot of its own with the scopes that a hash assigns to it, and with a
            feed of its own, for a cluster. None for the number that the namespace has, 1 where nothing was written yet.
            Another number than the namespace has is refused at the first call. A cloud with several shards, or whose
            number was changed, keeps no accepted changes (``keep_accepted``).

    """

    scopes_at_once = SCOPES_AT_ONCE
    """How many scopes a CloudWorker pushes at once."""

    def __init__(
        self,
        client: AsyncClient,
        *,
        namespace: str = "default",
        max_history: int = 1000,
        max_conflicts: int = 1000,
        max_bytes: int = MAX_BYTES,
        max_fields: int = MAX_FIELDS,
        shards: int | None = None,
    ) -> None:
        component = Cloud(
            namespace=namespace,
            max_history=max_history,
            max_conflicts=max_conflicts,
            max_bytes=max_bytes,
            max_fields=max_fields,
            shards=shards,
            new_mutex=new_mutex,
        )
        super().__init__(client, component)

    @property
    def client(self) -> AsyncClient:
        """The client of the cloud's server."""
        client: AsyncClient = self._runner.client
        return client

    def hints(self, reader: FeedReader) -> Hints:
        """Return the hints of changes for one worker, to be received by a listener of the server."""
        return self._component.hints(reader)

    async def get(self, scope: str) -> SyncState | None:
        """Return the present state of a scope, None where there is none.

        Raises:
            CorruptDataError: the data in Redis do not decode.
            ChecksumMismatchError: the data in Redis do not match their checksum.

        """
        return await self._run(self._component.get(scope))

    async def update(
        self,
        scope: str,
        data: dict[str, Any],
        is_delta: bool = False,  # noqa: FBT001, FBT002 -- the documented signature
        *,
        if_version: int | None = None,
    ) -> SyncState:
        """Write a scope's next version in the cloud; every edge will get it. Return it.

        Args:
            scope: the scope's name.
            data: a dict with str keys and values that the codec carries.
            is_delta: merge ``data`` into the top level of the present state instead of replacing it.
            if_version: write only where the scope is at this version; 0: only where it has no state.

        Raises:
            VersionMismatchError: the scope is not at ``if_version``; nothing was written.
            ValueTooLargeError, TooManyFieldsError: the data, or the result of the delta, are over ``max_bytes`` or
                ``max_fields``; nothing was written.
            ChecksumMismatchError: the state that the delta applies to is damaged; nothing was written.

        """
        return await self._run(self._component.update(scope, data, is_delta, if_version=if_version))

    async def delete_fields(self, scope: str, *names: str) -> SyncState:
        """Write a scope's next version without these fields of the top level; every edge will get it. Return it."""
        return await self._run(self._component.delete_fields(scope, *names))

    async def delete(self, scope: str) -> bool:
        """Delete a scope, here and at every edge; return whether it had a state.

        A delete is a version like any other: a scope that is created again afterwards stays.
        """
        return await self._run(self._component.delete(scope))

    async def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> list[Outcome]:
        """Apply an edge's changes in their order; return "accepted", "duplicate" or "rejected" for each.

        See ``CloudStore.apply``. Long batches are applied a few hundred at a time. ``max_bytes`` and
        ``max_fields`` are not checked here, since the writer of a change has its own limits.

        Raises:
            ChecksumMismatchError: a change is damaged; none of the batch was applied.
            AuthorityConflictError: another edge, which came first, has the LOCAL_WINS authority of the scope.

        """
        return await self._run(self._component.apply(scope, changes, strategy))

    async def apply_many(
        self, batches: Mapping[str, tuple[Sequence[Change], ConflictStrategy]]
    ) -> dict[str, list[Outcome] | EdgeRedisError]:
        """Apply changes of several scopes, in as few round trips as ``apply`` takes for one of them.

        Args:
            batches: for each scope its changes, in their order, and the strategy of their edge.

        Returns:
            For each scope what ``apply`` returns, or the error that it raises: each scope stands by itself.

        """
        return await self._run(self._component.apply_many(batches))

    @property
    def link(self) -> LinkStats:
        """What this object has sent to the cloud's server and received of it: bytes, states as splices and in full."""
        return cast("LinkStats", self._component.link.describe())

    def take_link_counts(self) -> dict[str, int]:
        """Return what ``link`` has counted since this was called last.

        ``CloudWorker`` calls it, and adds the counts to those of its edge. Where workers of several edges share one
        store object, a count goes to the edge whose worker comes first.
        """
        return self._component.link.take()

    async def changes_since(
        self,
        cursor: str = "",
        limit: int = 100,
        patterns: Sequence[str] = ("*",),
        given: Mapping[str, Change] = NOTHING_GIVEN,
    ) -> Feed:
        """Return up to ``limit`` scopes changed after ``cursor`` and the cursor after them; "" is the beginning.

        Only scopes that match one of the patterns: ``*`` stands for any text, ``?`` for one character. A cursor belongs
        to its patterns. One call looks at 2,000 scopes at most: see ``Feed.has_more``. Patterns that all begin with a
        name and a slash, or have no wildcard, are looked up; for others each changed scope is compared.
        """
        return await self._run(self._component.changes_since(cursor, limit, patterns, given))

    def count_bytes(self, add: Callable[[int], None]) -> None:
        """Call ``add`` with about how many bytes each command to the cloud and each reply has, from now on.

        ``CloudWorker`` calls it where it has ``max_bytes_per_second``.
        """
        count_runner_bytes(self._runner, check_callable("add", add))

    def listen(self, reader: FeedReader) -> FeedListener:
        """Return a listener that reports changes to a worker, on a connection of its own.

        ``CloudWorker`` calls it, and starts and closes what it returns.
        """
        return make_listener(self.client, self.hints(reader))

    async def keep_accepted(
        self,
        max_length: int = KEPT_CHANGES,
        *,
        max_age_seconds: float | None = None,
        max_body_bytes: int = KEPT_BODY_BYTES,
    ) -> None:
        """Keep a stream of accepted changes from now on, for ``read_accepted``: one setting for all of this cloud.

        Each state that the cloud accepts, of edges and of its own writers, is appended once, in the step that stores
        it. Call it again to change the bounds.

        Args:
            max_length: changes kept, up to 100,000,000; about a hundred more, so that removing them is cheap.
            max_age_seconds: how long changes are kept, also about; None: any time. They are removed when others come.
            max_body_bytes: most bytes of an encoded state, up to 16 MiB. The change of a larger one has no data.

        Raises:
            StoreRefusedError: the cloud has several shards, or their number was changed.

        """
        await self._run(self._component.accepted.keep(max_length, max_age_seconds, max_body_bytes))

    async def drop_accepted(self) -> bool:
        """Keep accepted changes no more, and remove all that there are; return whether there were any, or a setting."""
        return await self._run(self._component.accepted.drop())

    async def read_accepted(
        self,
        group: str,
        consumer: str,
        limit: int = 100,
        *,
        claim_idle_seconds: float = CLAIM_IDLE_SECONDS,
        from_oldest: bool = True,
    ) -> list[AcceptedChange]:
        """Return the next accepted changes of a group, oldest first, for one of its consumers.

        Each change goes to one consumer of each group. Call ``ack_accepted`` once they are processed: a change that is
        not acknowledged goes to the consumer of the group that reads next after ``claim_idle_seconds``, with the same
        id. Changes that were removed before they were read are logged, and counted in ``accepted_status``.

        Args:
            group: the name of the consumers that share the changes; made at its first read.
            consumer: a name of its own for each thread, task or process that reads.
            limit: most changes, up to 1,000; fewer where they have many bytes.
            claim_idle_seconds: time after which a consumer that has not acknowledged a change is taken for dead.
            from_oldest: whether a new group begins with the oldest change that is kept, or with the next one.

        Raises:
            StoreRefusedError: the cloud keeps no accepted changes.

        """
        return await self._run(
            self._component.accepted.read(group, consumer, limit, claim_idle_seconds, from_oldest=from_oldest)
        )

    async def ack_accepted(self, group: str, ids: Sequence[str]) -> int:
        """Mark changes as processed by a group, by their ids; return how many were not yet."""
        return await self._run(self._component.accepted.acknowledge(group, ids))

    def follow_accepted(
        self,
        group: str,
        consumer: str | None = None,
        limit: int = 100,
        *,
        claim_idle_seconds: float = CLAIM_IDLE_SECONDS,
        from_oldest: bool = True,
        timeout: float | None = None,
        poll_seconds: float = 0.5,
    ) -> AsyncIterator[AcceptedChange]:
        """Yield accepted changes as they come, as ``read_accepted`` returns them, and acknowledge them.

        A batch of up to ``limit`` changes is acknowledged once the next one is asked for. Those of a batch that was not
        finished come again: to the consumer of this name, or to another one after ``claim_idle_seconds``. Ends after
        ``timeout`` seconds without a change (never, by default), and when this store is closed.
        """
        self._require_open()
        reader = AcceptedReader(
            self._component.accepted,
            group,
            consumer,
            limit=limit,
            claim_idle_seconds=claim_idle_seconds,
            from_oldest=from_oldest,
            timeout=timeout,
            poll_seconds=poll_seconds,
        )
        return self._follow(reader)

    async def _follow(self, reader: AcceptedReader) -> AsyncIterator[AcceptedChange]:
        while not self._closed and not reader.is_over:
            for change in await self._runner.run(reader.step()):
                yield change

    async def accepted_status(self) -> AcceptedStatus | None:
        """Return how many accepted changes are kept, and how far each group is; None where none are, or were, kept."""
        return cast("AcceptedStatus | None", await self._run(self._component.accepted.status()))

    async def release_authority(self, scope: str) -> bool:
        """Take a scope's LOCAL_WINS authority from its edge, so that another may get it; return whether one had it."""
        return await self._run(self._component.release_authority(scope))

    async def purge_tombstones(self, older_than_seconds: float = TOMBSTONE_SECONDS) -> int:
        """Remove the scopes deleted at least ``older_than_seconds`` ago, with their history; return how many.

        An edge that was disconnected for longer does not receive their deletion and keeps them; a write there
        restores them. By default ten days.
        """
        return await self._run(self._component.purge_tombstones(older_than_seconds))

    async def sync_history(self, scope: str, limit: int = 20) -> list[SyncEvent]:
        """Return the newest ``limit`` changes that edges pushed to a scope, oldest first: one event a change."""
        return await self._run(self._component.sync_history(scope, limit))

    async def conflicts(self, scope: str, limit: int = 20) -> list[Conflict]:
        """Return the losing sides of a scope's newest ``limit`` conflicts in the cloud, oldest first."""
        return cast("list[Conflict]", await self._run(self._component.conflicts(scope, limit)))
