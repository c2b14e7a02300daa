"""The rows of a page of the feed: heads first, and only those bodies that the store object does not know."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from edge_redis._sync.change import Change
from edge_redis._sync.known_states import KnownStates
from edge_redis.cloudstores._rows import from_head
from edge_redis.cloudstores._tables import DOCUMENTS, readable
from edge_redis.errors import CorruptDataError


class FeedRow(NamedTuple):
    """A scope of the feed."""

    number: int
    scope: str
    strategy: str | None
    head: str
    body: bytes | None
    """The known body, or the one that was read; None where there is none (yet)."""
    size: int = 0
    """Bytes of the body."""
    is_read: bool = False


def read_heads(connection: Connection, after: ColumnElement[bool], limit: int, bodies: KnownStates) -> list[FeedRow]:
    """Return the first rows of a condition, without the bodies that are not known."""
    columns = DOCUMENTS.c
    size = func.coalesce(func.length(columns.body), 0).label("size")
    query = select(columns.number, columns.scope, columns.strategy, readable(columns.head), size).where(after)
    rows = []
    for row in connection.execute(query.order_by(columns.number).limit(limit)):
        body = _find_known(row, bodies) if bodies.bytes else None
        rows.append(FeedRow(row.number, row.scope, row.strategy, row.head, body, row.size))
    return rows


def read_rows(connection: Connection, namespace: str, heads: Sequence[FeedRow]) -> list[FeedRow]:
    """Return rows with their bodies. A scope that changed meanwhile is left out: it is in a later page now."""
    columns = DOCUMENTS.c
    numbers = [head.number for head in heads if head.body is None]
    if not numbers:
        return [*heads]
    query = select(columns.number, columns.scope, columns.strategy, readable(columns.head), readable(columns.body))
    query = query.where(columns.namespace == namespace, columns.number.in_(numbers))
    read = {row.number: FeedRow(*row, is_read=True) for row in connection.execute(query)}
    return [row for head in heads if (row := head if head.body else read.get(head.number)) is not None]


def keep_known(bodies: KnownStates, scope: str, change: Change) -> None:
    """Keep the body of a row that was read, if it is that of its checksum."""
    if bodies.takes(change) and hashlib.sha256(change.body).hexdigest() == change.checksum:
        bodies.put(scope, change)


def _find_known(row: Any, bodies: KnownStates) -> bytes | None:
    known = bodies.get(row.scope)
    try:
        return known.body if known is not None and from_head(row.head, b"").checksum == known.checksum else None
    except CorruptDataError:
        return None
