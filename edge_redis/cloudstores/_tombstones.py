"""Purging of tombstones: the rules of ``_sync.tombstones``, over the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, case, delete, func, select, update

from edge_redis._sync import fields
from edge_redis._sync.change import visible_data
from edge_redis._sync.tombstones import cutoff_clock
from edge_redis.cloudstores._database import Database
from edge_redis.cloudstores._rows import from_head
from edge_redis.cloudstores._tables import CONFLICTS, DOCUMENTS, HISTORY, PURGED, SEEN, STORES, readable
from edge_redis.errors import ChecksumMismatchError, CorruptDataError

_PAGE: Final = 200
_MAX_PURGED: Final = 100_000
"""Scopes whose purged delete is remembered; as in ``_sync/lua/purge_tombstone.lua``."""

_ROWS: Final = 10_000
"""About how many rows of history and conflicts one transaction removes; at least those of one scope."""


@dataclass(frozen=True, slots=True)
class _Delete:
    """A deleted scope: the stamp of its delete, and about how many rows it has."""

    scope: str
    stamp: str
    rows: int


def purge(database: Database, namespace: str, seconds: float) -> int:
    """Remove the scopes that were deleted more than ``seconds`` ago, by the database's clock; return how many.

    A transaction is about a few hundred scopes, so that none blocks others for long.
    """
    now = database.read("purge_tombstones", database.now)
    cutoff = cutoff_clock(now, seconds)
    purged, after = 0, ""
    while True:
        rows = database.read("purge_tombstones", partial(_read_page, namespace, after))
        deletes = [each for row in rows if (each := _find_delete(database, namespace, row, cutoff)) is not None]
        purged += sum(
            database.write("purge_tombstones", partial(_remove, database, namespace, part))
            for part in _split_deletes(deletes)
        )
        if len(rows) < _PAGE:
            return purged
        after = rows[-1].scope


def _read_page(namespace: str, after: str, connection: Connection) -> Sequence[Any]:
    """Return the next scopes that may be deleted: those without a body, and those of merged fields."""
    columns = DOCUMENTS.c
    empty = func.length(columns.body) == 0
    is_merged = func.substr(columns.body, 1, 1) == fields.ARRAY_OF_TWO
    query = select(
        columns.scope, readable(columns.head), empty.label("is_empty"), (columns.events + columns.losses).label("rows")
    )
    query = query.where(columns.namespace == namespace, columns.scope > after, empty | is_merged)
    return connection.execute(query.order_by(columns.scope).limit(_PAGE)).all()


def _find_delete(database: Database, namespace: str, row: Any, cutoff: str) -> _Delete | None:
    """Return the delete that a row holds; None if it holds another state, a later delete, or damaged data."""
    try:
        state = from_head(row.head, b"")
        if state.clock > cutoff:
            return None
        if not row.is_empty:
            state = from_head(*database.read("purge_tombstones", partial(_read_document, namespace, row.scope)))
        state.verify()  # otherwise a body that was truncated to nothing would count as a delete
        is_old = state.clock <= cutoff and visible_data(state.body) is None
    except (CorruptDataError, ChecksumMismatchError):
        return None
    return _Delete(row.scope, state.stamp, row.rows) if is_old else None


def _read_document(namespace: str, scope: str, connection: Connection) -> tuple[Any, Any]:
    columns = DOCUMENTS.c
    query = select(readable(columns.head), readable(columns.body))
    row = connection.execute(query.where(columns.namespace == namespace, columns.scope == scope)).one_or_none()
    return ("", b"") if row is None else (row.head, row.body)  # removed meanwhile


def _split_deletes(deletes: Sequence[_Delete]) -> Iterator[list[_Delete]]:
    """Yield the deletes in parts that are small enough for one transaction."""
    part: list[_Delete] = []
    rows = 0
    for each in deletes:
        if part and rows + each.rows > _ROWS:
            yield part
            part, rows = [], 0
        part.append(each)
        rows += each.rows
    if part:
        yield part


def _remove(database: Database, namespace: str, deletes: Sequence[_Delete], connection: Connection) -> int:
    """Remove the scopes whose delete is still their newest state."""
    columns = DOCUMENTS.c
    stamps = {each.scope: each.stamp for each in deletes}
    query = select(columns.scope, readable(columns.head), columns.latest_clock)
    query = query.where(columns.namespace == namespace, columns.scope.in_(stamps))
    rows = connection.execute(query.order_by(columns.scope).with_for_update()).all()
    gone = [(row, state) for row in rows if (state := from_head(row.head, b"")).stamp == stamps[row.scope]]
    if not gone:
        return 0
    for table in (SEEN, HISTORY, CONFLICTS, DOCUMENTS):
        names = table.c.scope.in_([row.scope for row, _ in gone])
        connection.execute(delete(table).where(table.c.namespace == namespace, names))
    _remember(database, connection, namespace, {row.scope: row.latest_clock for row, _ in gone})
    # Last, like the feed's number: its row stays locked until the commit, and no other scope can change.
    _raise_gc_watermark(
        connection, namespace, max(state.version for _, state in gone), max(row.latest_clock for row, _ in gone)
    )
    return len(gone)


def _remember(database: Database, connection: Connection, namespace: str, clocks: Mapping[str, str]) -> None:
    """Remember the latest clocks of scopes that are purged."""
    rows = [{"namespace": namespace, "scope": scope, "clock": clock} for scope, clock in sorted(clocks.items())]
    write = database.insert(PURGED)
    newer = {"clock": write.excluded.clock}
    connection.execute(write.on_conflict_do_update(index_elements=["namespace", "scope"], set_=newer), rows)
    columns = PURGED.c
    ordered = select(columns.clock).where(columns.namespace == namespace).order_by(columns.clock.desc())
    oldest = connection.execute(ordered.offset(_MAX_PURGED).limit(1)).scalar_one_or_none()
    if oldest is not None:
        connection.execute(delete(PURGED).where(columns.namespace == namespace, columns.clock <= oldest))


def _raise_gc_watermark(connection: Connection, namespace: str, version: int, clock: str) -> None:
    columns = STORES.c
    higher = {
        "gc_version": case((columns.gc_version < version, version), else_=columns.gc_version),
        "gc_clock": case((columns.gc_clock < clock, clock), else_=columns.gc_clock),
    }
    connection.execute(update(STORES).where(columns.namespace == namespace).values(higher))
