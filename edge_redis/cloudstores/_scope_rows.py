"""The rows of one scope, within one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from edge_redis._sync.change import Change
from edge_redis._sync.decision import Decision, ScopeDocument, Seen
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.origin import CLOUD_ORIGIN, qualified_origin
from edge_redis._sync.write_context import GcWatermark, WriteContext
from edge_redis.cloudstores._bodies import UnreadBody, first_byte, select_spliced
from edge_redis.cloudstores._database import Database
from edge_redis.cloudstores._notifications import channel_of, writer_of
from edge_redis.cloudstores._rows import from_head, from_lost_state, from_push_event, list_changes
from edge_redis.cloudstores._stores import create_store, next_feed_number, read_store
from edge_redis.cloudstores._tables import CONFLICTS, DOCUMENTS, HISTORY, PURGED, SEEN, readable

MAX_ORIGINS: Final = 1000
"""Origins of a scope whose newest states are kept; as in ``_sync/lua/include/origins.lua``."""


@dataclass(frozen=True, slots=True)
class LockedScope:
    """A scope's row, locked until the transaction ends."""

    document: ScopeDocument | None
    events: int
    losses: int


class ScopeRows:
    """The rows of one scope, within one transaction."""

    def __init__(
        self, database: Database, connection: Connection, namespace: str, scope: str, bodies: KnownStates
    ) -> None:
        self._database = database
        self._connection = connection
        self._namespace = namespace
        self._scope = scope
        self._bodies = bodies
        self._known: set[str] = set()

    def _of(self, table: Any) -> Any:
        return (table.c.namespace == self._namespace) & (table.c.scope == self._scope)

    @property
    def _name(self) -> dict[str, Any]:
        return {"namespace": self._namespace, "scope": self._scope}

    def lock(self, *, create: bool = True) -> LockedScope | None:
        """Lock the scope against other transactions, and read it, but for its body (``read_body``).

        None where there is none and ``create`` is false.
        """
        found = self._select_for_update()
        while found is None and create:  # another transaction may create or purge the row meanwhile
            empty = self._database.insert(DOCUMENTS).values(**self._name, events=0, losses=0)
            self._connection.execute(empty.on_conflict_do_nothing())
            found = self._select_for_update()
        return found

    def _select_for_update(self) -> LockedScope | None:
        columns = DOCUMENTS.c
        row = self._connection.execute(
            select(
                readable(columns.head), first_byte(),
                columns.latest_clock, columns.peer_version, columns.authority, columns.strategy,
                columns.events, columns.losses,
            ).where(self._of(DOCUMENTS)).with_for_update()
        ).one_or_none()  # fmt: skip
        if row is None:
            return None
        document = None
        if row.head is not None:
            state = from_head(row.head, row.first)
            state = replace(state, body=UnreadBody(row.first)) if state.body else state
            document = ScopeDocument(state, row.latest_clock, row.peer_version, row.authority, row.strategy)
        return LockedScope(document, row.events, row.losses)

    def read_body(self, locked: LockedScope) -> LockedScope:
        """Return the locked scope with its body: the known one of that checksum, or the row's."""
        document = locked.document
        if document is None or not isinstance(document.state.body, UnreadBody):
            return locked
        known = self._bodies.get(self._scope)
        if known is not None and known.checksum == document.state.checksum:
            body = known.body
        else:
            query = select(readable(DOCUMENTS.c.body)).where(self._of(DOCUMENTS))
            body = bytes(self._connection.execute(query).scalar_one())
        return replace(locked, document=replace(document, state=replace(document.state, body=body)))

    def read_purged_clock(self) -> str:
        """Return the latest clock that the scope had when its delete was purged, "" if none was."""
        query = select(PURGED.c.clock).where(self._of(PURGED))
        return str(self._connection.execute(query).scalar_one_or_none() or "")

    def read_seen(self, origins: Iterable[str]) -> dict[str, Seen]:
        """Return the states seen of these origins."""
        columns = SEEN.c
        known = select(columns.origin, columns.version, columns.checksum, columns.clock, columns.restored_at)
        rows = self._connection.execute(known.where(self._of(SEEN), columns.origin.in_(set(origins))))
        found = {row.origin: Seen(row.version, row.checksum, row.clock, row.restored_at) for row in rows}
        self._known |= found.keys()
        return found

    def read_write_context(self, document: ScopeDocument | None, now: int) -> WriteContext:
        """Read the context of a write in the cloud."""
        store = read_store(self._connection, self._namespace)
        if store is None:
            create_store(self._database, self._connection, self._namespace)
            store = read_store(self._connection, self._namespace)
        own = qualified_origin(CLOUD_ORIGIN, store.replica_id)
        watermark = GcWatermark(store.gc_version, store.gc_clock)
        return WriteContext(document, own, self.read_seen([own]).get(own), now, watermark)

    def write(self, before: LockedScope, decision: Decision, at: int, *, max_history: int, max_conflicts: int) -> None:
        """Write a decision. The feed's number is taken last, since its row stays locked until the commit."""
        self._write_seen(decision)
        events = self._append(
            HISTORY, before.events, max_history, [from_push_event(each, at) for each in decision.events]
        )
        lost = [from_lost_state(each, at) for each in decision.conflicts]
        losses = self._append(CONFLICTS, before.losses, max_conflicts, lost)
        values: dict[str, Any] = {"events": events, "losses": losses} if decision.events or lost else {}
        values |= list_changes(before.document, decision.document)
        if decision.is_changed:
            values["number"] = next_feed_number(
                self._database, self._connection, self._namespace, self._notification(before.document, decision)
            )
        if values and not ("body" in values and self._write_spliced(before, decision.document.state, values)):
            self._connection.execute(update(DOCUMENTS).where(self._of(DOCUMENTS)).values(values))

    def _notification(self, before: ScopeDocument | None, decision: Decision) -> tuple[str, str] | None:
        """Return the channel of the namespace, and the text that follows the cursor; None: none is sent."""
        if not self._database.notifies:
            return None
        return channel_of(self._namespace), f"{writer_of(before, decision)} {self._scope.partition('/')[0]}"

    def _write_spliced(self, before: LockedScope, state: Change, values: dict[str, Any]) -> bool:
        """Write the row with its body made of the present one, if that is the known one; return whether it was so."""
        known = self._bodies.get(self._scope)
        if known is None or before.document is None or known.checksum != before.document.state.checksum:
            return False
        spliced = select_spliced(self._of(DOCUMENTS), known, state)
        if spliced is None:
            return False
        columns = DOCUMENTS.c
        write = update(DOCUMENTS).where(columns.namespace == spliced.c.namespace, columns.scope == spliced.c.scope)
        return self._connection.execute(write.values({**values, "body": spliced.c.body})).rowcount > 0

    def _write_seen(self, decision: Decision) -> None:
        if not decision.seen:
            return
        rows = [
            {**self._name, "origin": origin, "version": each.version, "checksum": each.checksum,
             "clock": each.clock, "restored_at": each.restored_at}
            for origin, each in sorted(decision.seen.items())
        ]  # fmt: skip
        write = self._database.insert(SEEN)
        newer = {name: write.excluded[name] for name in ("version", "checksum", "clock", "restored_at")}
        self._connection.execute(
            write.on_conflict_do_update(index_elements=["namespace", "scope", "origin"], set_=newer), rows
        )
        if not decision.seen.keys() <= self._known:
            self._trim_origins()

    def _trim_origins(self) -> None:
        """Remove the origins with the oldest clocks once there are too many."""
        clocks = select(SEEN.c.clock).where(self._of(SEEN)).order_by(SEEN.c.clock.desc())
        last = self._connection.execute(clocks.offset(MAX_ORIGINS).limit(1)).scalar_one_or_none()
        if last is not None:
            self._connection.execute(delete(SEEN).where(self._of(SEEN), SEEN.c.clock <= last))

    def _append(self, table: Any, before: int, most: int, rows: list[dict[str, Any]]) -> int:
        """Append to a log that keeps the newest ``most``; return how many there ever were."""
        after = before + len(rows)
        kept = rows[-most:]
        if kept:
            whole: list[dict[str, Any]] = []
            for number, values in enumerate(kept, start=after - len(kept) + 1):
                row = {**self._name, "number": number, **values}
                if isinstance(row.get("body"), UnreadBody):  # the database copies it
                    body = select(DOCUMENTS.c.body).where(self._of(DOCUMENTS)).scalar_subquery()
                    self._connection.execute(insert(table).values({**row, "body": body}))
                else:
                    whole.append(row)
            if whole:
                self._connection.execute(insert(table), whole)
            if after > most:
                self._connection.execute(delete(table).where(self._of(table), table.c.number <= after - most))
        return after
