"""Processes that write at once, and workers that are killed in the middle of a batch: on real servers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest
import redis

from edge_redis import CloudWorker, EdgeSynchronizer, RedisCloudStore
from support.checked import present
from support.deadline import eventually
from support.servers import Backend, Servers, skip_unless_chosen
from support.sync import EDGE

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["pytest", "fakeredis", "edge_redis.embedded", "edge_redis.cloudstores.sql"])
spawn = multiprocessing.get_context("spawn")
WRITERS, DELTAS = 8, 10


def write(url: str, name: int, go: Any) -> None:
    with redis.Redis.from_url(url) as client, EdgeSynchronizer(client, max_pending=1000, scope="room") as sync:
        go.wait()
        for number in range(DELTAS):
            sync.update_local({f"{name}-{number}": number}, is_delta=True)


def test_no_delta_of_eight_processes_is_lost(real: Backend) -> None:
    go = processes.Event()
    writers = [processes.Process(target=write, args=(real.url, name, go), daemon=True) for name in range(WRITERS)]
    for writer in writers:
        writer.start()
    go.set()
    with real.client() as client:
        sync = EdgeSynchronizer(client, scope="room")
        while any(writer.is_alive() for writer in writers):
            client.script_flush()
            time.sleep(0.01)
        assert [writer.exitcode for writer in writers] == [0] * WRITERS
        total = WRITERS * DELTAS
        expected = {f"{name}-{number}": number for name in range(WRITERS) for number in range(DELTAS)}
        assert present(sync.get_local_state()).data == expected
        assert [change["version"] for change in sync.get_pending_changes()] == list(range(1, total + 1))
        # Each version holds exactly one key more than the one before.
        assert [len(present(change["data"])) for change in sync.get_pending_changes()] == list(range(1, total + 1))


class Stopping:
    """A cloud store that stops for ever at one point of a batch, until it is killed."""

    def __init__(self, store: Any, point: str, reached: Any) -> None:
        self.store, self.point, self.reached = store, point, reached

    def get(self, scope: str) -> Any:
        return self.store.get(scope)

    def _stop_at(self, point: str) -> None:
        if point == self.point:
            self.reached.set()
            time.sleep(60)

    def apply(self, scope: str, changes: Any, strategy: Any) -> None:
        self._stop_at("before the cloud has it")
        half = len(changes) // 2
        self.store.apply(scope, changes[:half], strategy)
        self._stop_at("half of it applied")
        self.store.apply(scope, changes[half:], strategy)
        self._stop_at("applied and not confirmed")

    def changes_since(self, cursor: str, limit: int) -> Any:
        self._stop_at("before it pulls")
        return self.store.changes_since(cursor, limit)


POINTS = ["before the cloud has it", "half of it applied", "applied and not confirmed", "before it pulls"]


@contextmanager
def store_at(url: str) -> Iterator[Any]:
    """Give the store of the cloud there."""
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            yield RedisCloudStore(client)
    else:
        from edge_redis.cloudstores.sql import SqlCloudStore  # noqa: PLC0415 -- for the processes that need it

        with SqlCloudStore(url) as store:
            yield store


def work(edge_url: str, cloud_url: str, point: str, reached: Any) -> None:
    with redis.Redis.from_url(edge_url) as edge, store_at(cloud_url) as store:
        CloudWorker(edge, Stopping(store, point, reached), claim_idle_seconds=0.3).run()


@pytest.fixture(params=["one server", "two servers", "PostgreSQL"])
def ends(request: pytest.FixtureRequest, servers: Servers, valkey: Backend) -> tuple[Any, str]:
    """The edge, and the URL of the cloud."""
    edge = valkey
    if request.param == "PostgreSQL":
        from support.clouds import clear  # noqa: PLC0415 -- not for the processes

        url = request.getfixturevalue("postgres").url
        clear(url)
        return edge, url
    if request.param == "two servers":
        skip_unless_chosen("valkey")
    cloud = edge if request.param == "one server" else servers.backend("redis")
    return edge, present(cloud.url)


@pytest.mark.parametrize(
    ("ends", "point"),
    [*product(["one server", "two servers"], POINTS), *product(["PostgreSQL"], POINTS[1:3])],
    indirect=["ends"],
)
def test_a_worker_killed_anywhere_leaves_each_change_to_take_effect_once(ends: Any, point: str) -> None:
    edge, cloud_url = ends
    with edge.client() as client, store_at(cloud_url) as store:
        syncs = [EdgeSynchronizer(client, scope=f"s{number}") for number in range(3)]
        for number in range(10):
            for sync in syncs:
                sync.update_local({f"n{number}": number}, is_delta=True)
        reached = processes.Event()
        victim = processes.Process(target=work, args=(edge.url, cloud_url, point, reached), daemon=True)
        victim.start()
        assert reached.wait(30)
        os.kill(present(victim.pid), signal.SIGKILL)
        victim.join()
        for sync in syncs:  # what is written meanwhile has its place behind
            sync.update_local({"last": True}, is_delta=True)
        assert store.get("none") is None  # it has its connection, and has been given its tables
        within = 2.0 if cloud_url.startswith("redis") else 8.0  # there each of the 33 is a transaction
        started = time.monotonic()
        with CloudWorker(client, store, claim_idle_seconds=0.3) as successor:
            eventually(lambda: successor.run_once() >= 0 and all(sync.is_synced for sync in syncs), seconds=5 + within)
            assert time.monotonic() - started < within
            assert successor.run_once() == 0
        for number, sync in enumerate(syncs):
            events = store.sync_history(f"s{number}", 100)
            assert [(event.version, event.success) for event in events] == [(v, True) for v in range(1, 12)]
            assert store.get(f"s{number}") == sync.get_local_state()
            assert store.conflicts(f"s{number}") == sync.conflicts() == []
        assert client.zcard(f"{EDGE}:work") == 0


def serve(edge_url: str, cloud_url: str) -> None:
    with redis.Redis.from_url(edge_url) as edge, store_at(cloud_url) as cloud:
        CloudWorker(edge, cloud, claim_idle_seconds=0.2, batch_size=7).run()


@pytest.mark.exploration
def test_three_workers_share_the_load_while_they_are_killed(ends: Any) -> None:
    edge, cloud_url = ends
    scopes, updates = 6, 60
    with edge.client() as client, store_at(cloud_url) as store:
        syncs = [EdgeSynchronizer(client, max_pending=1000, scope=f"s{number}") for number in range(scopes)]
        workers = [spawn.Process(target=serve, args=(edge.url, cloud_url), daemon=True) for _ in range(3)]
        for worker in workers:
            worker.start()
        for number in range(updates):
            for sync in syncs:
                sync.update_local({f"n{number}": number}, is_delta=True)
            if number in (20, 40):
                os.kill(present(workers.pop(0).pid), signal.SIGKILL)
        eventually(lambda: all(sync.is_synced for sync in syncs), seconds=30)
        for worker in workers:
            worker.terminate()
            worker.join(10)
            assert worker.exitcode == 0
        for number, sync in enumerate(syncs):
            events = store.sync_history(f"s{number}", 1000)
            assert Counter(event.version for event in events) == Counter(range(1, updates + 1))
            assert [event.version for event in events] == list(range(1, updates + 1))
            assert store.get(f"s{number}") == sync.get_local_state()
