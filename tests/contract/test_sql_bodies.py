"""Bodies between SqlCloudStore and PostgreSQL: known ones are not read, and of new ones only what differs is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from edge_redis import ConflictStrategy
from edge_redis._sync import fields as field_maps
from edge_redis.cloudstores import Change, encode_data
from edge_redis.cloudstores._tables import DOCUMENTS
from edge_redis.cloudstores.sql import SqlCloudStore
from support.checked import present
from support.clouds import Base
from support.postgres import Postgres

REMOTE, MERGE = ConflictStrategy.REMOTE_WINS, ConflictStrategy.MERGE
DATA: dict[str, Any] = {f"field {number:03}": number / 7 for number in range(2000)}


class Link:
    """What passes between an engine and its database, of bodies."""

    def __init__(self, engine: sa.Engine) -> None:
        self.sent = self.read = 0
        sa.event.listen(engine, "before_cursor_execute", self._count)

    def _count(self, _1: Any, _2: Any, statement: str, parameters: Any, *_: Any) -> None:
        for each in parameters if isinstance(parameters, list) else [parameters]:
            values = [getattr(value, "obj", value) for value in each.values()]  # the driver wraps bytes
            self.sent += sum(len(value) for value in values if isinstance(value, bytes))
        self.read += statement.startswith("SELECT") and "AS body" in statement

    def forget(self) -> None:
        self.sent = self.read = 0


@pytest.fixture
def base(postgres: Postgres) -> Iterator[Any]:
    made = Base(postgres.url)
    yield made
    made.close()


@pytest.fixture
def store(base: Base) -> SqlCloudStore:
    return base.store()


@pytest.fixture
def link(store: SqlCloudStore) -> Link:
    return Link(store._database.engine)


def change(version: int, data: dict[str, Any], origin: str = "till", *, merged: bool = False) -> Change:
    clock = f"{version:018d}"
    body = encode_data(data)
    if merged:
        fields = field_maps.lift(f"{1:018d}", origin, DATA)
        body = field_maps.pack(field_maps.edit(fields, data, (clock, origin), is_delta=False))
    return Change(version, clock, origin, hashlib.sha256(body).hexdigest(), "", body)


@pytest.mark.parametrize("strategy", [REMOTE, MERGE])
def test_a_small_change_of_a_large_state_sends_what_differs_and_reads_no_body(
    base: Base, store: SqlCloudStore, link: Link, strategy: ConflictStrategy
) -> None:
    is_merged = strategy is MERGE
    states = [change(n, {**DATA, "field 900": f"text {n}"}, merged=is_merged) for n in (1, 2, 3)]
    assert store.apply("room", states[:1], strategy) == ["accepted"]
    link.forget()
    assert store.apply("room", states[1:2], strategy) == ["accepted"]
    cursor = store.changes_since().cursor
    assert store.apply("room", states[1:], strategy) == ["duplicate", "accepted"]
    (_, found), *others = store.changes_since(cursor).changes
    assert (found.body, found.checksum) == (states[2].body, states[2].checksum)
    assert not others
    assert link.read == 0
    assert link.sent < len(states[2].body) / 10
    other = base.store()
    assert present(other.get("room")) == states[2].state
    assert other.changes_since(cursor).changes == [("room", found)]


def test_a_body_is_sent_whole_where_the_rows_is_not_the_known_one(base: Base, store: SqlCloudStore, link: Link) -> None:
    states = [change(n, {**DATA, "field 900": f"text {n}"}) for n in (1, 2, 3, 4)]
    store.apply("room", states[:1], REMOTE)
    base.store().apply("room", states[1:2], REMOTE)
    store.apply("room", states[2:3], REMOTE)  # made of a state that is not there any more
    with store._database.engine.begin() as connection:  # and now with a body that is not that of its checksum
        connection.execute(sa.update(DOCUMENTS).values(body=states[2].body[:-1] + b"\xc0"))
    link.forget()
    assert store.apply("room", states[3:], REMOTE) == ["accepted"]
    assert link.sent > len(states[3].body)
    assert present(base.store().get("room")) == states[3].state


def test_the_losing_side_of_a_conflict_is_kept_without_being_read(store: SqlCloudStore, link: Link) -> None:
    lost, won = change(1, DATA), change(2, {**DATA, "field 900": None}, "other till")
    store.apply("room", [lost], REMOTE)
    link.forget()
    store.apply("room", [won], REMOTE)
    assert link.read == 0
    (conflict,) = store.conflicts("room")
    assert conflict["data"] == DATA
