"""RedisCloudStore over several shards: feeds read as one, workers that know nothing of it, and an agreed number."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Maker

from edge_redis import ConflictStrategy, InvalidArgumentError, StoreRefusedError
from edge_redis._core.shard_record import choose_shard
from edge_redis._core.shards import name_shards
from edge_redis._sync.feed_cursor import join_cursor, split_cursor
from edge_redis._sync.hints import is_past
from support.servers import Backend

SCOPES = [f"scope/{number}" for number in range(20)]


def tags_of(client: Any) -> set[str]:
    return {key.decode().split("}")[0] + "}" for key in client.scan_iter(match="er:{default:cloud*")}


def shard_tag(number: int) -> str:
    return f"er:{{default:cloud{name_shards('default', 'cloud', 3)[number]}}}"


def read_all(store: Any, limit: int, cursor: str = "") -> tuple[dict[str, Any], str, int]:
    """Return the states after a cursor, the cursor behind them, and how many pages there were."""
    found: dict[str, Any] = {}
    for pages in range(1, 100):
        feed = store.changes_since(cursor, limit)
        assert len(feed.changes) <= limit
        assert not feed.restarted
        found |= {scope: change.version for scope, change in feed.changes}
        cursor = feed.cursor
        if not feed.has_more:
            return found, cursor, pages
    raise AssertionError("the feed has no end")


class TestTheStore:
    def test_keeps_each_scope_in_a_shard_of_its_own(self, make: Maker, backend: Backend) -> None:
        store = make("RedisCloudStore", shards=3)
        for scope in SCOPES:
            store.update(scope, {"n": 1})
        store.update(SCOPES[0], {"m": 2}, is_delta=True)
        store.delete(SCOPES[1])
        later = make("RedisCloudStore")
        assert later.get(SCOPES[0]).data == {"n": 1, "m": 2}
        assert later.get(SCOPES[1]) is None
        with backend.client() as client:
            assert client.get("er:{default:cloud0}:layout") == b"1/3"
            assert tags_of(client) == {"er:{default:cloud0}", *map(shard_tag, range(3))}
            for scope in SCOPES:
                assert client.exists(f"{shard_tag(choose_shard(scope, 3))}:doc:{scope}")
        assert later.purge_tombstones(0) == 1
        with pytest.raises(StoreRefusedError, match="several shards"):
            later.keep_accepted()
        with pytest.raises(InvalidArgumentError, match=r"cloud .* has shards=3, not 2"):
            make("RedisCloudStore", shards=2).changes_since()

    @pytest.mark.parametrize("limit", [1, 2, 5, 100])
    def test_reads_all_feeds_as_one_in_pages_of_any_size(self, make: Maker, limit: int) -> None:
        store = make("RedisCloudStore", shards=3)
        for scope in SCOPES:
            store.update(scope, {"n": 1})
        found, cursor, pages = read_all(store, limit)
        assert found == dict.fromkeys(SCOPES, 1)
        assert pages <= 20 / limit + 4
        assert read_all(store, limit, cursor)[0] == {}
        for scope in SCOPES[5:8]:
            store.update(scope, {"n": 2})
        assert read_all(store, limit, cursor)[0] == dict.fromkeys(SCOPES[5:8], 2)

    def test_a_busy_shard_has_what_the_others_leave_of_a_page(self, make: Maker) -> None:
        store = make("RedisCloudStore", shards=3)
        busy = [scope for scope in (f"b{number}" for number in range(100)) if choose_shard(scope, 3) == 1][:12]
        for scope in busy:
            store.update(scope, {})
        feed = store.changes_since("", 12)
        assert [scope for scope, _ in feed.changes] == busy
        assert store.changes_since(feed.cursor, 12).changes == []

    def test_a_shard_that_lost_its_data_has_the_feed_begin_again(self, make: Maker, backend: Backend) -> None:
        store = make("RedisCloudStore", shards=3)
        for scope in SCOPES:
            store.update(scope, {"n": 1})
        _, cursor, _ = read_all(store, 100)
        with backend.client() as client:
            client.delete(*client.scan_iter(match=f"{shard_tag(2)}*"))
        feed = store.changes_since(cursor, 100)
        assert (feed.restarted, feed.changes) == (True, [])
        assert feed.cursor.rpartition(":")[0] != cursor.rpartition(":")[0]
        assert not store.changes_since(feed.cursor, 100).restarted
        assert store.changes_since("a-store-without-shards:7", 100).restarted

    def test_publishes_the_hints_of_all_shards_on_one_channel(self, make: Maker, backend: Backend) -> None:
        store = make("RedisCloudStore", shards=3)
        with backend.client() as client, client.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe("er:{default:cloud0}:wake")
            channel.get_message(timeout=5)
            for scope in SCOPES[:4]:
                store.update(scope, {"n": 1})
            hints = [channel.get_message(timeout=5)["data"].decode().partition(" ")[0] for _ in range(4)]
        before, after = "a,b,c:0,0,0", store.changes_since("", 100).cursor
        assert all(is_past(hint, before) for hint in hints)
        assert not any(is_past(hint, after) for hint in hints)


class TestAWorker:
    @pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)
    def test_brings_edges_together_over_shards(self, make: Maker, backend: Backend) -> None:
        cloud = make("RedisCloudStore", namespace="fleet", shards=3)
        clients = [make.client(), make.client()]
        workers, edges = [], []
        for number in range(2):
            # Two edges on one server, whose namespaces differ, carry the same scopes to one cloud.
            edges.append(
                {
                    scope: make(
                        "EdgeSynchronizer",
                        ConflictStrategy.LATEST_WINS,
                        client=clients[number],
                        scope=scope,
                        namespace=f"edge{number}",
                    )
                    for scope in SCOPES[:4]
                }
            )
            store = make("RedisCloudStore", namespace="fleet")
            workers.append(
                make("CloudWorker", getattr(store, "_target", store), client=clients[number], namespace=f"edge{number}")
            )
        for round_ in range(2):
            for at, scope in enumerate(SCOPES[:4]):
                edges[at % 2][scope].update_local({"round": round_, "by": at % 2})
            cloud.update(SCOPES[0], {"from": "the cloud", "round": round_})
            for _ in range(4):
                for worker in workers:
                    worker.run_once()
            states = [{scope: edge[scope].get_local_state().data for scope in SCOPES[:4]} for edge in edges]
            assert states[0] == states[1] == {scope: cloud.get(scope).data for scope in SCOPES[:4]}
        with backend.client() as client:
            client.delete(*client.scan_iter(match="er:{fleet:cloud3.[01].*"))
        assert sum(cloud.get(scope) is None for scope in SCOPES[:4]) > 0
        for _ in range(4):
            for worker in workers:
                worker.run_once()
        assert states[0] == {scope: cloud.get(scope).data for scope in SCOPES[:4]}
        assert all(worker.lag()["scopes_waiting"] == 0 for worker in workers)


def test_a_cursor_names_a_position_in_each_feed() -> None:
    numbers = {"a": "5", "c": "0"}
    assert join_cursor(numbers) == "a,c:5,0"
    assert split_cursor("a,c:5,0") == split_cursor("a,,c:5,,0") == numbers
    assert split_cursor("") == split_cursor(",,:,,") == {}
    assert join_cursor({}) == ""
    for other in ("a,b,c:5,6", "x", ":5", "a:5,6"):
        assert split_cursor(other) == {other: ""}
