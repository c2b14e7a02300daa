"""A feed that is rebuilt from headers and splices is the feed of whole states, whatever its reader knows."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from edge_redis import ConflictStrategy, RedisCloudStore
from edge_redis._sync.known_states import KnownStates
from edge_redis.cloudstores import Change, Feed, encode_data
from support.clouds import change

SCOPES = [f"room {number}" for number in range(6)]
SIZES = [3, 40, 200]
"""Fields: bodies that are too small for a splice, and larger ones."""


class Writers:
    """Edges, and an operator in the cloud, that write at random."""

    def __init__(self, client: Any, seed: int, strategy: ConflictStrategy) -> None:
        self.random = random.Random(f"{seed} {strategy}")
        self.strategy = strategy
        self.edge = RedisCloudStore(client)
        self.operator = RedisCloudStore(client)
        self.clock = 0

    def write(self, *stores: RedisCloudStore) -> None:
        """Write something: through an edge's store, one of the readers' own ones, or in the cloud."""
        source = self.random
        scope = source.choice(SCOPES)
        kind = source.random()
        if kind < 0.1:
            self.operator.delete(scope)
        elif kind < 0.6:
            self.operator.update(scope, self._edit(scope), is_delta=source.random() < 0.7)
        else:
            store = source.choice([self.edge, *stores])
            store.apply(scope, [*self._changes(scope)], self.strategy)

    def _edit(self, scope: str) -> dict[str, Any]:
        fields = SIZES[SCOPES.index(scope) % len(SIZES)]
        count = self.random.choice([1, 1, 1, 2, fields])
        return {f"field {self.random.randrange(fields)}": self.random.randbytes(12) for _ in range(count)}

    def _changes(self, scope: str) -> list[Change]:
        present = self.operator.get(scope)
        data = dict(present.data) if present else {}
        version = present.version if present else 0
        changes = []
        for _ in range(self.random.choice([1, 1, 3])):
            self.clock += 1
            version += 1
            data = data | self._edit(scope)
            made = change(version, data)
            changes.append(replace(made, clock=f"{10**15 + self.clock:018d}", origin="till\1" + "a" * 16))
        return changes


def read_all(store: RedisCloudStore, cursor: str = "") -> list[tuple[str, Change]]:
    """Read the feed to its end, a few scopes at a time."""
    found: list[tuple[str, Change]] = []
    while True:
        feed = store.changes_since(cursor, 4)
        assert feed.damaged == []
        found += feed.changes
        if feed.cursor == cursor:
            return found
        cursor = feed.cursor


def evicting(client: Any) -> RedisCloudStore:
    store = RedisCloudStore(client)
    component: Any = store._component
    known = KnownStates(max_bytes=6000)
    (shard,) = component.shards.of(1)
    for part in (component, shard.uplink, shard.downlink):
        part._known = known
    return store


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "strategy", [ConflictStrategy.LATEST_WINS, ConflictStrategy.MERGE], ids=lambda each: each.value
)
def test_a_rebuilt_feed_is_that_of_whole_states(client: Any, strategy: ConflictStrategy, seed: int) -> None:
    writers = Writers(client, seed, strategy)
    warm, tight = RedisCloudStore(client), evicting(client)
    cursors = [""]
    for _ in range(60):
        writers.write(warm, tight)
        if writers.random.random() < 0.4:
            cursor = writers.random.choice([cursors[-1], *cursors])
            expected = RedisCloudStore(client).changes_since(cursor, 100)
            assert warm.changes_since(cursor, 100) == tight.changes_since(cursor, 100) == expected
            cursors.append(expected.cursor)
    assert read_all(warm) == read_all(tight) == RedisCloudStore(client).changes_since().changes
    for _, state in warm.changes_since().changes:
        state.verify()


def body(number: int) -> dict[str, Any]:
    return {f"field {n:03}": n / 7 for n in range(4000)} | {"changed": f"twenty bytes {number:07}"}


def test_a_reader_that_is_a_few_changes_behind_reads_splices(client: Any) -> None:
    cloud, reader = RedisCloudStore(client), RedisCloudStore(client)
    cloud.update("hall", body(0))
    feed = reader.changes_since()
    for behind in (1, 2, 5):
        for number in range(behind):
            cloud.update("hall", body(10 * behind + number))
        feed = reader.changes_since(feed.cursor)
        assert feed.changes == RedisCloudStore(client).changes_since().changes
    assert reader.link["full_states_down"] == 1


def test_what_was_sent_comes_back_as_a_header(client: Any) -> None:
    store = RedisCloudStore(client)
    sent = [replace(change(number, body(number)), origin="till\1" + "a" * 16) for number in (1, 2)]
    store.apply("hall", sent[:1], ConflictStrategy.REMOTE_WINS)
    feed = store.changes_since()
    store.apply("hall", sent[1:], ConflictStrategy.REMOTE_WINS)
    before = store.link
    assert store.changes_since(feed.cursor).changes == [("hall", sent[1])]
    after = store.link
    assert {name: after[name] - before[name] for name in ("full_states_down", "splices_down", "headers_down")} == {
        "full_states_down": 0,
        "splices_down": 0,
        "headers_down": 1,
    }
    assert after["bytes_down"] - before["bytes_down"] < 300


def test_a_change_of_a_field_costs_its_bytes_on_the_way_down(client: Any) -> None:
    cloud, reader = RedisCloudStore(client), RedisCloudStore(client)
    cloud.update("hall", body(0))
    feed = reader.changes_since()
    before = reader.link
    cloud.update("hall", body(1))
    assert reader.changes_since(feed.cursor).changes[0][1].body == encode_data(body(1))
    after = reader.link
    assert after["splices_down"] - before["splices_down"] == 1
    assert after["bytes_down"] - before["bytes_down"] < 500


def test_a_damaged_splice_is_passed_over(client: Any) -> None:
    cloud, reader = RedisCloudStore(client), RedisCloudStore(client)
    cloud.update("hall", body(0))
    feed = reader.changes_since()
    cloud.update("hall", body(1))
    key = "er:{default:cloud0}:doc:hall"
    chain = client.hget(key, "splice")
    for damaged in (
        chain[:-3],
        chain.replace(b"twenty", b"thirty"),
        chain[:128] + b"9999:",
        b"",
        chain[:64] + b"x" * 99,
    ):
        client.hset(key, "splice", damaged)
        assert RedisCloudStore(client).changes_since().changes == reader.changes_since(feed.cursor).changes
    assert isinstance(feed, Feed)


def test_a_body_that_is_damaged_is_named_by_every_reader(client: Any) -> None:
    cloud, cold, warm = (RedisCloudStore(client) for _ in range(3))
    cloud.update("hall", body(0))
    warm.changes_since()
    cloud.update("hall", body(1))
    client.hset("er:{default:cloud0}:doc:hall", mapping={"data": b"\x81", "splice": b""})
    for reader in (cold, warm):
        ((scope, state),) = reader.changes_since().changes
        assert (scope, state.body) == ("hall", b"\x81")
