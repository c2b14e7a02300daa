"""The feed that edges follow: the rules of ``state/lua/feed.lua``, over the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, case, func, select, update

from edge_redis._sync.change import Feed
from edge_redis._sync.replica import FEED_BYTES
from edge_redis.cloudstores._database import Database
from edge_redis.cloudstores._rows import from_head, name_store, new_name
from edge_redis.cloudstores._tables import DOCUMENTS, STORES, readable
from edge_redis.errors import CorruptDataError, StoreUnavailableError

_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class _Page:
    site: str
    told: int
    place: int
    rows: Sequence[Any]
    restarted: bool = False


def read_feed(database: Database, namespace: str, cursor: str, limit: int) -> Feed:
    """Return up to ``limit`` scopes changed after ``cursor``."""
    site, _, number = cursor.rpartition(":")
    at = (site, int(number)) if number.isascii() and number.isdigit() else ("", 0)
    for _ in range(_TRIES):
        page = database.read("changes_since", lambda connection: _read(connection, namespace, *at, limit))
        if page is None:
            database.write("changes_since", lambda connection: _rename(database, connection, namespace, *at))
        elif page.place <= page.told or database.write("changes_since", partial(_tell, namespace, page)):
            return _feed(page)
    raise StoreUnavailableError("changes_since: the store became another one, again and again")


def _feed(page: _Page) -> Feed:
    """Return a page as it is sent; what is damaged is named, and holds up no other."""
    feed = Feed(f"{page.site}:{page.place}", [], restarted=page.restarted)
    for row in page.rows:
        try:
            feed.changes.append((row.scope, from_head(row.head, row.body)))
        except CorruptDataError as error:
            feed.damaged.append((row.scope, str(error)))
        else:
            if row.strategy:
                feed.strategies[row.scope] = row.strategy
    return feed


def _store(connection: Connection, namespace: str, *, lock: bool = False) -> Any:
    query = select(STORES.c.site, STORES.c.told).where(STORES.c.namespace == namespace)
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def _read(connection: Connection, namespace: str, site: str, number: int, limit: int) -> _Page | None:
    """Return the page after a place, None where the store has no name, or must take another one first."""
    store = _store(connection, namespace)
    if store is None or (site == store.site and number > store.told):
        return None
    known = site == store.site
    start = number if known else 0
    columns = DOCUMENTS.c
    after = (columns.namespace == namespace) & (columns.number > start)
    sizes = (
        select(columns.number, func.coalesce(func.length(columns.body), 0))
        .where(after)
        .order_by(columns.number)
        .limit(limit)
    )
    last = _last(start, connection.execute(sizes).all())
    # A scope that changed between the two has a later number now, and comes with a later page.
    query = select(columns.scope, columns.strategy, readable(columns.head), readable(columns.body))
    query = query.where(after, columns.number <= last)
    rows = connection.execute(query.order_by(columns.number)).all()
    return _Page(store.site, store.told, last, rows, restarted=site != "" and not known)


def _last(start: int, sizes: Sequence[Any]) -> int:
    """Return the number up to which a page is not too large; it holds one scope at least, where there is one."""
    place, total = start, 0
    for number, size in sizes:
        place, total = number, total + size
        if total >= FEED_BYTES:
            break
    return int(place)


def _rename(database: Database, connection: Connection, namespace: str, site: str, number: int) -> None:
    """Name the store; anew where it told more than it remembers: it is older than it was.

    The other name tells that to every other edge, even once as many changes have come again.
    """
    store = _store(connection, namespace, lock=True)
    if store is None:
        name_store(database, connection, namespace)
    elif site == store.site and number > store.told:
        connection.execute(update(STORES).where(STORES.c.namespace == namespace).values(site=new_name()))


def _tell(namespace: str, page: _Page, connection: Connection) -> bool:
    """Remember how far edges have been told, before they are; False where the page is not of this store any more."""
    here = (STORES.c.namespace == namespace) & (STORES.c.site == page.site) & (STORES.c.sequence >= page.place)
    told = case((STORES.c.told < page.place, page.place), else_=STORES.c.told)
    return connection.execute(update(STORES).where(here).values(told=told)).rowcount > 0
