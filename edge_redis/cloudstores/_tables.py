"""Every table of SqlCloudStore. All rows of a namespace belong to one store; two namespaces share nothing.

| table                | a row for each           | holds                                                          |
|----------------------|--------------------------|----------------------------------------------------------------|
| edge_redis_stores    | namespace                | site (a random name made with the row), sequence (the feed's   |
|                      |                          | last number), told (the highest one that an edge was told),    |
|                      |                          | floor_version and floor_clock (those of the newest delete that |
|                      |                          | was forgotten: a scope that is created begins above them)      |
| edge_redis_documents | scope                    | the present state: head (JSON) and body; tick, remote,         |
|                      |                          | authority and strategy (``state.deciding.Document``); number   |
|                      |                          | (its place in the feed); events and losses (how many there     |
|                      |                          | ever were)                                                     |
| edge_redis_seen      | scope and origin         | the newest state had of the origin (``state.deciding.Seen``)   |
| edge_redis_history   | change pushed to a scope | version, success, error and at; the newest ``max_history``     |
| edge_redis_conflicts | losing side of a scope   | lost, loser (JSON), body, winner (JSON) and at; the newest     |
|                      |                          | ``max_conflicts``                                              |

A head is every field of ``state.change.Change`` but the body: a field added there with a default is carried
here with no change of a table. Times (``at``) are in microseconds since 1970, by the database's clock.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, ColumnElement, Index, LargeBinary, MetaData, Table, Text, cast

METADATA: Final = MetaData()


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


STORES: Final = Table(
    "edge_redis_stores",
    METADATA,
    _key("namespace"),
    Column("site", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("told", BigInteger, nullable=False),
    Column("floor_version", BigInteger, nullable=False),
    Column("floor_clock", Text, nullable=False),
)

DOCUMENTS: Final = Table(
    "edge_redis_documents",
    METADATA,
    _key("namespace"),
    _key("scope"),
    # Empty only within the transaction that creates the scope: it inserts the row to lock it.
    Column("number", BigInteger),
    Column("head", JSON),
    Column("tick", Text),
    Column("remote", BigInteger),
    Column("authority", Text),
    Column("strategy", Text),
    Column("events", BigInteger, nullable=False),
    Column("losses", BigInteger, nullable=False),
    Column("body", LargeBinary),
    Index("edge_redis_feed", "namespace", "number", unique=True),
)

SEEN: Final = Table(
    "edge_redis_seen",
    METADATA,
    _key("namespace"),
    _key("scope"),
    _key("origin"),
    Column("version", BigInteger, nullable=False),
    Column("checksum", Text, nullable=False),
    Column("clock", Text, nullable=False),
    Column("life", Text, nullable=False),
)

HISTORY: Final = Table(
    "edge_redis_history",
    METADATA,
    _key("namespace"),
    _key("scope"),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("success", Boolean, nullable=False),
    Column("error", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

CONFLICTS: Final = Table(
    "edge_redis_conflicts",
    METADATA,
    _key("namespace"),
    _key("scope"),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("lost", Text, nullable=False),
    Column("loser", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("winner", JSON, nullable=False),
    Column("at", BigInteger, nullable=False),
)


def readable(column: Column[Any]) -> ColumnElement[Any]:
    """Return a column as what is in it, under its name: the library would fail a whole page for one damaged value."""
    if isinstance(column.type, JSON):
        return cast(column, Text).label(column.name)
    if isinstance(column.type, LargeBinary):
        return cast(column, LargeBinary).label(column.name)
    return column
