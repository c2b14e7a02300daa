"""Many threads or tasks of one process write to one scope: in turn, so that none tries again and again."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fakeredis
import pytest

import edge_redis.aio
from edge_redis import ConflictStrategy, EdgeSynchronizer
from edge_redis._core.operation import Wait
from edge_redis._io.shutdown import new_mutex
from edge_redis._io.threads import new_future
from edge_redis._sync import write_queue
from edge_redis._sync.write_queue import WriteQueue
from support.checked import present
from support.servers import Backend

WRITERS, UPDATES = 24, 5


def tries(client: Any) -> int:
    """Return how many scripts the server was asked to run."""
    stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))


@pytest.mark.parametrize("strategy", [ConflictStrategy.REMOTE_WINS, ConflictStrategy.MERGE])
def test_threads_that_write_one_scope_write_each_delta_once(valkey: Backend, strategy: ConflictStrategy) -> None:
    with valkey.client() as client, ThreadPoolExecutor(WRITERS) as pool:
        sync = EdgeSynchronizer(client, strategy, scope="room")
        sync.update_local({"first": 1})
        client.config_resetstat()
        states = list(pool.map(lambda n: sync.update_local({f"k{n}": n}, is_delta=True), range(WRITERS * UPDATES)))
        assert sorted(state.version for state in states) == list(range(2, WRITERS * UPDATES + 2))
        assert len(present(sync.get_local_state()).data) == WRITERS * UPDATES + 1
        assert tries(client) <= WRITERS * UPDATES * 1.2


def test_synchronizers_of_one_process_share_the_queue(valkey: Backend) -> None:
    with valkey.client() as client, ThreadPoolExecutor(WRITERS) as pool:
        syncs = [EdgeSynchronizer(client, scope="room") for _ in range(WRITERS)]
        list(pool.map(lambda sync: sync.update_local({f"k{id(sync)}": 1}, is_delta=True), syncs))
        client.config_resetstat()
        list(pool.map(lambda sync: sync.update_local({f"k{id(sync)}": 2}, is_delta=True), syncs))
        assert len(present(syncs[0].get_local_state()).data) == WRITERS
        assert tries(client) <= WRITERS * 2 + 2  # each learns the present state once


def test_tasks_that_write_one_scope_write_each_delta_once() -> None:
    async def write() -> tuple[list[int], int]:
        server = fakeredis.FakeServer()
        async with fakeredis.FakeAsyncRedis(server=server) as client:
            sync = edge_redis.aio.EdgeSynchronizer(client, scope="room")
            tasks = [sync.update_local({f"k{n}": n}, is_delta=True) for n in range(WRITERS)]
            states = await asyncio.gather(*tasks)
            data = present(await sync.get_local_state()).data
            await sync.close()
            return sorted(state.version for state in states), len(data)

    assert asyncio.run(write()) == (list(range(1, WRITERS + 1)), WRITERS)


def waits(queue: WriteQueue, place: write_queue.QueuePlace) -> bool:
    """Return whether a writer has to wait for the one before."""
    step = queue.wait(place)
    try:
        found = step.send(None)
    except StopIteration:
        return False
    assert isinstance(found, Wait)
    assert 0 < found.seconds <= write_queue.MAX_WAIT_SECONDS
    return True


def test_writers_have_their_turn_in_the_order_of_their_calls() -> None:
    queue = WriteQueue(new_mutex, new_future)
    first, second, third = (queue.enter("room") for _ in range(3))
    assert not waits(queue, first)
    assert waits(queue, third)
    queue.leave("room", first)
    assert not waits(queue, second)
    queue.leave("room", second)
    queue.leave("room", third)
    assert not waits(queue, queue.enter("room"))


def test_writers_of_other_scopes_do_not_wait() -> None:
    queue = WriteQueue(new_mutex, new_future)
    queue.enter("room")
    assert not waits(queue, queue.enter("hall"))


def test_a_forked_child_does_not_wait_for_the_writers_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = WriteQueue(new_mutex, new_future)
    queue.enter("room")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert not waits(queue, queue.enter("room"))


def test_a_writer_that_fails_lets_the_next_one_go_on() -> None:
    sync = EdgeSynchronizer(fakeredis.FakeRedis(), scope="room")
    for _ in range(2):
        with pytest.raises(edge_redis.EdgeRedisError):
            sync.update_local({"bad": object()}, is_delta=True)
    assert sync.update_local({"good": 1}, is_delta=True).version == 1
