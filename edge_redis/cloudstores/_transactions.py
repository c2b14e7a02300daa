"""Reads and writes of scopes, each in a transaction of its own.

Calls on one scope are serialized: PostgreSQL locks the scope's row, SQLite the database.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import sqlalchemy as sa

from edge_redis._core import validation
from edge_redis._sync.change import Change
from edge_redis._sync.decision import Decision, ScopeDocument
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.write_context import WriteContext
from edge_redis.cloudstores._bodies import UnreadBody
from edge_redis.cloudstores._database import Database
from edge_redis.cloudstores._rows import from_head
from edge_redis.cloudstores._scope_rows import ScopeRows
from edge_redis.cloudstores._tables import DOCUMENTS, readable

Decide: TypeAlias = Callable[[ScopeRows, ScopeDocument | None, int], Decision | None]
"""Decides on a write, given the scope's rows, its document and the database's time; None: nothing is written."""


class ScopeTransactions:
    """The transactions on the scopes of one namespace."""

    def __init__(
        self, database: Database, namespace: str, bodies: KnownStates, *, max_history: int, max_conflicts: int
    ) -> None:
        self._database = database
        self._bodies = bodies
        self._namespace = namespace
        self._max_history = max_history
        self._max_conflicts = max_conflicts

    def read_state(self, action: str, scope: str) -> Change | None:
        """Return the present state of a scope, None where there is none."""
        columns = DOCUMENTS.c
        query = sa.select(readable(columns.head), readable(columns.body))
        query = query.where(self._of(DOCUMENTS, scope), columns.head.is_not(None))
        row = self._database.read(action, lambda connection: connection.execute(query).one_or_none())
        return None if row is None else from_head(row.head, row.body)

    def read_newest(self, action: str, table: sa.Table, scope: str, limit: int) -> list[Any]:
        """Return the newest ``limit`` rows of a scope in a log, oldest first."""
        query = (
            sa.select(*map(readable, table.c))
            .where(self._of(table, scope))
            .order_by(table.c.number.desc())
            .limit(limit)
        )
        rows = self._database.read(action, lambda connection: connection.execute(query).all())
        return list(reversed(rows))

    def release_authority(self, action: str, scope: str) -> bool:
        """Take a scope's authority from its edge; return whether one had it."""
        held = self._of(DOCUMENTS, scope) & DOCUMENTS.c.authority.is_not(None)
        release = sa.update(DOCUMENTS).where(held).values(authority=None)
        return self._database.write(action, lambda connection: connection.execute(release).rowcount > 0)

    def edit(
        self, action: str, scope: str, edit: Callable[[WriteContext], Decision | None], *, create: bool = True
    ) -> Decision | None:
        """Write a version of the cloud's own; None where ``edit`` writes none."""
        return self.decide(
            action,
            scope,
            lambda rows, document, now: edit(rows.read_write_context(document, now)),
            lambda _: True,
            create=create,
        )

    def decide(
        self,
        action: str,
        scope: str,
        decide: Decide,
        needs_body: Callable[[ScopeDocument], bool],
        *,
        create: bool = True,
        condition: Callable[[ScopeRows], bool] = lambda _: True,
    ) -> Decision | None:
        """Decide and write in one transaction that locks the scope. Its body is read where ``needs_body`` says so.

        None where the condition is not met, or where there is no such scope and ``create`` is false.
        """
        check_scope(scope)

        def work(connection: sa.Connection) -> Decision | None:
            rows = ScopeRows(self._database, connection, self._namespace, scope, self._bodies)
            if not condition(rows):
                return None
            locked = rows.lock(create=create)
            if locked is None:
                return None
            if locked.document is not None and needs_body(locked.document):
                locked = rows.read_body(locked)
            at = self._database.now(connection)
            decision = decide(rows, locked.document, at)
            if decision is not None:
                rows.write(locked, decision, at, max_history=self._max_history, max_conflicts=self._max_conflicts)
            return decision

        decision = self._database.write(action, work)
        if decision is not None and not isinstance(decision.document.state.body, UnreadBody):
            self._bodies.put(scope, decision.document.state)
        return decision

    def _of(self, table: Any, scope: str) -> Any:
        return (table.c.namespace == self._namespace) & (table.c.scope == check_scope(scope))


def check_text(name: str, value: str) -> str:
    """Return a text that both databases can store."""
    if "\0" in value:
        raise validation.key_error(name, value, "must not contain the character NUL in an SQL store")
    return value


def check_scope(scope: object) -> str:
    """Return the name of a scope that both databases can store."""
    return check_text("scope", validation.check_identifier("scope", scope))
