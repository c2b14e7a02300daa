"""The feed of changes: the rules of ``_sync/lua/read_feed.lua``, over the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import ColumnElement, Connection, case, func, select, update

from edge_redis._sync.feed import Feed
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.patterns import Patterns
from edge_redis._sync.scripts import FEED_BYTES
from edge_redis.cloudstores._database import Database
from edge_redis.cloudstores._feed_rows import FeedRow, keep_known, read_heads, read_rows
from edge_redis.cloudstores._patterns import matches
from edge_redis.cloudstores._rows import from_head
from edge_redis.cloudstores._stores import create_store, new_replica_id, read_store
from edge_redis.cloudstores._tables import DOCUMENTS, SEGMENT, STORES
from edge_redis.errors import CorruptDataError, StoreUnavailableError

_TRIES: Final = 5
_MAX_SCANNED: Final = 10_000
"""Scopes that one read of a filtered feed looks at."""

_DIGITS: Final = 17
"""Digits: more than any feed number has."""


@dataclass(frozen=True, slots=True)
class _Page:
    replica_id: str
    high_water: int
    position: int
    rows: Sequence[FeedRow]
    restarted: bool = False
    has_more: bool = False


class _Wanted(NamedTuple):
    """The scopes that a reader wants."""

    matches: ColumnElement[bool] | None
    """Which scopes match its patterns; None: all."""
    is_in_part: ColumnElement[bool] | None
    """Which scopes begin as its patterns do, by an index; None where one begins with anything."""

    @classmethod
    def of(cls, patterns: Sequence[str], *, is_sqlite: bool) -> Self:
        condition = matches(DOCUMENTS.c.scope, patterns, is_sqlite=is_sqlite)
        segments = None if condition is None else Patterns(patterns).segments
        return cls(condition, None if segments is None else SEGMENT.in_(segments))


def read_feed(
    database: Database, namespace: str, cursor: str, limit: int, patterns: Sequence[str], bodies: KnownStates
) -> Feed:
    """Return up to ``limit`` scopes changed after ``cursor``, of those that match the patterns.

    Bodies that are known are not read.
    """
    replica_id, _, number = cursor.rpartition(":")
    at = (replica_id, int(number)) if number.isascii() and number.isdigit() and len(number) < _DIGITS else ("", 0)
    if cursor and at[0] == "":
        at = ("-", 0)  # matches no position of this store, nor the beginning
    wanted = _Wanted.of(patterns, is_sqlite=database.is_sqlite)
    for _ in range(_TRIES):
        page = database.read(
            "changes_since", lambda connection: _read_page(connection, namespace, at, limit, wanted, bodies)
        )
        if page is None:
            database.write("changes_since", lambda connection: _change_replica_id(database, connection, namespace, *at))
        elif page.position <= page.high_water or database.write(
            "changes_since", partial(_raise_high_water, namespace, page)
        ):
            return _to_feed(page, bodies)
    raise StoreUnavailableError("changes_since: the store changed its replica id again and again")


def _to_feed(page: _Page, bodies: KnownStates) -> Feed:
    """Return a page of the feed. Damaged states are listed in ``damaged`` and do not stop the others."""
    feed = Feed(f"{page.replica_id}:{page.position}", [], restarted=page.restarted, has_more=page.has_more)
    for row in page.rows:
        try:
            change = replace(from_head(row.head, row.body), deleted="")
            feed.changes.append((row.scope, change))
            if row.is_read:
                keep_known(bodies, row.scope, change)
        except CorruptDataError as error:
            feed.damaged.append((row.scope, str(error)))
        else:
            if row.strategy:
                feed.strategies[row.scope] = row.strategy
    return feed


def _read_page(
    connection: Connection, namespace: str, at: tuple[str, int], limit: int, wanted: _Wanted, bodies: KnownStates
) -> _Page | None:
    """Return the page after a position, None where the store has no replica id, or must change it first."""
    replica_id, number = at
    store = read_store(connection, namespace)
    if store is None or (replica_id == store.replica_id and number > store.high_water):
        return None
    known = replica_id == store.replica_id
    start = number if known else 0
    if known and store.feed_number <= start:  # nothing is new, as in most reads of an edge that polls
        return _Page(store.replica_id, store.high_water, start, [])
    columns = DOCUMENTS.c
    after = (columns.namespace == namespace) & (columns.number > start)
    if wanted.is_in_part is not None:
        after &= wanted.is_in_part
    scanned = None
    if wanted.matches is not None:
        scanned = _find_scanned(connection, after)
        after &= (columns.number <= scanned.last) & wanted.matches
    found = [] if scanned is not None and not scanned.last else read_heads(connection, after, limit, bodies)
    last = _find_last(start, [(each.number, each.size) for each in found])
    is_whole = len(found) < limit and (not found or last == found[-1].number)
    if scanned is not None and is_whole:
        last = max(start, scanned.last)  # no other scope up to there matches
        if wanted.is_in_part is not None and not scanned.has_more:  # nor does any after it; reading them again is cheap
            last = max(last, min(store.feed_number, store.high_water))
    rows = read_rows(connection, namespace, [each for each in found if each.number <= last])
    restarted = replica_id != "" and not known
    has_more = not is_whole or (scanned is not None and scanned.has_more)
    return _Page(store.replica_id, store.high_water, last, rows, restarted, has_more)


class _Scanned(NamedTuple):
    """The scopes after a position that one read of a filtered feed looks at."""

    last: int
    has_more: bool


def _find_scanned(connection: Connection, after: ColumnElement[bool]) -> _Scanned:
    """Return the last number that a read looks at: so its work is bounded where hardly any scope matches."""
    numbers = select(DOCUMENTS.c.number).where(after).order_by(DOCUMENTS.c.number).limit(_MAX_SCANNED).subquery()
    last, count = connection.execute(select(func.max(numbers.c.number), func.count())).one()
    return _Scanned(last or 0, count == _MAX_SCANNED)


def _find_last(start: int, sizes: Sequence[Any]) -> int:
    """Return the last number of a page: as many scopes as fit, and one at least, if there is one."""
    position, total = start, 0
    for number, size in sizes:
        position, total = number, total + size
        if total >= FEED_BYTES:
            break
    return int(position)


def _change_replica_id(
    database: Database, connection: Connection, namespace: str, replica_id: str, number: int
) -> None:
    """Set the store's first replica id, or a new one: after a restore from a backup, edges know higher numbers than it.

    The new id shows that to every other edge, even once as many changes have come again.
    """
    store = read_store(connection, namespace, lock=True)
    if store is None:
        create_store(database, connection, namespace)
    elif replica_id == store.replica_id and number > store.high_water:
        connection.execute(update(STORES).where(STORES.c.namespace == namespace).values(replica_id=new_replica_id()))


def _raise_high_water(namespace: str, page: _Page, connection: Connection) -> bool:
    """Store the highest number that edges are given, before they get it; False if the replica id has changed."""
    here = (
        (STORES.c.namespace == namespace)
        & (STORES.c.replica_id == page.replica_id)
        & (STORES.c.feed_number >= page.position)
    )
    high_water = case((STORES.c.high_water < page.position, page.position), else_=STORES.c.high_water)
    return connection.execute(update(STORES).where(here).values(high_water=high_water)).rowcount > 0
