"""The row of a namespace: its replica id, and the numbers that its feed has given out."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal, select, update

from edge_redis.cloudstores._database import Database
from edge_redis.cloudstores._tables import STORES


def read_store(connection: Connection, namespace: str, *, lock: bool = False) -> Any:
    """Return the row of a namespace, None where there is none; with ``lock``, lock it until the transaction ends."""
    query = select(STORES).where(STORES.c.namespace == namespace)
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def create_store(database: Database, connection: Connection, namespace: str) -> None:
    """Insert the namespace's row, with a random replica id, where there is none."""
    row = database.insert(STORES).values(
        namespace=namespace, replica_id=new_replica_id(), feed_number=0, high_water=0, gc_version=0, gc_clock=""
    )
    connection.execute(row.on_conflict_do_nothing())


def new_replica_id() -> str:
    """Return an id that no store has had."""
    return secrets.token_hex(8)


def next_feed_number(
    database: Database, connection: Connection, namespace: str, notification: tuple[str, str] | None = None
) -> int:
    """Return a new number of the feed. The row stays locked until the commit, so numbers become visible in order.

    With a notification, a channel and what follows the cursor in the text, the commit sends it.
    """
    columns = STORES.c
    returned: list[ColumnElement[Any]] = [columns.feed_number]
    if notification is not None:
        channel, text = notification
        returned.append(
            func.pg_notify(channel, func.concat(columns.replica_id, ":", columns.feed_number, " ", literal(text)))
        )
    here = columns.namespace == namespace
    step = update(STORES).where(here).values(feed_number=columns.feed_number + 1).returning(*returned)
    number = connection.execute(step).scalar_one_or_none()
    if number is None:
        create_store(database, connection, namespace)
        number = connection.execute(step).scalar_one()
    return int(number)
