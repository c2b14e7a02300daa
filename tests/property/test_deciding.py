"""Conflict resolution in Lua and in Python (``_sync/resolution.py``) gives the same results for the same calls.

RedisCloudStore runs the scripts on fakeredis, SqlCloudStore decides in Python on SQLite. Both get one random sequence
of calls, with clocks that stand still; afterwards everything that can be read from them is equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import fakeredis
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from sqlalchemy import Connection, select

from edge_redis import ConflictStrategy, EdgeRedisError, RedisCloudStore
from edge_redis._sync import fields as field_maps
from edge_redis.cloudstores import TOMBSTONE, Change, encode_data, qualified_origin
from edge_redis.cloudstores._stores import create_store
from edge_redis.cloudstores._tables import DOCUMENTS, STORES
from edge_redis.cloudstores.sql import SqlCloudStore
from support.checked import bytes_of
from support.clock import ServerClock, stop_the_clock

NOW = 1_790_000_000
SCOPES = ("kitchen", "kitchen", "kitchen", "hall")
_names = count()

BODIES = [encode_data({"a": 1}), encode_data({"a": 2, "b": 1}), encode_data({}), TOMBSTONE]
CLOCKS = [f"{(NOW + seconds) * 1_000_000:018d}" for seconds in (-2, -1, 0, 1, 2)]
INCARNATIONS = [qualified_origin("one", incarnation) for incarnation in "ab"]
RUNS = [
    qualified_origin("one", f"a-1\x02{run}") for run in ("", f"b-{CLOCKS[1].lstrip('0')}", f"c-{CLOCKS[3].lstrip('0')}")
]
"""Incarnations of one store, each by another run of its server."""
ORIGINS = ["one", "two", "zoé", "", "cloud", *INCARNATIONS, qualified_origin("cloud", "a")]
POOLS = [
    ["one"],
    ["one", "cloud"],
    ["", "one"],
    [""],
    INCARNATIONS,
    RUNS,
    [*INCARNATIONS, qualified_origin("cloud", "a")],
    ORIGINS,
]
"""The origins of one example: few, so that its states meet."""


def _stamp(draw: Any) -> field_maps.Stamp:
    return draw(st.sampled_from(CLOCKS)), draw(st.sampled_from(ORIGINS))


@st.composite
def fields(draw: Any) -> bytes:
    """Draw a body of merged fields."""
    found = {
        name: field_maps.Field(_stamp(draw), draw(st.sampled_from([None, b"\x01", b"\x02"])))
        for name in draw(st.sets(st.sampled_from("ab")))
    }
    deleted = draw(st.sampled_from([field_maps.NO_STAMP, (CLOCKS[2], "one")]))
    return field_maps.pack(field_maps.join(field_maps.Fields(found), field_maps.Fields(deleted=deleted)))


@st.composite
def changes(draw: Any, origins: list[str], *, with_fields: bool) -> Change:
    """Draw a state of an edge, from few values of each kind, so that equal ones meet."""
    body = draw(fields() if with_fields and draw(st.booleans()) else st.sampled_from(BODIES))
    checksum = hashlib.sha256(body).hexdigest()
    stamp = f"{CLOCKS[2]}-{hashlib.sha256(BODIES[0]).hexdigest()[:16]}"
    base = draw(st.sampled_from(["", "", stamp, f"{stamp}+{CLOCKS[1]}"]))
    version, clock, origin = draw(st.integers(1, 4)), draw(st.sampled_from(CLOCKS)), draw(st.sampled_from(origins))
    return Change(version, clock, origin, checksum, base, body, draw(st.booleans()))


@dataclass(frozen=True)
class Call:
    """A call of a store's method."""

    name: str
    arguments: tuple[Any, ...]

    def on(self, store: Any) -> Any:
        """Return the outcome, or the type and text of the error."""
        try:
            outcome = getattr(store, self.name)(*self.arguments)
        except EdgeRedisError as error:
            return type(error), str(error)
        return outcome


@st.composite
def calls_of(draw: Any, strategies: Any) -> list[Call]:
    """Draw a sequence of calls."""
    with_fields = draw(st.sampled_from([False, False, True]))  # a scope that gets merged fields is merged from then on
    states = changes(draw(st.sampled_from(POOLS)), with_fields=with_fields)
    scope, data = st.sampled_from(SCOPES), st.sampled_from([{"a": 1}, {"b": 1}, {}])
    one = st.one_of(
        *[st.tuples(st.just("apply"), st.tuples(scope, st.lists(states, min_size=3, max_size=8), strategies))] * 6,
        st.tuples(st.just("update"), st.tuples(scope, data, st.booleans())),
        st.tuples(st.sampled_from(["delete", "release_authority"]), st.tuples(scope)),
        st.tuples(st.just("delete_fields"), st.tuples(scope, st.sampled_from("ab"))),
        st.tuples(st.just("purge_tombstones"), st.tuples(st.sampled_from([0, 0, 1, 3]))),
    )
    return [Call(*found) for found in draw(st.lists(one, min_size=3, max_size=8))]


HIDDEN = ("latest_clock", "peer_version", "authority", "strategy", "deleted")


def hidden_of(store: Any, scope: str) -> list[str | None]:
    """Return the parts of a document that no method returns."""
    if isinstance(store, RedisCloudStore):
        key = store._component.shards.of(1)[0].replica.keys.doc(scope)
        return [bytes_of(value).decode() if value else None for value in store._runner.client.hmget(key, HIDDEN)]
    columns = [DOCUMENTS.c[name] for name in HIDDEN[:-1]] + [DOCUMENTS.c.head["deleted"].as_string()]
    query = select(*columns).where(DOCUMENTS.c.namespace == store._namespace, DOCUMENTS.c.scope == scope)
    with store._database.engine.connect() as connection:
        row = connection.execute(query).one_or_none() or [None] * len(HIDDEN)
    return [None if value in {None, ""} else str(value) for value in row]


def known_of(store: Any) -> dict[str, Any]:
    """Return everything that can be read from a store but times and ids, which differ between stores."""
    found: dict[str, Any] = {}
    for scope in sorted(set(SCOPES)):
        found[scope] = store.get(scope)
        found[f"hidden of {scope}"] = hidden_of(store, scope)
        found[f"history of {scope}"] = [
            (event.direction, event.version, event.success, event.error) for event in store.sync_history(scope, 1000)
        ]
        found[f"conflicts of {scope}"] = [
            {key: value for key, value in conflict.items() if key not in {"id", "timestamp"}}
            for conflict in store.conflicts(scope, 1000)
        ]
    feed = store.changes_since("", 100)
    found["feed"] = feed.changes, feed.strategies, feed.damaged
    found["position"] = feed.cursor.partition(":")[2]
    found["one at a time"] = [scope for scope, _ in store.changes_since("", 1).changes]
    return found


def give_one_replica_id(one: RedisCloudStore, other: SqlCloudStore) -> None:
    """Give both stores the same replica id, which is a part of the origins that they write."""
    query = select(STORES.c.replica_id).where(STORES.c.namespace == other._namespace)

    def create(connection: Connection) -> str:
        create_store(other._database, connection, other._namespace)
        return str(connection.execute(query).scalar_one())

    one._runner.client.set(
        one._component.shards.of(1)[0].replica.keys.replica_id, other._database.write("create", create)
    )


@pytest.fixture(scope="module")
def redis_and_sql() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        stop_the_clock(patch, NOW)
        patch.setattr("edge_redis.cloudstores._database.time", ServerClock(NOW))
        patch.setattr(ServerClock, "time_ns", lambda clock: int(clock.now) * 1_000_000_000, raising=False)
        edge, url = fakeredis.FakeRedis(), "sqlite://"
        first = SqlCloudStore(url)

        def make() -> tuple[RedisCloudStore, SqlCloudStore]:
            namespace = f"n{next(_names)}"
            stores = (
                RedisCloudStore(edge, namespace=namespace),
                SqlCloudStore(first._database.engine, namespace=namespace),
            )
            give_one_replica_id(*stores)
            return stores

        yield make
        first.close()


Make = Callable[[], tuple[RedisCloudStore, SqlCloudStore]]


ALL = list(ConflictStrategy)
STRATEGIES = {
    "by version": [ConflictStrategy.REMOTE_WINS],
    "by clock": [ConflictStrategy.LATEST_WINS],
    "without merge": [each for each in ALL if each is not ConflictStrategy.MERGE],
    "any strategy": ALL,
}


@pytest.mark.parametrize("strategies", STRATEGIES.values(), ids=STRATEGIES)
def test_redis_and_sql_resolve_the_same_calls_to_the_same_state(
    redis_and_sql: Make, strategies: list[ConflictStrategy]
) -> None:
    compare(redis_and_sql, strategies, examples=8)


@pytest.mark.exploration
@pytest.mark.parametrize("strategies", STRATEGIES.values(), ids=STRATEGIES)
def test_redis_and_sql_resolve_many_more_calls_to_the_same_state(
    redis_and_sql: Make, strategies: list[ConflictStrategy]
) -> None:
    compare(redis_and_sql, strategies, examples=50)


def compare(redis_and_sql: Make, strategies: list[ConflictStrategy], *, examples: int) -> None:
    @settings(max_examples=examples)
    @given(calls=calls_of(st.sampled_from(strategies)))
    def check(calls: list[Call]) -> None:
        one, other = redis_and_sql()
        for call in calls:
            assert call.on(other) == call.on(one)
        assert known_of(other) == known_of(one)

    check()
