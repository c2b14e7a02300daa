"""Every table of SqlCloudStore. All rows of a namespace belong to one store; two namespaces share nothing.

| table                | a row for each           | holds                                                          |
|----------------------|--------------------------|----------------------------------------------------------------|
| edge_redis_stores    | namespace                | replica_id (random, made with the row), feed_number (the last  |
|                      |                          | one), high_water (the highest one that an edge was given),     |
|                      |                          | gc_version and gc_clock (those of the newest delete that was   |
|                      |                          | purged: a scope that is created begins above them)             |
| edge_redis_documents | scope                    | the present state: head (JSON) and body; latest_clock,         |
|                      |                          | peer_version, authority and strategy (``ScopeDocument``);      |
|                      |                          | number (its position in the feed); events and losses (how many |
|                      |                          | there ever were)                                               |
| edge_redis_seen      | scope and origin         | the newest state had of the origin (``decision.Seen``)         |
| edge_redis_purged    | scope that was purged    | clock (the latest that the scope had): no older state brings   |
|                      |                          | the scope back; of the newest 100,000                          |
| edge_redis_history   | change pushed to a scope | version, success, error and at; the newest ``max_history``     |
| edge_redis_conflicts | losing side of a scope   | lost, loser (JSON), body, winner (JSON) and at; the newest     |
|                      |                          | ``max_conflicts``                                              |

A head has every field of ``Change`` but the body, as JSON: a new field with a default needs no change of a table. Times
(``at``) are in microseconds since 1970, by the database's clock.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, ColumnElement, Index, LargeBinary, MetaData, Table, Text, cast
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

METADATA: Final = MetaData()


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


STORES: Final = Table(
    "edge_redis_stores",
    METADATA,
    _key("namespace"),
    Column("replica_id", Text, nullable=False),
    Column("feed_number", BigInteger, nullable=False),
    Column("high_water", BigInteger, nullable=False),
    Column("gc_version", BigInteger, nullable=False),
    Column("gc_clock", Text, nullable=False),
)

DOCUMENTS: Final = Table(
    "edge_redis_documents",
    METADATA,
    _key("namespace"),
    _key("scope"),
    # Empty only within the transaction that creates the scope: it inserts the row to lock it.
    Column("number", BigInteger),
    Column("head", JSON),
    Column("latest_clock", Text),
    Column("peer_version", BigInteger),
    Column("authority", Text),
    Column("strategy", Text),
    Column("events", BigInteger, nullable=False),
    Column("losses", BigInteger, nullable=False),
    Column("body", LargeBinary),
    Index("edge_redis_feed", "namespace", "number", unique=True),
)


class first_segment(GenericFunction[str]):  # noqa: N801 -- the name of a function in SQL
    """The name of a scope up to its first slash or its end."""

    type = Text()
    inherit_cache = True


@compiles(first_segment)
def _compile_for_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    """Write the text of the index: with a parameter in place of a literal, no query would use it."""
    return f"split_part({compiler.process(element.clauses, **options)}, '/', 1)"


@compiles(first_segment, "sqlite")
def _compile_for_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    name = compiler.process(element.clauses, **options)
    return f"substr({name}, 1, instr({name} || '/', '/') - 1)"


SEGMENT: Final = first_segment(DOCUMENTS.c.scope)

FEED_PARTS: Final = Index("edge_redis_feed_parts", DOCUMENTS.c.namespace, SEGMENT, DOCUMENTS.c.number)
"""Lets an edge that pulls scopes of some first segments alone read these alone."""

SEEN: Final = Table(
    "edge_redis_seen",
    METADATA,
    _key("namespace"),
    _key("scope"),
    _key("origin"),
    Column("version", BigInteger, nullable=False),
    Column("checksum", Text, nullable=False),
    Column("clock", Text, nullable=False),
    Column("restored_at", Text, nullable=False),
)

PURGED: Final = Table(
    "edge_redis_purged",
    METADATA,
    _key("namespace"),
    _key("scope"),
    Column("clock", Text, nullable=False),
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
    """Return a column without SQLAlchemy's decoding, which would fail a whole page for one damaged value."""
    if isinstance(column.type, JSON):
        return cast(column, Text).label(column.name)
    if isinstance(column.type, LargeBinary):
        return cast(column, LargeBinary).label(column.name)
    return column
