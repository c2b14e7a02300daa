"""Rows of the tables, to and from the values of ``_sync.resolution``."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from edge_redis._sync import clock
from edge_redis._sync.change import Change, check_body, visible_data
from edge_redis._sync.origin import CLOUD_ORIGIN, qualified_origin
from edge_redis._sync.resolution import Decision, LostState, PushEvent, ScopeDocument, Seen
from edge_redis._sync.write_context import GcWatermark, WriteContext
from edge_redis.cloudstores._database import Database
from edge_redis.cloudstores._tables import CONFLICTS, DOCUMENTS, HISTORY, PURGED, SEEN, STORES, readable
from edge_redis.errors import CorruptDataError
from edge_redis.models import SyncEvent, from_timestamp

MAX_ORIGINS: Final = 1000
"""Origins of a scope whose newest states are kept; as in ``_sync/lua/include/origins.lua``."""

_HEAD: Final = tuple(each.name for each in fields(Change) if each.name not in {"body", "is_delta"})


def to_head(state: Change) -> dict[str, Any]:
    """Return a state's fields other than its body."""
    return {name: getattr(state, name) for name in _HEAD}


def from_head(head: str, body: bytes) -> Change:
    """Return the state of a head, as JSON, and a body; a field that the head lacks has its default.

    Raises:
        CorruptDataError: the head does not decode, or there is no body.

    """
    try:
        found = json.loads(head)
        known = {name: found[name] for name in _HEAD if name in found}
        state = Change(**known, body=bytes(body))
    except (TypeError, KeyError, ValueError) as error:
        raise CorruptDataError(f"a document is damaged: {error!r}") from error
    if any(type(value) is not (int if name == "version" else str) for name, value in known.items()):
        raise CorruptDataError(f"a document is damaged: its head is {head[:200]}")
    return state


@dataclass(frozen=True, slots=True)
class Locked:
    """A scope's row, locked until the transaction ends."""

    document: ScopeDocument | None
    events: int
    losses: int


class Scope:
    """The rows of one scope, within one transaction."""

    def __init__(self, database: Database, connection: Connection, namespace: str, scope: str) -> None:
        self._database = database
        self._connection = connection
        self._namespace = namespace
        self._scope = scope
        self._known: set[str] = set()

    def _of(self, table: Any) -> Any:
        return (table.c.namespace == self._namespace) & (table.c.scope == self._scope)

    @property
    def _name(self) -> dict[str, Any]:
        return {"namespace": self._namespace, "scope": self._scope}

    def lock(self, *, create: bool = True) -> Locked | None:
        """Lock the scope against other transactions, and read it. None where there is none and ``create`` is false."""
        found = self._locked()
        while found is None and create:  # another transaction may create or purge the row meanwhile
            empty = self._database.insert(DOCUMENTS).values(**self._name, events=0, losses=0)
            self._connection.execute(empty.on_conflict_do_nothing())
            found = self._locked()
        return found

    def _locked(self) -> Locked | None:
        columns = DOCUMENTS.c
        row = self._connection.execute(
            select(
                readable(columns.head), readable(columns.body),
                columns.latest_clock, columns.peer_version, columns.authority, columns.strategy,
                columns.events, columns.losses,
            ).where(self._of(DOCUMENTS)).with_for_update()
        ).one_or_none()  # fmt: skip
        if row is None:
            return None
        document = None
        if row.head is not None:
            document = ScopeDocument(
                from_head(row.head, row.body), row.latest_clock, row.peer_version, row.authority, row.strategy
            )
        return Locked(document, row.events, row.losses)

    def purged_clock(self) -> str:
        """Return the latest clock that the scope had when its delete was purged, "" if none was."""
        query = select(PURGED.c.clock).where(self._of(PURGED))
        return str(self._connection.execute(query).scalar_one_or_none() or "")

    def seen(self, origins: Iterable[str]) -> dict[str, Seen]:
        """Return the states seen of these origins."""
        columns = SEEN.c
        known = select(columns.origin, columns.version, columns.checksum, columns.clock, columns.restored_at)
        rows = self._connection.execute(known.where(self._of(SEEN), columns.origin.in_(set(origins))))
        found = {row.origin: Seen(row.version, row.checksum, row.clock, row.restored_at) for row in rows}
        self._known |= found.keys()
        return found

    def write_context(self, document: ScopeDocument | None, now: int) -> WriteContext:
        """Return the context of a write in the cloud."""
        columns = STORES.c
        query = select(columns.replica_id, columns.gc_version, columns.gc_clock)
        query = query.where(columns.namespace == self._namespace)
        row = self._connection.execute(query).one_or_none()
        if row is None:
            create_store(self._database, self._connection, self._namespace)
            row = self._connection.execute(query).one()
        own = qualified_origin(CLOUD_ORIGIN, row.replica_id)
        return WriteContext(document, own, self.seen([own]).get(own), now, GcWatermark(row.gc_version, row.gc_clock))

    def write(self, before: Locked, decision: Decision, at: int, *, max_history: int, max_conflicts: int) -> None:
        """Write a decision. The feed's number is taken last, since its row stays locked until the commit."""
        self._write_seen(decision)
        events = self._append(HISTORY, before.events, max_history, [_event(each, at) for each in decision.events])
        lost = [_conflict(each, at) for each in decision.conflicts]
        losses = self._append(CONFLICTS, before.losses, max_conflicts, lost)
        values: dict[str, Any] = {"events": events, "losses": losses} if decision.events or lost else {}
        values |= _changed(before.document, decision.document)
        if decision.is_changed:
            values["number"] = self._next_number()
        if values:
            self._connection.execute(update(DOCUMENTS).where(self._of(DOCUMENTS)).values(values))

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
            numbered = enumerate(kept, start=after - len(kept) + 1)
            self._connection.execute(
                insert(table), [{**self._name, "number": number, **row} for number, row in numbered]
            )
            if after > most:
                self._connection.execute(delete(table).where(self._of(table), table.c.number <= after - most))
        return after

    def _next_number(self) -> int:
        step = (
            update(STORES)
            .where(STORES.c.namespace == self._namespace)
            .values(feed_number=STORES.c.feed_number + 1)
            .returning(STORES.c.feed_number)
        )
        number = self._connection.execute(step).scalar_one_or_none()
        if number is None:
            create_store(self._database, self._connection, self._namespace)
            number = self._connection.execute(step).scalar_one()
        return int(number)


def _changed(before: ScopeDocument | None, after: ScopeDocument) -> dict[str, Any]:
    """Return the columns that differ, so that an unchanged body, which may be large, is not written again."""
    values: dict[str, Any] = {}
    if before is None or before.state.body != after.state.body:
        values["body"] = after.state.body
    rest = {
        "head": to_head(after.state),
        **{name: getattr(after, name) for name in ("latest_clock", "peer_version", "authority", "strategy")},
    }
    return values if before == after else {**values, **rest}


def create_store(database: Database, connection: Connection, namespace: str) -> None:
    """Insert the namespace's row, with a random replica id, where there is none."""
    row = database.insert(STORES).values(
        namespace=namespace, replica_id=new_replica_id(), feed_number=0, high_water=0, gc_version=0, gc_clock=""
    )
    connection.execute(row.on_conflict_do_nothing())


def new_replica_id() -> str:
    """Return an id that no store has had."""
    return secrets.token_hex(8)


def _event(event: PushEvent, at: int) -> dict[str, Any]:
    return {"version": event.version, "success": event.success, "error": event.error, "at": at}


def _conflict(conflict: LostState, at: int) -> dict[str, Any]:
    return {
        "lost": conflict.lost,
        "loser": to_head(conflict.loser),
        "body": conflict.loser.body,
        "winner": to_head(conflict.winner),
        "at": at,
    }


def event_of(row: Any) -> SyncEvent:
    """Return an event of the history."""
    return SyncEvent("push", row.version, row.success, from_timestamp(row.at / 1e6), row.error)


def conflict_of(row: Any) -> dict[str, Any]:
    """Return the losing side of a conflict, and what won: as ``RedisCloudStore.conflicts`` does."""
    loser, winner = from_head(row.loser, row.body), from_head(row.winner, b"")
    body = check_body(loser.body, loser.checksum, f"conflict {row.number}")
    return {
        "id": str(row.number),
        "lost": row.lost,
        "version": loser.version,
        "data": visible_data(body),
        **_facts(loser),
        "winner": {"version": winner.version, **_facts(winner)},
        "timestamp": from_timestamp(row.at / 1e6),
    }


def _facts(state: Change) -> dict[str, Any]:
    return {
        "checksum": state.checksum,
        "updated_at": clock.to_datetime(state.clock.encode()),
        "origin": state.name,
    }
