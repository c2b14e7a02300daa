"""SqlCloudStore: the rules of ``_sync.resolution`` and ``_sync.write_context``, over tables of an SQL database.

It has the rules, results and errors of RedisCloudStore. Each call is one transaction, and calls on one scope are
serialized.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import sqlalchemy as sa

from edge_redis._core import validation
from edge_redis._core.keys import check_namespace
from edge_redis._io.shutdown import new_mutex
from edge_redis._sync import fields
from edge_redis._sync.change import Change, Outcome, check_body, check_changes, encode_data, visible_data
from edge_redis._sync.cloud import MAX_PAGE
from edge_redis._sync.cloud_store import FeedListener, FeedReader
from edge_redis._sync.config import MAX_KEPT
from edge_redis._sync.decision import Decision, ScopeDocument
from edge_redis._sync.feed import Feed
from edge_redis._sync.known_states import KNOWN_BYTES, KnownStates
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS, WriteLimits
from edge_redis._sync.origin import MAX_ORIGIN_BYTES
from edge_redis._sync.patterns import ALL, check_patterns
from edge_redis._sync.resolution import resolve
from edge_redis._sync.tombstones import TOMBSTONE_SECONDS
from edge_redis._sync.version_guard import check_if_version
from edge_redis._sync.write_context import WriteContext, write_delete, write_update
from edge_redis._sync.writer import check_field_names
from edge_redis.cloudstores._database import Database
from edge_redis.cloudstores._feed import read_feed
from edge_redis.cloudstores._notifications import NoNotifications, Notifications
from edge_redis.cloudstores._rows import to_conflict, to_event
from edge_redis.cloudstores._scope_rows import ScopeRows
from edge_redis.cloudstores._tables import CONFLICTS, HISTORY
from edge_redis.cloudstores._tombstones import purge
from edge_redis.cloudstores._transactions import ScopeTransactions, check_scope, check_text
from edge_redis.models import ConflictStrategy, SyncEvent, SyncState

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

SCOPES_AT_ONCE: Final = 4


class SqlCloudStore:
    """The cloud's states in PostgreSQL or SQLite. A CloudWorker pushes to this store and pulls from it.

    Its tables are made at the first use. Safe to use from many threads and processes.

    Args:
        engine_or_url: a ``sqlalchemy.Engine``, which stays open, or a URL of one, for which an engine
            is made and closed here.
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
        self._namespace = check_text("namespace", check_namespace(namespace))
        validation.check_integer("max_history", max_history, least=1, most=MAX_KEPT)
        validation.check_integer("max_conflicts", max_conflicts, least=1, most=MAX_KEPT)
        self._limits = WriteLimits(max_bytes, max_fields)
        validation.check_instance("notifications", notifications, bool)
        self._database = Database(engine_or_url, notifications=notifications)
        # SQLite is on this machine: nothing is gained by what is known of it.
        self._bodies = KnownStates(0 if self._database.is_sqlite else KNOWN_BYTES, new_mutex)
        self._database.on_fork = self._bodies.after_fork
        self._scopes = ScopeTransactions(
            self._database, self._namespace, self._bodies, max_history=max_history, max_conflicts=max_conflicts
        )
        self.scopes_at_once = 1 if self._database.is_sqlite else SCOPES_AT_ONCE

    def get(self, scope: str) -> SyncState | None:
        """Return the present state of a scope, None where there is none.

        Raises:
            CorruptDataError: the data in the database do not decode.
            ChecksumMismatchError: the data in the database do not match their checksum.

        """
        present = self._scopes.read_state("get", scope)
        if present is None or visible_data(check_body(present.body, present.checksum, "the state")) is None:
            return None
        return present.state

    def update(
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
        validation.check_instance("is_delta", is_delta, bool)
        encode_data(data, self._limits)
        if if_version is not None:
            check_if_version(if_version)
        return self._update(scope, data, is_delta=is_delta, if_version=if_version)

    def delete_fields(self, scope: str, *names: str) -> SyncState:
        """Write a scope's next version without these fields of the top level; every edge will get it. Return it."""
        return self._update(scope, {}, is_delta=True, without=check_field_names(names))

    def delete(self, scope: str) -> bool:
        """Delete a scope, here and at every edge; return whether it had a state.

        A delete is a version like any other: a scope that is created again afterwards stays.
        """
        return self._scopes.edit("delete", scope, write_delete, create=False) is not None

    def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> list[Outcome]:
        """Apply an edge's changes in their order; return "accepted", "duplicate" or "rejected" for each.

        See ``CloudStore.apply``. Long batches are applied a few hundred at a time. ``max_bytes`` and
        ``max_fields`` are not checked here, since the writer of a change has its own limits.

        Raises:
            ChecksumMismatchError: a change is damaged; none of the batch was applied.
            AuthorityConflictError: another edge, which came first, has the LOCAL_WINS authority of the scope.

        """
        check_scope(scope)
        check_changes(changes, strategy)
        for each in changes:
            each.verify()
            _check_origin(each.origin)
        if not changes:
            return []
        later: list[Change] = []

        def has_later(rows: ScopeRows) -> bool:
            """Return whether a change is later than the scope's purged delete, if it has one."""
            purged = rows.read_purged_clock()
            later[:] = [each for each in changes if each.clock > purged]
            return bool(later)

        def decide(rows: ScopeRows, document: ScopeDocument | None, _: int) -> Decision:
            return resolve(document, rows.read_seen(each.origin for each in later), later, strategy)

        def needs_body(document: ScopeDocument) -> bool:
            """Return whether fields are to be merged: all other rules need heads alone."""
            is_merged = any(fields.is_merged(each.body) for each in [document.state, *later])
            return is_merged or strategy is ConflictStrategy.MERGE

        decision = self._scopes.decide("apply", scope, decide, needs_body, condition=has_later)
        outcomes = iter(() if decision is None else decision.outcomes)
        kept = {id(each) for each in later}
        return [next(outcomes) if id(each) in kept else "rejected" for each in changes]

    def changes_since(self, cursor: str = "", limit: int = 100, patterns: Sequence[str] = (ALL,)) -> Feed:
        """Return up to ``limit`` scopes changed after ``cursor`` and the cursor after them; "" is the beginning.

        Only scopes that match one of the patterns: ``*`` stands for any text, ``?`` for one character.
        """
        validation.check_integer("limit", limit, least=1, most=MAX_PAGE)
        wanted = check_patterns("patterns", patterns)
        text = validation.check_text("cursor", cursor)
        return read_feed(self._database, self._namespace, text, limit, wanted, self._bodies)

    def release_authority(self, scope: str) -> bool:
        """Take a scope's LOCAL_WINS authority from its edge, so that another may get it; return whether one had it."""
        return self._scopes.release_authority("release_authority", scope)

    def purge_tombstones(self, older_than_seconds: float = TOMBSTONE_SECONDS) -> int:
        """Remove the scopes deleted at least ``older_than_seconds`` ago, with their history; return how many.

        An edge that was disconnected for longer does not receive their deletion and keeps them; a write there
        restores them. By default ten days.
        """
        seconds = validation.check_non_negative("older_than_seconds", older_than_seconds)
        return purge(self._database, self._namespace, seconds)

    def sync_history(self, scope: str, limit: int = 20) -> list[SyncEvent]:
        """Return the newest ``limit`` changes that edges pushed to a scope, oldest first: one event a change."""
        return [to_event(row) for row in self._newest("sync_history", HISTORY, scope, limit)]

    def conflicts(self, scope: str, limit: int = 20) -> list[dict[str, Any]]:
        """Return the losing sides of a scope's newest ``limit`` conflicts in the cloud, oldest first."""
        return [to_conflict(row) for row in self._newest("conflicts", CONFLICTS, scope, limit)]

    def listen(self, reader: FeedReader) -> FeedListener:
        """Return what wakes a worker when something has changed in PostgreSQL; see ``CloudStore``."""
        if not self._database.can_listen:
            return NoNotifications()
        return Notifications(self._database.engine, self._namespace, reader)

    def close(self) -> None:
        """Close the engine, where it was made here. Closing again does nothing."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _newest(self, action: str, table: sa.Table, scope: str, limit: int) -> list[Any]:
        validation.check_integer("limit", limit, least=1, most=MAX_KEPT)
        return self._scopes.read_newest(action, table, scope, limit)

    def _update(
        self,
        scope: str,
        data: dict[str, Any],
        *,
        is_delta: bool,
        without: Sequence[str] = (),
        if_version: int | None = None,
    ) -> SyncState:
        def edit(context: WriteContext) -> Decision:
            return write_update(
                context, data, is_delta=is_delta, without=without, limits=self._limits, if_version=if_version
            )

        decision = self._scopes.edit("update", scope, edit)
        assert decision is not None
        return decision.document.state.state


def _check_origin(origin: str) -> None:
    if origin:
        check_text("origin", validation.check_identifier("origin", origin, limit=MAX_ORIGIN_BYTES))
