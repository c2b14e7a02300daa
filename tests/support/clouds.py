"""The clouds that tests of syncing run on: in the edge's own Redis, or in an SQL database."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy

from edge_redis.cloudstores import Change, Feed, encode_data
from edge_redis.cloudstores._tables import METADATA
from edge_redis.cloudstores.sql import SqlCloudStore
from support.servers import Backend, Servers

SQL_CLOUD = "sqlite"
"""A backend whose edge is on fakeredis and whose cloud is in a file of SQLite."""

_numbers = count()


def sqlite(folder: Path) -> sqlalchemy.Engine:
    """Return the engine of a database in ``folder``, which does not wait for a disk."""
    engine = sqlalchemy.create_engine(f"sqlite:///{folder}/cloud.db")
    sqlalchemy.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF").close())
    return engine


def one_of(name: str, servers: Servers, make_folder: Callable[[], Path]) -> Iterator[Backend]:
    """Give the backend of this name, empty; a folder is made for a database alone."""
    if name != SQL_CLOUD:
        yield servers.backend(name)
        return
    engine = sqlite(make_folder())
    yield Backend("fakeredis", sql=engine)
    engine.dispose()


Rows = dict[str, list[dict[str, Any]]]


def rows(engine: sqlalchemy.Engine) -> Rows:
    """Return what is in every table."""
    with engine.begin() as connection:
        METADATA.create_all(connection)
        return {
            table.name: [
                dict(row) for row in connection.execute(table.select().order_by(*table.primary_key)).mappings()
            ]
            for table in METADATA.sorted_tables
        }


def put_back(engine: sqlalchemy.Engine, found: Rows) -> None:
    """Let every table have these rows, and no other."""
    with engine.begin() as connection:
        for table in METADATA.sorted_tables:
            connection.execute(table.delete())
            if found.get(table.name):
                connection.execute(table.insert(), found[table.name])


def clear(url: str) -> None:
    """Let a database have no table of ours."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    METADATA.drop_all(engine)


def wipe(backend: Backend) -> None:
    """Take everything from the cloud."""
    if backend.sql:
        put_back(backend.sql, {})
        return
    with backend.client() as client:
        client.delete(*client.keys("er:{default:cloud0}:*"))


def back_up(backend: Backend) -> Callable[[], None]:
    """Return what puts the cloud back to what it is now."""
    if backend.sql:
        engine, found = backend.sql, rows(backend.sql)
        return lambda: put_back(engine, found)
    with backend.client() as client:
        kept = {key: client.dump(key) for key in client.keys("er:{default:cloud0}:*")}

    def restore() -> None:
        wipe(backend)
        with backend.client() as client:
            for key, body in kept.items():
                client.restore(key, 0, body)

    return restore


def change(version: int, data: dict[str, Any] | None = None, origin: str = "till", clock: str | None = None) -> Change:
    """Return the change of an edge that writes it at the moment of its version."""
    body = encode_data(data or {"n": version})
    return Change(version, clock or f"{version:018d}", origin, hashlib.sha256(body).hexdigest(), "", body)


class Base:
    """One database, and stores in it, each on connections of its own."""

    def __init__(self, url: str) -> None:
        self.url, self.namespace = url, f"n{next(_numbers)}"
        self.made: list[SqlCloudStore] = []

    def store(self, **kwargs: Any) -> SqlCloudStore:
        """Return a new store."""
        made = SqlCloudStore(self.url, **{"namespace": self.namespace, **kwargs})
        self.made.append(made)
        return made

    def engine(self, **kwargs: Any) -> sqlalchemy.Engine:
        """Return an engine of the test's own."""
        return sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool, **kwargs)

    def rows(self) -> Rows:
        """Return what is in every table of this namespace."""
        found = rows(self.engine())
        return {name: [row for row in kept if row["namespace"] == self.namespace] for name, kept in found.items()}

    def execute(self, statement: Any, **values: Any) -> Any:
        """Execute a statement, or the text of one, in a transaction of its own."""
        with self.engine().begin() as connection:
            return connection.execute(sqlalchemy.text(statement) if isinstance(statement, str) else statement, values)

    def close(self) -> None:
        """Close all stores."""
        for store in self.made:
            store.close()


class Polled:
    """A cloud without changes that cannot be listened to, so that a worker has one round after another."""

    def __init__(self) -> None:
        self.reads = 0

    def get(self, scope: str) -> None: ...

    def apply(self, scope: str, changes: Any, strategy: Any) -> None: ...

    def changes_since(self, cursor: str, limit: int) -> Feed:
        self.reads += 1
        return Feed("id:0", [])
