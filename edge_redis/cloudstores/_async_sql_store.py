"""AsyncSqlCloudStore: calls SqlCloudStore in threads of the event loop's pool.

SQLAlchemy's asyncio engine is not used: it needs greenlet and another driver for each database, and a call is
one transaction of several statements, for which a thread is as good. So both stores have one implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from edge_redis._io.threads import in_thread
from edge_redis._sync.change import Change, Outcome
from edge_redis._sync.cloud_store import FeedListener, FeedReader
from edge_redis._sync.feed import Feed
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS
from edge_redis._sync.tombstones import TOMBSTONE_SECONDS
from edge_redis.cloudstores._sql_store import SqlCloudStore
from edge_redis.models import ConflictStrategy, SyncEvent, SyncState

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.engine import URL


class AsyncSqlCloudStore:
    """The cloud's states in PostgreSQL or SQLite. A CloudWorker pushes to this store and pulls from it.

    Its tables are made at the first use. Safe to use from many tasks, threads and processes. A call that is
    cancelled still runs to its end in its thread.

    Args:
        engine_or_url: a blocking ``sqlalchemy.Engine``, which stays open, or a URL of one, for which an
            engine is made and closed here.
        namespace: the namespace of the edges that it serves.
        max_history: pushed changes kept for each scope, up to 100,000.
        max_conflicts: losing sides kept for each scope, up to 100,000.
        max_bytes: most bytes of a state written here, once encoded; up to 16 MiB, the default. Not for edges' changes.
        max_fields: most top-level fields of such a state, up to 1,000,000.
        notifications: let PostgreSQL notify workers of changes. False: they poll, as they must where a pooler between
            passes no notifications on.

    Raises:
        InvalidArgumentError, InvalidTypeError: no such database can be used.

    """

    scopes_at_once: int
    """How many scopes a CloudWorker pushes at once: SQLite has one writer at a time."""

    def __init__(
        self,
        engine_or_url: sa.Engine | URL | str,
        *,
        namespace: str = "default",
        max_history: int = 1000,
        max_conflicts: int = 1000,
        max_bytes: int = MAX_BYTES,
        max_fields: int = MAX_FIELDS,
        notifications: bool = True,
    ) -> None:
        self._store = SqlCloudStore(
            engine_or_url,
            namespace=namespace,
            max_history=max_history,
            max_conflicts=max_conflicts,
            max_bytes=max_bytes,
            max_fields=max_fields,
            notifications=notifications,
        )
        self.scopes_at_once = self._store.scopes_at_once

    async def get(self, scope: str) -> SyncState | None:
        """Return the present state of a scope, None where there is none.

        Raises:
            CorruptDataError: the data in the database do not decode.
            ChecksumMismatchError: the data in the database do not match their checksum.

        """
        return await in_thread(self._store.get, scope)

    async def update(
        self,
        scope: str,
        data: dict[str, Any],
        is_delta: bool = False,  # noqa: FBT001, FBT002 -- the signature that docs/reference promises
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
        return await in_thread(self._store.update, scope, data, is_delta, if_version=if_version)

    async def delete_fields(self, scope: str, *names: str) -> SyncState:
        """Write a scope's next version without these fields of the top level; every edge will get it. Return it."""
        return await in_thread(self._store.delete_fields, scope, *names)

    async def delete(self, scope: str) -> bool:
        """Delete a scope, here and at every edge; return whether it had a state.

        A delete is a version like any other: a scope that is created again afterwards stays.
        """
        return await in_thread(self._store.delete, scope)

    async def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> list[Outcome]:
        """Apply an edge's changes in their order; return "accepted", "duplicate" or "rejected" for each.

        See ``CloudStore.apply``. Long batches are applied a few hundred at a time. ``max_bytes`` and
        ``max_fields`` are not checked here, since the writer of a change has its own limits.

        Raises:
            ChecksumMismatchError: a change is damaged; none of the batch was applied.
            AuthorityConflictError: another edge, which came first, has the LOCAL_WINS authority of the scope.

        """
        return await in_thread(self._store.apply, scope, changes, strategy)

    async def changes_since(self, cursor: str = "", limit: int = 100, patterns: Sequence[str] = ("*",)) -> Feed:
        """Return up to ``limit`` scopes changed after ``cursor`` and the cursor after them; "" is the beginning.

        Only scopes that match one of the patterns: ``*`` stands for any text, ``?`` for one character.
        """
        return await in_thread(self._store.changes_since, cursor, limit, patterns)

    async def release_authority(self, scope: str) -> bool:
        """Take a scope's LOCAL_WINS authority from its edge, so that another may get it; return whether one had it."""
        return await in_thread(self._store.release_authority, scope)

    async def purge_tombstones(self, older_than_seconds: float = TOMBSTONE_SECONDS) -> int:
        """Remove the scopes deleted at least ``older_than_seconds`` ago, with their history; return how many.

        An edge that was disconnected for longer does not receive their deletion and keeps them; a write there
        restores them. By default ten days.
        """
        return await in_thread(self._store.purge_tombstones, older_than_seconds)

    async def sync_history(self, scope: str, limit: int = 20) -> list[SyncEvent]:
        """Return the newest ``limit`` changes that edges pushed to a scope, oldest first: one event a change."""
        return await in_thread(self._store.sync_history, scope, limit)

    async def conflicts(self, scope: str, limit: int = 20) -> list[dict[str, Any]]:
        """Return the losing sides of a scope's newest ``limit`` conflicts in the cloud, oldest first."""
        return await in_thread(self._store.conflicts, scope, limit)

    def listen(self, reader: FeedReader) -> FeedListener:
        """Return what wakes a worker when something has changed in PostgreSQL; see ``CloudStore``."""
        return self._store.listen(reader)

    async def close(self) -> None:
        """Close the engine, where it was made here. Closing again does nothing."""
        await in_thread(self._store.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
