"""The number of a cloud's shards is changed with its scopes in place, under stores and workers made before."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from functools import partial
from typing import Any

import pytest
from conftest import Maker

from edge_redis import ConflictStrategy, RedisCloudStore, StoreRefusedError
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._sync.change import Change, encode_data
from edge_redis._sync.cloud_resharding import CloudResharding
from support.checked import present
from support.deadline import eventually
from support.moved_shards import change_number, tags_of
from support.servers import Backend
from support.sync import fake

SCOPES = [f"scope/{number}" for number in range(12)]
LATEST, MERGE = ConflictStrategy.LATEST_WINS, ConflictStrategy.MERGE


change = partial(change_number, "cloud")
tags = partial(tags_of, "cloud")


def change_of_an_edge(data: dict[str, Any], clock: int, version: int = 1) -> Change:
    body, moment = encode_data(data), f"{1_700_000_000_000_000 + clock:018d}"
    return Change(version, moment, "till\1a1b2", hashlib.sha256(body).hexdigest(), "", body)


def read_on(store: Any, cursor: str = "", limit: int = 5) -> tuple[list[str], str]:
    """Return the scopes after a cursor, as often as they came, and the cursor behind them."""
    found: list[str] = []
    for _ in range(100):
        page = store.changes_since(cursor, limit)
        assert not page.restarted
        found += [scope for scope, _ in page.changes]
        cursor = page.cursor
        if not page.has_more:
            return found, cursor
    raise AssertionError("the feed has no end")


def test_all_that_is_kept_of_a_scope_goes_along(make: Maker, backend: Backend) -> None:
    store, idle = make("RedisCloudStore"), make("RedisCloudStore")
    for scope in SCOPES:
        store.update(scope, {"n": 1, "text": scope * 100})
    store.update(SCOPES[0], {"m": 2}, is_delta=True)
    assert store.apply(SCOPES[1], [change_of_an_edge({"edge": 1}, 5)], LATEST) == ["rejected"]
    store.apply("merged", [change_of_an_edge({"edge": 1}, 5)], MERGE)
    store.delete(SCOPES[2])
    store.update("purged", {"n": 1})
    store.delete("purged")
    with backend.client() as client:
        client.hset(f"{tags(1)[0]}:doc:purged", "clock", f"{5:018d}")
    assert store.purge_tombstones(1000.0) == 1

    def kept(of: Any) -> Any:
        return [
            (of.get(scope), of.sync_history(scope), of.conflicts(scope))
            for scope in (*SCOPES, "merged", "purged", "none")
        ]

    before = kept(idle)
    assert before[1][2], "there is a conflict"
    assert change(backend, 3) == ["1/1>3:0", "1/3"]
    assert kept(store) == kept(idle) == kept(make("RedisCloudStore")) == before
    assert store.apply("purged", [change_of_an_edge({"n": 1}, 0)], LATEST) == ["rejected"], "it is not brought back"
    assert idle.update(SCOPES[0], {"n": 3}, is_delta=True, if_version=2).data["m"] == 2
    assert store.apply("merged", [change_of_an_edge({"other": 1}, 9, 2)], MERGE) == ["accepted"]
    assert idle.delete(SCOPES[3])
    assert not store.delete(SCOPES[2])
    change(backend, 2)
    found = idle.apply_many({scope: ([change_of_an_edge({"n": 9}, 10**15, 9)], LATEST) for scope in SCOPES})
    assert [*found.values()] == [["accepted"]] * len(SCOPES)
    change(backend, 3)
    assert idle.get("merged").data == {"other": 1}
    assert not idle.release_authority(SCOPES[0])
    assert store.purge_tombstones(0.0) == 0
    with backend.client() as client:
        assert client.get(f"{tags(1)[0]}:layout") == b"1/3.1"
        left = {key.decode().partition("}:")[2] for tag in tags(3) for key in client.scan_iter(match=f"{tag}:*")}
        assert {name.partition(":")[0] for name in left} == {"layout", "moved", "repeats", "replica_id"}
        assert sum(client.zcard(f"{tag}:feed:scope") for tag in tags(3, 1)) == len(SCOPES)


@pytest.mark.parametrize("make", ["blocking"], indirect=True)
def test_a_position_in_the_feed_keeps_its_meaning(make: Maker, backend: Backend) -> None:
    store, idle = make("RedisCloudStore"), make("RedisCloudStore")
    for scope in SCOPES:
        store.update(scope, {"n": 1})
    begun = store.changes_since("", 5)
    rest = sorted({*SCOPES} - {scope for scope, _ in begun.changes})
    _, end = read_on(idle)
    for shards in (3, 2, 1):
        change(backend, shards)
        for each, limit in ((store, 5), (make("RedisCloudStore"), 2)):
            assert read_on(each, end)[0] == [], "nothing comes twice"
            assert sorted(read_on(each, begun.cursor, limit)[0]) == rest, "what is missing comes once"
        assert sorted(read_on(store)[0]) == sorted(SCOPES)
        assert idle.changes_since(end, 5, ["scope/*"]).changes == []
        assert idle.changes_since("of-another-store:7", 5).restarted
    store.update(SCOPES[3], {"n": 2})
    assert read_on(idle, end)[0] == [SCOPES[3]]
    with pytest.raises(StoreRefusedError, match="was changed"):
        store.keep_accepted()


def test_workers_go_on_and_carry_nothing_twice(make: Maker, backend: Backend) -> None:
    store = make("RedisCloudStore", shards=2)
    synced = make("EdgeRedis", namespace="edge")
    synced.update_many({scope: {"n": 1, "text": "x" * 600} for scope in SCOPES}, conflict_strategy=LATEST)
    target = getattr(store, "_target", store)
    workers = [
        make("CloudWorker", target, namespace="edge"),
        make("CloudWorker", target, namespace="part", push=["scope/*"], pull=["scope/*"]),
    ]

    def work() -> int:
        return sum(worker.run_once() for _ in range(3) for worker in workers)

    work()

    def came_down() -> int:
        link = store.link
        return int(link["headers_down"] + link["splices_down"] + link["full_states_down"])

    before = came_down()
    assert change(backend, 4) == ["1/2>4:0", "1/2>4:1", "1/4"]
    assert work() == 0
    assert came_down() == before, "not even heads of states come down again"
    store.update(SCOPES[4], {"n": 2})
    synced.update_many({SCOPES[5]: {"n": 3}}, conflict_strategy=LATEST)
    work()
    for namespace in ("edge", "part"):
        states = {row["scope"]: row["version"] for row in make("EdgeRedis", namespace=namespace).scopes()}
        assert states == {scope: store.get(scope).version for scope in SCOPES}


@fake
def test_a_reader_that_has_read_some_feeds_only_goes_on_during_a_change(make: Maker, backend: Backend) -> None:
    store, idle = make("RedisCloudStore", shards=3), make("RedisCloudStore")
    for scope in SCOPES:
        store.update(scope, {"n": 1})
    begun = [store.changes_since("", 1) for _ in range(3)]
    with backend.client() as client:
        runner, flow = BlockingRunner(client), CloudResharding("default").change(2)
        step = flow.send(None)
        for record in (b"1/3>2:0", b"1/3>2:1", b"1/3>2:2"):
            while client.get(f"{tags(1)[0]}:layout") != record or client.exists(f"{tags(3)[int(record[-1:])]}:moved"):
                step = flow.send(runner.perform(step))
            for each in begun:
                assert sorted(read_on(idle, each.cursor)[0]) == sorted({*SCOPES} - {each.changes[0][0]})
        flow.close()


@fake
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_shard_that_lost_its_data_has_the_feed_begin_again(make: Maker, backend: Backend, moment: str) -> None:
    store = make("RedisCloudStore", shards=2)
    for scope in SCOPES:
        store.update(scope, {"n": 1})
    _, end = read_on(store)
    if moment == "after":
        change(backend, 3)
        _, end = read_on(store, end)
    with backend.client() as client:
        client.delete(*client.scan_iter(match=f"{tags(2 if moment == 'before' else 3)[1]}*"))
    if moment == "before":
        store.update("another", {"n": 1})
        change(backend, 3)
        change(backend, 2)
    page = make("RedisCloudStore").changes_since(end, 3)
    assert page.restarted
    assert 0 < sum(store.get(scope) is None for scope in SCOPES) < len(SCOPES)
    read_on(store, page.cursor)


def test_a_change_that_was_killed_is_completed_by_the_same_command(valkey: Backend) -> None:
    url = valkey.url
    assert url is not None
    with valkey.client() as client:
        store = RedisCloudStore(client, shards=4)
        names = [f"scope/{number}" for number in range(400)]
        for name in names:
            store.update(name, {"n": 1})
        _, end = read_on(store, limit=1000)
        command = [sys.executable, "-m", "edge_redis", "shards", "--to", "3", "--url", url, "--component", "cloud"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            eventually(lambda: b":2" in (client.get(f"{tags(1)[0]}:layout") or b""), seconds=20, every=0.0005)
            process.kill()
        assert {present(store.get(name)).data["n"] for name in names} == {1}, "they can be read meanwhile"
        assert subprocess.run(command, capture_output=True, check=True).returncode == 0
        assert client.get(f"{tags(1)[0]}:layout") == b"1/3"
        store.update(names[0], {"n": 2})
        assert read_on(store, end, limit=1000)[0] == [names[0]]
        assert sorted(read_on(RedisCloudStore(client), limit=1000)[0]) == sorted(names)
