"""The number of an edge's shards is changed with its scopes in place, under services that were made before."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from conftest import Maker

from edge_redis import ConflictStrategy, InvalidArgumentError, ShardMovedError
from support.moved_shards import change_number, tags_of
from support.servers import Backend
from support.sync import fake

SCOPES = [f"scope/{number}" for number in range(6)]
LATEST, LOCAL = ConflictStrategy.LATEST_WINS, ConflictStrategy.LOCAL_WINS


change = partial(change_number, "sync")
tags = partial(tags_of, "sync")


def new_worker(make: Maker, **options: Any) -> tuple[Any, Any]:
    store = make("RedisCloudStore", namespace="cloud")
    return make("CloudWorker", getattr(store, "_target", store), **options), store


def work(worker: Any) -> None:
    for _ in range(3):
        worker.run_once()


def test_all_that_is_kept_of_a_scope_goes_along(make: Maker, backend: Backend) -> None:
    edge = make("EdgeRedis")
    worker, cloud = new_worker(make)
    sync = make("EdgeSynchronizer", LATEST, scope=SCOPES[0])
    edge.update_many({scope: {"n": 1} for scope in SCOPES}, conflict_strategy=LATEST)
    work(worker)
    sync.update_local({"n": 2})
    cloud.update(SCOPES[0], {"n": 3})
    assert sync.apply_remote(cloud.get(SCOPES[0]))
    work(worker)
    sync.update_local({"text": "x" * 600})
    sync.update_local({"m": 4}, is_delta=True)
    with backend.client() as client:
        letter = {"scope": SCOPES[1], "version": 1, "deliveries": 1, "error": "no", "data": b"\x80"}
        client.xadd(f"{tags(1)[0]}:dead", letter, id="5-0")

        def kept() -> Any:
            status = worker.status()
            letters = [{**each, "id": each["id"].partition(".")[0]} for each in worker.dead_letters()]
            counts = {name: status[name] for name in ("pushed_total", "changes_waiting", "pending_bytes", "link")}
            return [
                edge.scopes(), sync.get_pending_changes(), sync.sync_history(), sync.conflicts(), sync.pending_bytes,
                sync.summary(), letters, counts, worker.lag()["scopes_waiting"],
            ]  # fmt: skip

        before, cursor = kept(), client.get(f"{tags(1)[0]}:cursor")
        assert before[3], "there is a conflict"
        assert change(backend, 3) == ["1/1>3:0", "1/3"]
        assert kept() == before
        assert {client.get(f"{tag}:cursor") for tag in tags(3)} == {cursor}, "nothing of the feed is read again"
        assert sync.update_local({"n": 5}, is_delta=True).version == before[0][0]["version"] + 1
        work(worker)
        assert cloud.get(SCOPES[0]).data == {"text": "x" * 600, "m": 4, "n": 5}
        change(backend, 2)
        change(backend, 3)
        assert client.get(f"{tags(1)[0]}:layout") == b"1/3.1"
        assert sorted(client.scan_iter(match=f"{tags(3)[0]}:*doc*")) == []
        edge.update_many({scope: {"n": 6} for scope in SCOPES}, conflict_strategy=LATEST)
        for scope in SCOPES:
            cloud.update(f"{scope} of the cloud", {"n": 6})
        work(worker)
        found = {row["scope"]: row for row in edge.scopes()}
        assert sorted(found) == sorted([*SCOPES, *(f"{scope} of the cloud" for scope in SCOPES)])
        assert all(row["pending"] == 0 for row in found.values())
        assert {scope: cloud.get(scope).data for scope in SCOPES} == {scope: {"n": 6} for scope in SCOPES}
        assert worker.status()["clone_seen_seconds"] is None
        assert len(worker.dead_letters()) == 1


@fake
def test_an_edge_without_a_name_keeps_the_right_to_write_where_no_shards_are_joined(
    make: Maker, backend: Backend
) -> None:
    edge = make("EdgeRedis")
    worker, cloud = new_worker(make)
    for shards in (None, 2, 4):
        if shards is not None:
            change(backend, shards)
        edge.update_many({scope: {"shards": shards} for scope in SCOPES}, conflict_strategy=LOCAL)
        work(worker)
        assert {scope: cloud.get(scope).data for scope in SCOPES} == {scope: {"shards": shards} for scope in SCOPES}
    with pytest.raises(InvalidArgumentError, match="LOCAL_WINS and written without origin="):
        change(backend, 2)
    with backend.client() as client:
        assert client.get(f"{tags(1)[0]}:layout") == b"1/4"


@fake
def test_a_change_that_is_not_complete_is_completed_before_another_one(make: Maker, backend: Backend) -> None:
    edge = make("EdgeRedis")
    edge.update_many({scope: {"n": 1} for scope in SCOPES}, shards=2, conflict_strategy=LATEST)
    worker, _ = new_worker(make)
    work(worker)
    sync = make("EdgeSynchronizer", LATEST, scope=SCOPES[0])
    assert sync.get_local_state() is not None
    with backend.client() as client:
        client.set(f"{tags(1)[0]}:layout", "1/2>3:0")
        with pytest.raises(InvalidArgumentError, match="from 2 to 3 shards is not complete"):
            change(backend, 4)
        client.set(f"{tags(2)[0]}:moved", "1")
        work(worker)  # the other shard is carried
        with pytest.raises(ShardMovedError, match="number of shards is being changed"):
            worker.discard_dead_letters(["5-0.0"])
    assert change(backend, 3) == ["1/2>3:0", "1/2>3:1", "1/3"]
    assert sync.update_local({"n": 2}).version == 2


@fake
def test_patterns_of_workers_keep_their_cursors(make: Maker, backend: Backend) -> None:
    worker, cloud = new_worker(make, push=["scope/*"], pull=["scope/*"])
    make("EdgeRedis").update_many({scope: {"n": 1} for scope in SCOPES}, conflict_strategy=LATEST)
    work(worker)
    with backend.client() as client:
        (cursor,) = client.scan_iter(match=f"{tags(1)[0]}:cursor:*")
        value, name = client.get(cursor), cursor.decode().rpartition(":")[2]
        change(backend, 2)
        assert {client.get(f"{tag}:cursor:{name}") for tag in tags(2)} == {value}
    cloud.update(SCOPES[0], {"n": 2})
    work(worker)
    assert make("EdgeSynchronizer", LATEST, scope=SCOPES[0]).get_local_state().data == {"n": 2}
