"""A scope that no worker pushes keeps its newest state alone, and is never refused for it."""

from __future__ import annotations

from typing import Any

import pytest

from edge_redis import CloudWorker, ConflictStrategy, EdgeSynchronizer
from support.servers import Backend
from support.sync import EDGE, fake

PATTERNS = f"{EDGE}:patterns"
HOUR_MS = 3_600_000


def drain(worker: Any) -> None:
    while worker.run_once():
        pass


def write(make: Any, scope: str, count: int, **options: Any) -> Any:
    edge = make("EdgeSynchronizer", scope=scope, **options)
    for number in range(count):
        edge.update_local({"n": number})
    return edge


def carry(make: Any, *push: str, **options: Any) -> None:
    """Let a worker start, work, and end."""
    worker = make("CloudWorker", make.cloud(), push=push, **options)
    drain(worker)
    worker.close()


@pytest.mark.parametrize("overflow", ["coalesce", "reject"])
def test_its_newest_state_waits_alone_and_goes_up_once_patterns_widen(make: Any, cloud: Any, overflow: str) -> None:
    carry(make, "till/*")
    door = write(make, "door", 10, max_pending=3, overflow=overflow)
    assert [change["data"] for change in door.get_pending_changes()] == [{"n": 9}]
    worker = make("CloudWorker", make.cloud(), push=("till/*",))
    assert worker.status()["scopes_waiting"] == 0
    assert worker.status()["scopes_not_pushed"] == 1
    carry(make, "do*")
    assert cloud.get("door").data == {"n": 9}
    assert door.is_synced


def test_without_a_worker_and_beside_one_that_pushes_all_nothing_changes(make: Any, cloud: Any) -> None:
    assert write(make, "door", 3).pending_count == 3
    worker = make("CloudWorker", make.cloud())
    drain(worker)
    carry(make, "till/*", consumer="second")
    assert write(make, "door", 3).pending_count == 3
    drain(worker)
    assert cloud.get("door").version == 6


def test_narrower_patterns_trim_what_waits(make: Any, cloud: Any) -> None:
    carry(make, "*")
    doors = [write(make, f"door {number}", 5, max_pending=5, overflow="reject") for number in range(3)]
    tills = write(make, "till/1", 3)
    failing = make("CloudWorker", make.cloud(), push=("till/*",))
    failing.run_once()
    assert [door.pending_count for door in doors] == [1, 1, 1]
    assert write(make, "door 1", 1, max_pending=5, overflow="reject").pending_count == 1
    assert tills.pending_count == 0
    assert cloud.get("door 1") is None


def test_large_states_that_wait_as_splices_are_trimmed_whole(make: Any, cloud: Any) -> None:
    door = make("EdgeSynchronizer", scope="door")
    for number in range(20):
        door.update_local({"text": "x" * 2000, "n": number})
    carry(make, "till/*")
    assert [change["data"]["n"] for change in door.get_pending_changes()] == [19]
    door.update_local({"n": 20}, is_delta=True)
    carry(make, "*")
    assert cloud.get("door").data == {"text": "x" * 2000, "n": 20}
    assert door.is_synced


@fake
def test_parts_of_several_workers_are_pushed_by_each(make: Any, cloud: Any) -> None:
    first = make("CloudWorker", make.cloud(), push=("till/*",), pull=())
    second = make("CloudWorker", make.cloud(), push=("door", "gate"), pull=())
    for worker in (first, second):
        drain(worker)
    assert write(make, "till/1", 3).pending_count == 3
    assert write(make, "gate", 3).pending_count == 3
    assert write(make, "lamp", 3).pending_count == 1
    first.close()  # others go on to count with it
    drain(second)
    assert write(make, "till/1", 3).pending_count == 6


@fake
@pytest.mark.parametrize(("silent_hours", "is_replaced"), [(1, False), (3, True)])
def test_a_worker_that_was_killed_is_replaced_by_a_narrower_one_after_two_hours(
    make: Any, client: Any, silent_hours: int, *, is_replaced: bool
) -> None:
    drain(make("CloudWorker", make.cloud()))
    for field, at in client.hgetall(PATTERNS).items():
        client.hset(PATTERNS, field, int(at) - silent_hours * HOUR_MS)
    drain(make("CloudWorker", make.cloud(), push=("till/*",)))
    assert write(make, "door", 3).pending_count == (1 if is_replaced else 3)


@fake
def test_a_worker_registers_again_after_an_hour(make: Any, client: Any) -> None:
    worker = make("CloudWorker", make.cloud(), push=("till/*",))
    drain(worker)
    ((field, at),) = client.hgetall(PATTERNS).items()
    client.hset(PATTERNS, field, int(at) - HOUR_MS)
    drain(worker)
    drain(worker)
    assert int(client.hget(PATTERNS, field)) >= int(at)


@fake
def test_a_worker_whose_patterns_were_removed_registers_them_again(make: Any, client: Any, cloud: Any) -> None:
    wide = make("CloudWorker", make.cloud())
    drain(wide)
    carry(make, "till/*")
    client.hdel(PATTERNS, "push 1:*")
    door = write(make, "door", 3)
    assert door.pending_count == 1
    drain(wide)
    drain(wide)
    assert door.pending_count == 0
    assert cloud.get("door").data == {"n": 2}


@fake
def test_a_worker_that_pulls_alone_leaves_every_scope_at_the_edge(make: Any, cloud: Any) -> None:
    carry(make, pull=("*",))
    assert write(make, "door", 3).pending_count == 1
    cloud.update("door", {"n": "cloud"})
    carry(make, "*")
    assert make("EdgeSynchronizer", scope="door").is_synced


@fake
def test_an_authority_that_is_not_pushed_writes_its_state_again_once(make: Any, cloud: Any) -> None:
    local = {"conflict_strategy": ConflictStrategy.LOCAL_WINS, "max_pending": 1, "overflow": "reject"}
    worker = make("CloudWorker", make.cloud(), push=("till/*",), pull=("*",))
    drain(worker)
    door = write(make, "door", 2, **local)
    for number in range(3):
        cloud.update("door", {"cloud": number})
        drain(worker)
    assert [change["data"] for change in door.get_pending_changes()] == [{"n": 1}]
    assert door.get_local_state().data == {"n": 1}


@fake
def test_a_confirmed_part_of_an_outbox_does_not_enter_the_index_of_work(make: Any, client: Any) -> None:
    door = write(make, "door", 3)
    carry(make, "till/*")
    door.update_local({"n": 4})
    assert door.confirm_sync(4) == 1
    assert client.zcard(f"{EDGE}:work") == 0
    assert client.hlen(f"{EDGE}:pending_bytes") == 0


def test_more_outboxes_and_changes_than_one_call_trims(valkey: Backend) -> None:
    with valkey.client() as client:
        for number in range(120):
            with EdgeSynchronizer(client, scope=f"door {number}") as edge:
                edge.update_local({"n": 1})
                edge.update_local({"n": 2})
        with EdgeSynchronizer(client, max_pending=5000, scope="gate") as edge:
            edge.update_local({"n": 0})
        (entry,) = client.xrange(f"{EDGE}:pending:gate")
        with client.pipeline(transaction=False) as pipeline:
            for version in range(2, 2502):
                pipeline.xadd(f"{EDGE}:pending:gate", entry[1], f"{version}-0")
            pipeline.execute()
        client.hset(f"{EDGE}:doc:gate", "version", 2501)
        with CloudWorker(client, client, push=("till/*",)) as worker:
            drain(worker)
            assert worker.status()["scopes_not_pushed"] == 121
        assert client.zcard(f"{EDGE}:work") == 0
        assert client.xrange(f"{EDGE}:pending:gate") == [(b"2501-0", entry[1])]
        assert {client.xlen(f"{EDGE}:pending:door {number}") for number in range(120)} == {1}
