"""The feed that any reader gets is what the documents say, after any history and while it is read."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Any

import pytest

from edge_redis import ConflictStrategy, RedisCloudStore
from edge_redis._sync import wire
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.patterns import Patterns
from edge_redis.cloudstores import Feed
from support.sync_plants import Runner
from support.uplinks import make_history

TAG = "er:{default:cloud0}"
SCOPES = ("hall", "room", "yard/1")
DATA: dict[str, Any] = {f"field {number:02}": number / 7 for number in range(100)}
OLDER_RELEASE = (("if not is_edge then keep_splice(", "if false then keep_splice("),)
"""Writes data, and leaves the splices that a later release has kept."""


def read_whole(client: Any, cursor: str, limit: int) -> Feed:
    """Return what the documents themselves say: the feed that a store must return."""
    position = int(cursor.rpartition(":")[2] or 0)
    page = client.zrangebyscore(f"{TAG}:feed", f"({position}", "+inf", start=0, num=limit, withscores=True)
    feed = Feed(f"{client.get(f'{TAG}:replica_id').decode()}:{int(page[-1][1]) if page else position}", [])
    for name, _ in page:
        found = client.hmget(f"{TAG}:doc:{name.decode()}", *wire.DOCUMENT_FIELDS, "strategy")
        feed.changes.append((name.decode(), replace(wire.from_document(found[:-1]), deleted="")))
        if found[-1]:
            feed.strategies[name.decode()] = found[-1].decode()
    return feed


def write_something(source: random.Random, store: RedisCloudStore, scope: str) -> None:
    """Write a scope in the cloud: usually a field of it."""
    kind = source.random()
    if kind < 0.03:
        store.delete(scope)
    elif kind < 0.15:
        store.update(scope, source.choice([{"a": 1}, DATA, DATA, {"text": source.randbytes(900)}]))
    elif kind < 0.2:
        store.update(scope, {"large": source.randbytes(300_000)})
    else:
        store.update(scope, {f"field {source.randrange(60):02}": source.random()}, is_delta=True)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("strategy", [*ConflictStrategy], ids=lambda each: each.value)
def test_any_reader_gets_the_feed_of_full_states(client: Any, strategy: ConflictStrategy, seed: int) -> None:
    source = random.Random(f"{seed} {strategy}")
    pushing, older, warm, tiny = (RedisCloudStore(client) for _ in range(4))
    older._runner = Runner(client, OLDER_RELEASE)
    tiny._component.shards.of(1)[0].downlink._known = KnownStates(2500)
    readers = [pushing, warm, tiny]
    cursors = [""]
    own = source.choice(SCOPES)
    is_by_time = strategy in (ConflictStrategy.LATEST_WINS, ConflictStrategy.MERGE)
    written = [scope for scope in SCOPES if scope != own or not is_by_time]  # edges would lose to the cloud's clock
    for scope in written:
        warm.update(scope, DATA)
    for push in make_history(seed, strategy, pushes=20):
        if push is None:
            warm.purge_tombstones(0)
        elif source.random() < 0.5:
            write_something(source, source.choice([warm, warm, warm, older]), source.choice(written))
        else:
            pushing.apply(own, push.changes, strategy)
        for reader in [*readers, RedisCloudStore(client)]:
            cursor, limit = source.choice([cursors[-1], cursors[-1], *cursors]), source.choice([1, 2, 100])
            feed = reader.changes_since(cursor, limit)
            assert feed == read_whole(client, cursor, limit)
            cursors.append(feed.cursor)
    came = [reader.link for reader in readers]
    for kind in ("splices_down", "headers_down", "full_states_down"):
        assert sum(each[kind] for each in came) > 0, f"the history shows nothing of {kind}: {came}"


@pytest.mark.parametrize("harm", ["the body", "the splice", "the base of the splice", "both"])
def test_damage_in_the_cloud_is_found_and_holds_up_nothing(client: Any, harm: str) -> None:
    store, warm = RedisCloudStore(client), RedisCloudStore(client)
    store.update("hall", DATA)
    cursor = warm.changes_since().cursor
    state = store.update("hall", {"field 30": "twenty bytes of text"}, is_delta=True)
    other = store.update("room", DATA)
    doc = f"{TAG}:doc:hall"
    if harm in ("the body", "both"):
        client.hset(doc, "data", client.hget(doc, "data").replace(b"twenty", b"TWENTY"))
    if harm in ("the splice", "both"):
        client.hset(doc, "splice", client.hget(doc, "splice").replace(b"twenty", b"tWENTY"))
    if harm == "the base of the splice":
        client.hset(doc, "splice", b"\xff" * 64 + client.hget(doc, "splice")[64:])
    for reader in (warm, RedisCloudStore(client)):
        feed = reader.changes_since(cursor)
        damaged = [scope for scope, each in feed.changes if hashlib.sha256(each.body).hexdigest() != each.checksum]
        is_lost = harm == "both" or (harm == "the body" and reader is not warm)
        assert damaged == (["hall"] if is_lost else [])
        assert [each.state for scope, each in feed.changes if scope not in damaged] == [state, other][is_lost:]
    again = store.update("hall", DATA | {"n": 1})
    assert [each.state for _, each in warm.changes_since(feed.cursor).changes] == [again]


def make_reader_of_former_states(client: Any, store: RedisCloudStore) -> RedisCloudStore:
    """Return a store that knows earlier states of all scopes, of which no splice leads to the present ones."""
    reader = RedisCloudStore(client)
    for scope in SCOPES:
        store.update(scope, DATA)
    reader.changes_since()
    for number, scope in enumerate(SCOPES):
        store.update(scope, {"other": bytes([number]) * 900})
    return reader


def test_a_scope_that_changes_between_the_two_reads_comes_at_its_newer_state(client: Any) -> None:
    store = RedisCloudStore(client)
    reader = make_reader_of_former_states(client, store)
    newer: list[Any] = []
    run = reader._runner.perform_operation

    def perform(operation: Any) -> Any:
        if operation.script and operation.script.name == "sync/read_states" and not newer:
            newer.append(store.update("hall", DATA | {"n": 1}))
            store.delete("room")
            store.purge_tombstones(0)
        return run(operation)

    reader._runner.perform_operation = perform  # type: ignore[method-assign]
    feed = reader.changes_since()
    assert [(scope, each.state) for scope, each in feed.changes] == [
        ("hall", newer[0]),
        ("yard/1", store.get("yard/1")),
    ]
    later = reader.changes_since(feed.cursor)
    assert [(scope, each.state) for scope, each in later.changes] == [("hall", newer[0])]
    assert reader.changes_since(later.cursor).changes == []


def test_states_that_are_read_again_are_bounded_in_bytes(client: Any) -> None:
    reader = make_reader_of_former_states(client, RedisCloudStore(client))
    reader._runner = Runner(client, (("if bytes >= max_bytes then break", "if bytes >= 1 then break"),))
    assert reader.changes_since() == read_whole(client, "", 100)


ALL_SCOPES = ("door", "till/1", "till/2", "till/deep/1", "shelf/1", "shelf/2", "shelf", "till")
NO_PARTS = (
    ("if part then redis.call('ZADD', part, number, scope) end", ""),
    ("redis.call('SET', tag .. ':feed_indexed', number)", ""),
)
"""A release that writes the feed alone."""
PATTERNS = [
    ("till/*",),
    ("till/*", "shelf/?", "door"),
    ("till",),
    ("t*/1", "door"),
    ("shelf/1", "shelf/2"),
    ("none/*",),
]


@pytest.mark.parametrize("patterns", PATTERNS, ids=",".join)
def test_a_reader_of_some_scopes_misses_no_change_of_any_release(client: Any, patterns: tuple[str, ...]) -> None:
    source = random.Random(str(patterns))
    store, older = RedisCloudStore(client), RedisCloudStore(client)
    older._runner = Runner(client, NO_PARTS)
    wanted = [scope for scope in ALL_SCOPES if Patterns(patterns).matches(scope)]
    had: dict[str, Any] = {}
    cursor = ""
    for _ in range(30):
        for _ in range(source.randrange(4)):
            writer = older if source.random() < 0.3 else store
            scope = source.choice(ALL_SCOPES)
            if source.random() < 0.2:
                writer.delete(scope)
            else:
                writer.update(scope, {"n": source.random()})
        if source.random() < 0.1:
            store.purge_tombstones(0)
        limit, has_more = source.choice([1, 2, 100]), True
        while has_more:
            feed = store.changes_since(cursor, limit, patterns)
            assert not feed.restarted
            assert {scope for scope, _ in feed.changes} <= {*wanted}
            had |= {scope: change.state.data if change.body else None for scope, change in feed.changes}
            has_more, cursor = feed.has_more, feed.cursor
        assert int(cursor.rpartition(":")[2]) == max((score for _, score in _feed(client)), default=0)
        for scope in wanted:
            state = store.get(scope)
            assert had.get(scope) == (None if state is None else state.data)


def _feed(client: Any) -> Any:
    return client.zrange(f"{TAG}:feed", 0, -1, withscores=True)


def test_a_reader_of_one_part_looks_at_no_other_part(client: Any) -> None:
    store = RedisCloudStore(client)
    store.update("till/1", {"n": 1})
    client.zadd(f"{TAG}:feed", {f"shelf/{number}": number for number in range(2, 5_000)})
    client.mset({f"{TAG}:feed_number": 4_999, f"{TAG}:feed_indexed": 4_999})
    first = store.changes_since("", 100, ("till/*",))
    assert ([scope for scope, _ in first.changes], first.has_more) == (["till/1"], False)
    assert first.cursor.endswith(":4999")
    store.update("till/1", {"n": 2})
    assert [scope for scope, _ in store.changes_since(first.cursor, 100, ("till/*",)).changes] == ["till/1"]
