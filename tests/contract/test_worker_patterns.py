"""A worker that carries a part of the scopes: filtered in the cloud, in a query, or by the worker itself."""

from __future__ import annotations

from typing import Any

import pytest

from edge_redis import CloudWorker, EdgeSynchronizer, InvalidArgumentError, InvalidTypeError, RedisCloudStore
from edge_redis._sync.patterns import Patterns
from edge_redis.cloudstores import Feed
from edge_redis.cloudstores.sql import SqlCloudStore
from support.clouds import Base

SCOPES = ["till/1", "till/2", "door", "price/é1", "price/xy"]


def drain(worker: Any) -> None:
    while worker.run_once():
        pass


def scopes_at(client: Any) -> set[str]:
    """Return the scopes that have a state at the edge."""
    keys = client.keys("er:{default:sync0}:doc:*")
    return {key.decode().partition(":doc:")[2] for key in keys}


def scopes_of(store: Any, patterns: tuple[str, ...]) -> list[str]:
    """Return the scopes of the whole feed, read two at a time."""
    found: list[str] = []
    cursor, has_more = "", True
    while has_more:
        feed = store.changes_since(cursor, 2, patterns)
        found += [scope for scope, _ in feed.changes]
        has_more, cursor = feed.cursor != cursor, feed.cursor
    return found


@pytest.mark.parametrize(
    ("push", "pull", "there"),
    [
        ((), ("till/*",), {"till/1", "till/2"}),
        ((), ("price/??", "door"), {"price/é1", "price/xy", "door"}),
        (("till/2",), ("door",), {"till/2", "door"}),
        ((), ("*",), set(SCOPES)),
        (("nothing",), (), set()),
    ],
)
def test_a_worker_pulls_what_matches_and_what_it_pushes(
    make: Any, cloud: Any, push: Any, pull: Any, there: Any
) -> None:
    for scope in SCOPES:
        cloud.update(scope, {"n": 1})
    drain(make("CloudWorker", make.cloud(), push=push, pull=pull))
    edges = {scope for scope in SCOPES if make("EdgeSynchronizer", scope=scope).local_version}
    assert edges == there


def test_a_worker_pushes_what_matches_alone(make: Any, cloud: Any) -> None:
    for scope in SCOPES:
        make("EdgeSynchronizer", scope=scope).update_local({"n": 1})
    drain(make("CloudWorker", make.cloud(), push=("till/*",), pull=("*",)))
    assert [scope for scope in SCOPES if cloud.get(scope)] == ["till/1", "till/2"]
    assert make("EdgeSynchronizer", scope="door").pending_count == 1
    drain(make("CloudWorker", make.cloud()))
    assert all(cloud.get(scope) for scope in SCOPES)


def test_wider_patterns_bring_what_was_there_before(make: Any, cloud: Any) -> None:
    def pull(*patterns: str) -> set[str]:
        drain(make("CloudWorker", make.cloud(), push=(), pull=patterns))
        return {scope for scope in SCOPES if make("EdgeSynchronizer", scope=scope).local_version}

    for scope in SCOPES:
        cloud.update(scope, {"n": 1})
    assert pull("till/1") == {"till/1"}
    assert pull("till/*") == {"till/1", "till/2"}
    assert pull("*") == set(SCOPES)
    cloud.update("door", {"n": 2})
    assert pull("door") == set(SCOPES)  # from where all scopes were read
    assert make("EdgeSynchronizer", scope="door").get_local_state().data == {"n": 2}


@pytest.mark.parametrize(
    "patterns",
    [
        ("till/?",),
        ("*1",),
        ("price/??", "door"),
        ("price/??", "d*r"),
        ("TILL/*",),
        ("%", "till_1", "[a-z]*"),
        ("till",),
    ],
)
def test_a_query_filters_by_the_same_rules(base: Base, patterns: tuple[str, ...]) -> None:
    with SqlCloudStore(base.engine(), namespace=str(patterns)) as store:
        for scope in SCOPES:
            store.update(scope, {"n": 1})
        assert scopes_of(store, patterns) == [scope for scope in SCOPES if Patterns(patterns).matches(scope)]
        assert scopes_of(store, ("*",)) == SCOPES


class Plain:
    """A store that knows nothing of patterns, and of what a worker reads."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.get, self.apply = store.get, store.apply

    def changes_since(self, cursor: str, limit: int) -> Feed:
        feed: Feed = self.store.changes_since(cursor, limit)
        return feed


def test_a_store_without_patterns_is_filtered_by_the_worker(client: Any) -> None:
    store = RedisCloudStore(client)
    for number in range(30):
        store.update(f"shelf {number}", {"n": 1})
    store.update("door", {"n": 1})
    with CloudWorker(client, Plain(store), push=(), pull=("d*",), batch_size=4) as worker:
        drain(worker)
    assert scopes_at(client) == {"door"}


def test_a_read_of_a_filtered_feed_is_bounded_and_goes_on(client: Any) -> None:
    store = RedisCloudStore(client)
    feed = "er:{default:cloud0}:feed"
    store.update("last", {"n": 1})
    client.set("er:{default:cloud0}:feed_number", 5_000)
    store.update("last", {"n": 2})
    client.zadd(feed, {f"shelf {number}": number for number in range(1, 5_000)})
    cursor, pages = "", 0
    while True:
        page = store.changes_since(cursor, 100, ("la*",))
        pages, cursor = pages + 1, page.cursor
        if page.changes:
            break
        assert page.has_more
    assert pages == 3
    assert [scope for scope, _ in page.changes] == ["last"]
    assert not store.changes_since(cursor, 100, ("la*",)).has_more


def test_an_answer_to_a_pushed_change_comes_whatever_is_pulled(make: Any, cloud: Any) -> None:
    cloud.update("till/1", {"n": "cloud"})
    cloud.update("till/1", {"n": "newer"})
    edge = make("EdgeSynchronizer", scope="till/1")
    edge.update_local({"n": "edge"})
    drain(make("CloudWorker", make.cloud(), push=("till/*",), pull=("door",)))
    assert edge.get_local_state().data == cloud.get("till/1").data == {"n": "newer"}


@pytest.mark.parametrize("name", ["push", "pull"])
def test_unusable_patterns_are_refused_at_once(make: Any, name: str) -> None:
    with pytest.raises(InvalidTypeError, match=name):
        make("CloudWorker", make.cloud(), **{name: "till/*"})
    with pytest.raises(InvalidArgumentError, match="nothing would be carried"):
        make("CloudWorker", make.cloud(), push=(), pull=())


def test_a_cloud_that_lost_its_data_gets_back_what_is_pushed(client: Any) -> None:
    for scope in ("till/1", "door"):
        with EdgeSynchronizer(client, scope=scope) as edge:
            edge.update_local({"n": 1})
    cloud = RedisCloudStore(client)
    with CloudWorker(client, cloud, push=("till/*",), pull=()) as worker:
        drain(worker)
        client.delete(*client.keys("er:{default:cloud0}:*"))
        drain(worker)
    assert cloud.get("till/1") is not None
    assert cloud.get("door") is None
