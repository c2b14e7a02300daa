"""Edges that were started from one disk image: they are reported, lose no write, and one gets another identity."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

import edge_redis.aio
from edge_redis import CloudWorker, ConflictStrategy, EdgeSynchronizer, RedisCloudStore, embedded
from edge_redis.cloudstores.sql import SqlCloudStore
from support.checked import present
from support.sync import EDGE

LOCAL = ConflictStrategy.LOCAL_WINS
CLONE_WRITES = "a clone of this edge writes"
FAMILY = ("original-forward", "original-backward", "clone-forward", "clone-backward", "awaited")
"""Namespaces of tests with three clones: which edge coalesces its outbox, and in what order the workers go first."""


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[redis.Redis, redis.Redis, redis.Redis]]:
    """An edge, a clone of it, and a cloud; a namespace for each strategy, whose scope had gone up before."""
    folder = tmp_path_factory.mktemp("original")
    with server(folder) as original, server() as cloud:
        for namespace in [*ConflictStrategy, "sql", "default"]:
            strategy = ConflictStrategy(namespace) if namespace in [*ConflictStrategy] else ConflictStrategy.REMOTE_WINS
            synchronizer(original, strategy, namespace).update_local({"base": 1})
            worker(original, cloud, namespace).run_once()
        copy = tmp_path_factory.mktemp("clone")
        shutil.copytree(folder / "appendonlydir", copy / "appendonlydir")
        with server(copy) as clone:
            yield original, clone, cloud


@contextmanager
def server(folder: Path | None = None) -> Iterator[redis.Redis]:
    """Run a server of its own on the data in a folder."""
    with embedded.start(folder, appendfsync="no") as running, redis.Redis.from_url(running.url) as client:
        yield client


def synchronizer(client: Any, strategy: ConflictStrategy, namespace: str) -> EdgeSynchronizer:
    return EdgeSynchronizer(client, strategy, scope="room", namespace=namespace)


def worker(client: Any, cloud: Any, namespace: str) -> CloudWorker:
    return CloudWorker(client, cloud, namespace=namespace)


def settle(*workers: CloudWorker) -> None:
    for _ in range(20):
        if not sum(each.run_once() for each in workers):
            return
    raise AssertionError("the edges do not come to rest")


def write_beside_each_other(edges: Any, strategy: ConflictStrategy, namespace: str, cloud: Any) -> tuple[Any, Any]:
    """Let both edges write, the original twice around the clone, and carry all of it."""
    syncs = [synchronizer(client, strategy, namespace) for client in edges[:2]]
    workers = [worker(client, cloud, namespace) for client in edges[:2]]
    syncs[0].update_local({"original": 1}, is_delta=True)
    syncs[1].update_local({"clone": 1}, is_delta=True)
    syncs[0].update_local({"original": 2}, is_delta=True)
    settle(*workers)
    return syncs, workers


def reports(sync: EdgeSynchronizer) -> list[str]:
    return [event.error for event in sync.sync_history(100) if event.error]


@pytest.mark.parametrize("strategy", [each for each in ConflictStrategy if each is not LOCAL])
def test_a_clone_and_its_original_lose_nothing_and_are_reported(
    edges: Any, strategy: ConflictStrategy, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisCloudStore(edges[2], namespace=strategy)
    with caplog.at_level(logging.ERROR, "edge_redis"):
        syncs, workers = write_beside_each_other(edges, strategy, strategy, edges[2])
    states = [present(each.get_local_state()) for each in syncs]
    assert states[0] == states[1] == store.get("room")
    conflicts = [*syncs[0].conflicts(), *syncs[1].conflicts(), *store.conflicts("room")]
    kept = [states[0].data, *(present(each["data"]) for each in conflicts)]
    assert any("clone" in data for data in kept)
    assert any(data.get("original") == 2 for data in kept)
    syncs[1].update_local({"later": 1}, is_delta=True)
    settle(*workers)
    for sync, each in zip(syncs, workers, strict=True):
        assert any(CLONE_WRITES in text for text in reports(sync))
        assert 0 <= present(each.status()["clone_seen_seconds"]) < 60
    assert caplog.text.count(CLONE_WRITES) >= 1


def test_a_clone_that_is_local_wins_takes_over_and_its_original_is_held_up(edges: Any) -> None:
    syncs, workers = write_beside_each_other(edges, LOCAL, LOCAL, edges[2])
    held_up = [sync for sync in syncs if sync.pending_count]
    assert len(held_up) == 1
    assert any("clone" in text for text in reports(held_up[0]))
    assert {"original": 2, "base": 1} in [each["data"] for each in held_up[0].get_pending_changes()]
    settle(*workers)  # comes to rest, and does not overwrite for ever


@pytest.fixture(scope="module")
def family(edges: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[redis.Redis]]:
    """An edge and three clones of it, with a LOCAL_WINS scope in a namespace for each test."""
    folder = tmp_path_factory.mktemp("family")
    with server(folder) as original, ExitStack() as stack:
        for namespace in FAMILY:
            synchronizer(original, LOCAL, namespace).update_local({"base": 1})
            worker(original, edges[2], namespace).run_once()
        copies = [tmp_path_factory.mktemp("member") for _ in range(3)]
        for copy in copies:
            shutil.copytree(folder / "appendonlydir", copy / "appendonlydir")
        yield [original, *(stack.enter_context(server(copy)) for copy in copies)]


def write_in_each(clients: list[redis.Redis], namespace: str, coalescing: int) -> list[dict[str, int]]:
    """Let each edge write, one of them more than its outbox keeps; return the last write of each."""
    last = []
    for number, client in enumerate(clients):
        with EdgeSynchronizer(client, LOCAL, 3, scope="room", namespace=namespace) as sync:
            steps = 8 if number == coalescing else 2
            for step in range(steps):
                sync.update_local({f"edge{number}": step}, is_delta=True)
            last.append({f"edge{number}": steps - 1})
    return last


@pytest.mark.parametrize("namespace", FAMILY[:4])
def test_of_three_clones_and_their_original_one_leads_and_none_loses_a_write(
    family: list[redis.Redis], edges: Any, namespace: str
) -> None:
    coalescing = 0 if "original" in namespace else 2
    last = write_in_each(family, namespace, coalescing)
    store = RedisCloudStore(edges[2], namespace=namespace)
    syncs = [EdgeSynchronizer(client, LOCAL, 3, scope="room", namespace=namespace) for client in family]
    workers = [worker(client, edges[2], namespace) for client in family]
    for each in reversed(workers) if "backward" in namespace else workers:
        settle(each)
    settle(*workers)

    states = [present(each.get_local_state()).data for each in syncs]
    assert [{**state, **written} for state, written in zip(states, last, strict=True)] == states
    [leader] = [number for number, state in enumerate(states) if state == present(store.get("room")).data]
    for number, sync in enumerate(syncs):
        is_held_up = any("identity of this one" in text for text in reports(sync))
        assert (is_held_up, sync.pending_count > 0) == (number != leader, number != leader)
    assert [each.dead_letters() for each in workers] == [[]] * 4

    for number, sync in enumerate(syncs):  # the way out: each clone gets an identity, and follows the leader
        if number != leader:
            workers[number].new_identity()
            sync.change_strategy(ConflictStrategy.REMOTE_WINS)
    settle(*workers)
    found = [present(each.get_local_state()).data for each in syncs]
    assert found == [present(store.get("room")).data] * 4
    kept = [*found, *(each["data"] for end in syncs for each in end.conflicts(100))]
    kept += [each["data"] for each in store.conflicts("room", 100)]
    for written in last:
        assert any(written.items() <= (each or {}).items() for each in kept), written


def test_three_clones_come_to_rest_with_asyncio_workers_too(family: list[redis.Redis], edges: Any) -> None:
    namespace = FAMILY[4]
    last = write_in_each(family, namespace, 1)

    async def main() -> list[Any]:
        urls = [f"redis://{part['host']}:{part['port']}" for part in map(connection_of, [*family, edges[2]])]
        secrets = [connection_of(each)["password"] for each in [*family, edges[2]]]
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(redis.asyncio.Redis.from_url(url, password=secret))
                for url, secret in zip(urls, secrets, strict=True)
            ]
            workers = [edge_redis.aio.CloudWorker(each, clients[-1], namespace=namespace) for each in clients[:-1]]
            for _ in range(6):
                for each in workers:
                    await each.run_once()
            return [(await each.status())["dead_letters"] for each in workers]

    assert asyncio.run(main()) == [0] * 4
    states = [present(synchronizer(each, LOCAL, namespace).get_local_state()).data for each in family]
    assert [{**state, **written} for state, written in zip(states, last, strict=True)] == states
    with RedisCloudStore(edges[2], namespace=namespace) as store:
        assert states.count(present(store.get("room")).data) == 1


def connection_of(client: redis.Redis) -> dict[str, Any]:
    found: dict[str, Any] = client.connection_pool.connection_kwargs
    return found


def test_an_sql_cloud_keeps_what_a_clone_loses(edges: Any) -> None:
    with SqlCloudStore("sqlite://", namespace="sql") as store:
        syncs, _ = write_beside_each_other(edges, ConflictStrategy.REMOTE_WINS, "sql", store)
        kept = [present(syncs[0].get_local_state()).data, *(present(each["data"]) for each in store.conflicts("room"))]
        assert any("clone" in data for data in kept)
        assert any(data.get("original") == 2 for data in kept)


def test_a_new_identity_ends_the_reports_and_keeps_pending_changes(edges: Any) -> None:
    original, clone, cloud = edges
    mine = worker(clone, cloud, "default")
    sync, other = (synchronizer(client, ConflictStrategy.REMOTE_WINS, "default") for client in (clone, original))
    sync.update_local({"clone": 1}, is_delta=True)
    before = clone.get(f"{EDGE}:replica_id").decode()
    clone.set(f"{EDGE}:clone", "seen")
    replica_id = mine.new_identity()
    assert clone.get(f"{EDGE}:replica_id").decode().startswith(replica_id)
    assert replica_id not in before
    assert [each["version"] for each in sync.get_pending_changes()] == [2]
    settle(mine, worker(original, cloud, "default"))
    sync.update_local({"clone": 2}, is_delta=True)
    other.update_local({"original": 1}, is_delta=True)
    settle(mine, worker(original, cloud, "default"))
    assert mine.status()["clone_seen_seconds"] is None
    assert sync.get_local_state() == other.get_local_state()


def test_an_asyncio_worker_gives_a_new_identity_too(edges: Any) -> None:
    async def give() -> tuple[str, str]:
        known = edges[1].connection_pool.connection_kwargs
        async with redis.asyncio.Redis(**{n: known.get(n) for n in ("host", "port", "username", "password")}) as client:
            each = edge_redis.aio.CloudWorker(client, client, namespace="default")
            found = await each.new_identity(), await each.new_identity()
            await each.close()
            return found

    first, second = asyncio.run(give())
    assert first != second


def test_a_restarted_edge_is_no_clone(tmp_path: Path, edges: Any) -> None:
    """Its earlier changes, those that were coalesced during an outage among them, are no conflicts."""
    cloud, namespace = edges[2], "power-cut"
    with server(tmp_path) as edge:
        sync = EdgeSynchronizer(edge, max_pending=2, scope="room", namespace=namespace)
        for n in range(2):
            sync.update_local({"n": n})
            worker(edge, cloud, namespace).run_once()
        for n in range(2, 6):
            sync.update_local({"n": n})
    for run in range(2):
        with server(tmp_path) as edge:
            sync = EdgeSynchronizer(edge, max_pending=2, scope="room", namespace=namespace)
            sync.update_local({"n": 6 + run})
    with server(tmp_path) as edge:
        mine = worker(edge, cloud, namespace)
        settle(mine)
        sync = EdgeSynchronizer(edge, max_pending=2, scope="room", namespace=namespace)
        assert present(sync.get_local_state()).data == {"n": 7}
        store = RedisCloudStore(cloud, namespace=namespace)
        assert store.get("room") == sync.get_local_state()
        assert store.conflicts("room") == sync.conflicts() == []
        assert reports(sync) == []
        assert mine.status()["clone_seen_seconds"] is None
