"""The edge's side of synchronization on a real cluster: even shares, a master that is gone, and slots that move."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Maker
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from edge_redis import (
    ConflictStrategy,
    EdgeNode,
    EdgeRedis,
    EdgeRedisError,
    PartialUpdateError,
    StoreUnavailableError,
)
from edge_redis._core.shard_record import ShardRecord, choose_shard
from edge_redis._core.shards import name_shards
from edge_redis._core.slots import hash_slot
from edge_redis._io import redirections
from edge_redis._site.resharding import change_shards
from edge_redis.cloudstores.sql import SqlCloudStore
from support.cluster import Cluster
from support.deadline import eventually
from support.servers import Servers
from support.shell import Shell

# The library's asyncio client drops nodes with their connections open when it looks for its masters anew.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed (ClusterNode|Connection|transport):ResourceWarning"),
    pytest.mark.usefixtures("swept"),
]
SCOPES = [f"scope/{number}" for number in range(36)]
LATEST = ConflictStrategy.LATEST_WINS


@pytest.fixture(params=["blocking", "awaited"])
def make(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Maker]:
    maker = Maker(cluster, request.param)  # type: ignore[arg-type]
    yield maker
    maker.close()


@pytest.fixture
def client(make: Maker) -> Any:
    """A client that does not try for long."""
    retry = AsyncRetry(NoBackoff(), 3) if make.api == "awaited" else Retry(NoBackoff(), 3)
    return make.client(retry=retry)


class Edge:
    """The edge's side, on one client, by the services of one API."""

    def __init__(self, make: Maker, client: Any) -> None:
        self._make, self._client = make, client
        self.services = make("EdgeRedis", client=client)

    def write(self, scopes: list[str], n: int) -> set[str]:
        """Write these scopes; return those whose write was acknowledged."""
        try:
            return set(self.services.update_many({scope: {"n": n} for scope in scopes}, conflict_strategy=LATEST))
        except PartialUpdateError as error:
            return set(error.states)

    def read(self, scope: str) -> Any:
        return self._make("EdgeSynchronizer", LATEST, client=self._client, scope=scope).get_local_state()

    def new_worker(self, cloud: Any) -> Any:
        return self._make("CloudWorker", getattr(cloud, "_target", cloud), client=self._client)


@pytest.fixture
def edge(make: Maker, client: Any) -> Edge:
    return Edge(make, client)


@pytest.fixture
def cloud(make: Maker, servers: Servers) -> Any:
    """A cloud on a server of its own."""
    backend = servers.backend("fakeredis")
    client = backend.async_client() if make.api == "awaited" else backend.client()
    make._clients.append(client)
    return make("RedisCloudStore", client=client)


def works(worker: Any) -> bool:
    """Work; return whether nothing is left to do."""
    with contextlib.suppress(EdgeRedisError):
        return not worker.run_once() and not worker.lag()["scopes_waiting"]
    return False


def check_equal(edge: Edge, cloud: Any) -> None:
    """Check that both ends hold the same, and that each version took effect once, in its order."""
    assert [row["pending"] for row in edge.services.scopes()] == [0] * len(SCOPES)
    for scope in SCOPES:
        assert edge.read(scope).data == cloud.get(scope).data
        versions = [event.version for event in cloud.sync_history(scope, 1000) if event.success]
        assert versions == sorted(set(versions))


def test_masters_have_even_shares_and_several_workers_carry_all(cluster: Cluster, edge: Edge, cloud: Any) -> None:
    workers = [edge.new_worker(cloud) for _ in range(2)]
    assert edge.write(SCOPES, 1) == set(SCOPES)
    docs = [sum(b":sync12." in key and b":doc:" in key for key in keys) for keys in cluster.keys_by_master()]
    assert sum(docs) == len(SCOPES)
    assert min(docs) > 5
    for scope in SCOPES[:10]:
        cloud.update(scope, {"from": "the cloud"})
    for _ in range(3):
        for worker in workers:
            worker.run_once()
    check_equal(edge, cloud)
    assert workers[0].status()["scopes"] == len(SCOPES)


@pytest.mark.exploration
@pytest.mark.parametrize("component", ["sync", "cloud"])
def test_scopes_move_between_masters_while_they_are_written_and_carried(
    component: str, make: Maker, client: Any, cluster: Cluster, edge: Edge, cloud: Any
) -> None:
    if component == "cloud":
        cloud = make("RedisCloudStore", client=client, shards=12)
    worker, wrote = edge.new_worker(cloud), 0
    assert edge.write(SCOPES, wrote) == set(SCOPES)
    worker.run_once()

    def go_on(_: ShardRecord) -> None:
        nonlocal wrote
        wrote += 1
        assert edge.write(SCOPES, wrote) == set(SCOPES)
        worker.run_once()

    with contextlib.closing(cluster.client()) as mover:
        for shards in (5, 12):
            change_shards(mover, "default", component, shards, go_on)
        assert mover.get(f"er:{{default:{component}0}}:layout") == b"1/12.1"
    eventually(lambda: works(worker), seconds=30)
    check_equal(edge, cloud)
    assert {cloud.get(scope).data["n"] for scope in SCOPES} == {wrote}
    tag = f":{component}12.".encode()
    docs = [sum(tag in key and b":doc:" in key for key in keys) for keys in cluster.keys_by_master()]
    assert sum(docs) == len(SCOPES)
    assert min(docs) > 5


@pytest.mark.parametrize("make", ["blocking"], indirect=True)
def test_a_master_that_is_gone_holds_up_its_own_scopes_alone(cluster: Cluster, edge: Edge, cloud: Any) -> None:
    worker = edge.new_worker(cloud)
    edge.write(SCOPES, 1)
    eventually(lambda: works(worker), seconds=30)
    held = {key.partition(b"}:doc:")[2].decode() for key in cluster.keys_by_master()[1]}
    gone = [scope for scope in SCOPES if scope in held]
    there = [scope for scope in SCOPES if scope not in held]
    cluster.masters[1].kill()
    try:
        assert edge.write(there[:5], 2) == set(there[:5])
        for scope in (there[5], gone[0]):
            cloud.update(scope, {"from": "the cloud"})
        with pytest.raises(StoreUnavailableError):
            edge.services.update_many({gone[1]: {"n": 2}})

        def is_carried() -> bool:
            works(worker)
            return bool(cloud.get(there[4]).data == {"n": 2} and "from" in edge.read(there[5]).data)

        eventually(is_carried, seconds=30)
        cloud.update(there[6], {"from": "the cloud"})
        assert worker.run_once() == 1
    finally:
        cluster.masters[1].restart()
        cluster.wait_until_ok()
    edge.write(gone[1:3], 3)
    eventually(lambda: works(worker), seconds=30)
    check_equal(edge, cloud)
    assert edge.read(gone[0]).data == {"from": "the cloud"}
    with cluster.client() as client:
        tags = [f"er:{{default:sync{name}}}" for name in name_shards("default", "sync", 12)]
        assert len({client.get(f"{tag}:cursor") for tag in tags}) == 1


def count_pages(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the cursor is added of each page that is read from now on."""
    store, cursors = getattr(cloud, "_target", cloud), list[str]()
    read = store.changes_since

    def changes_since(cursor: str, *args: Any, **options: Any) -> Any:
        cursors.append(cursor)
        return read(cursor, *args, **options)

    monkeypatch.setattr(store, "changes_since", changes_since)
    return cursors


def test_a_master_without_memory_holds_up_its_own_scopes_alone(
    cluster: Cluster, edge: Edge, cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = edge.new_worker(cloud)
    edge.write(SCOPES, 1)
    eventually(lambda: works(worker), seconds=30)
    full, held = cluster.masters[1], {key.partition(b"}:doc:")[2].decode() for key in cluster.keys_by_master()[1]}
    drained, *waiting = [scope for scope in SCOPES if scope in held][:3]
    others = [scope for scope in SCOPES if scope not in held][:2]
    edge.write([drained], 2)
    with full.client() as admin:
        admin.config_set("maxmemory", 1)
        try:
            for scope in (*waiting, *others):
                cloud.update(scope, {"from": "the cloud"})
            eventually(lambda: works(worker), seconds=30)
            assert [edge.read(scope).data for scope in others] == [{"from": "the cloud"}] * 2
            assert cloud.get(drained).data == {"n": 2}
            assert [edge.read(scope).data for scope in waiting] == [{"n": 1}] * 2
            cloud.update(others[0], {"and": "more"})
            pages = count_pages(cloud, monkeypatch)
            assert worker.run_once() == 1
            assert len(pages) == 1, "none is read for the full shard"
        finally:
            admin.config_set("maxmemory", 0)
    eventually(lambda: works(worker), seconds=30)
    check_equal(edge, cloud)


def test_commands_begin_while_a_master_is_gone(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redirections, "_FIRST_PAUSE", 0.0)
    shell, database = Shell(cluster.url, tmp_path, capsys), f"sqlite:///{tmp_path}/cloud.db"
    with cluster.client() as client, EdgeRedis(client, namespace="shop") as services:
        services.update_many({scope: {"n": 1} for scope in SCOPES})
        services.health.register(EdgeNode("n1", "one"))
    home = next(at for at in (0, 1, 2) if b"er:{shop:sync0}:layout" in cluster.keys_by_master()[at])
    gone = cluster.masters[(home + 1) % 3]  # the other one has the number of shards, without which nothing begins
    held = {key.partition(b"}:doc:")[2].decode() for key in cluster.keys_by_master()[(home + 1) % 3]}
    there = set(SCOPES) - held
    gone.kill()
    try:
        with SqlCloudStore(database, namespace="shop") as cloud, ThreadPoolExecutor(1) as pool:

            def stop_when_carried() -> None:
                try:
                    eventually(lambda: {scope for scope, _ in cloud.changes_since().changes} == there, every=0.05)
                finally:
                    os.kill(os.getpid(), signal.SIGTERM)

            stopping = pool.submit(stop_when_carried)
            assert shell.run("worker", "--cloud-sql", database)[0] == 0
            stopping.result()
        code, _, messages = shell.run("monitor", "--duration", "0.01")
        assert (code, f"{gone.port}" in messages) == (0, True)
    finally:
        gone.restart()
        cluster.wait_until_ok()


@pytest.mark.parametrize("make", ["blocking", pytest.param("awaited", marks=pytest.mark.exploration)], indirect=True)
def test_nothing_is_lost_or_applied_twice_while_a_slot_moves(cluster: Cluster, edge: Edge, cloud: Any) -> None:
    worker = edge.new_worker(cloud)
    edge.write(SCOPES, 1)
    moving = choose_shard(SCOPES[7], 12)
    slot = hash_slot(f"default:sync{name_shards('default', 'sync', 12)[moving]}")
    others = [scope for scope in SCOPES if choose_shard(scope, 12) != moving][:6]
    for step, _ in enumerate(cluster.moving_slot(slot)):
        if step % 8 == 1:
            assert edge.write(others, step) == set(others)
            cloud.update(others[0], {"step": step})
            with contextlib.suppress(EdgeRedisError):
                worker.run_once()
    edge.write([SCOPES[7]], 1000)
    eventually(lambda: works(worker), seconds=30)
    check_equal(edge, cloud)
    assert cloud.get(SCOPES[7]).data == {"n": 1000}
    cluster.flush()
    cluster.return_slot(slot)
