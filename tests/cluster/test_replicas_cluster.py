"""A cluster with a replica: views that it answers, or its master, and writes that wait for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import Maker

from edge_redis import (
    EdgeNode,
    EdgeSynchronizer,
    HealthMonitor,
    NotReplicatedError,
    StoreReadOnlyError,
    aio,
    connect,
)
from edge_redis._core.slots import hash_slot
from edge_redis.embedded import EmbeddedServer
from support.cluster import Cluster
from support.deadline import eventually

# The library's asyncio client drops nodes with their connections open when it looks for its masters anew.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed (ClusterNode|Connection|transport):ResourceWarning"),
    pytest.mark.usefixtures("swept"),
]


class Replicated:
    """A cluster of a master and its replica, and clients of its replicas."""

    def __init__(self) -> None:
        self.cluster = Cluster(1, replicas=1)
        [self.master] = self.cluster.masters
        self.replica = self.cluster.replica_of(self.master)
        self._url = f"redis+cluster://{self.master.host}:{self.master.port}"

    def client(self, **options: Any) -> Any:
        return connect(self._url, read_replicas=True, **options)

    def async_client(self, **options: Any) -> Any:
        return aio.connect(f"{self._url}?read_replicas=true", **options)

    def wait_for_replica(self) -> None:
        """Wait until the master names its replica to clients."""
        with self.master.client() as client:
            eventually(lambda: all(replicas for _, _, _, *replicas in client.execute_command("CLUSTER SLOTS")))

    def as_user(self, _: str) -> dict[str, str]:
        return {}


@pytest.fixture(scope="module")
def replicated() -> Iterator[Replicated]:
    made = Replicated()
    with made.cluster.client() as client, HealthMonitor(client) as monitor, EdgeSynchronizer(client) as synchronizer:
        monitor.register(EdgeNode("n1", "one"))
        synchronizer.update_local({"n": 1})
        client.wait(1, 5000, target_nodes=client.get_primaries())
    with made.master.client() as client:
        client.config_set("appendfsync", "always")
    made.wait_for_replica()
    yield made
    made.cluster.stop()


@pytest.fixture(params=["blocking", "awaited"])
def views(request: pytest.FixtureRequest, replicated: Replicated) -> Iterator[Maker]:
    maker = Maker(replicated, request.param)  # type: ignore[arg-type]
    yield maker
    maker.close()


def count_scripts(server: EmbeddedServer) -> int:
    """Count the scripts that a server has run."""
    with server.client() as client:
        found = client.info("commandstats")
    return sum(found.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))


def test_the_replica_answers_what_reads_and_refuses_what_writes(views: Maker, replicated: Replicated) -> None:
    before = count_scripts(replicated.master), count_scripts(replicated.replica)
    monitor, synchronizer = views("HealthMonitor"), views("EdgeSynchronizer")
    assert [node.id for node in monitor.nodes()] == ["n1"]
    assert synchronizer.get_local_state().data == {"n": 1}
    assert synchronizer.pending_count == 1
    with pytest.raises(StoreReadOnlyError):
        monitor.heartbeat("n1")
    with pytest.raises(StoreReadOnlyError):
        synchronizer.update_local({"n": 2})
    assert count_scripts(replicated.master) == before[0]
    assert count_scripts(replicated.replica) > before[1]


def test_the_master_answers_where_the_replica_is_gone(views: Maker, replicated: Replicated) -> None:
    monitor = views("HealthMonitor")
    assert [node.id for node in monitor.nodes()] == ["n1"]
    replicated.replica.kill()
    try:
        assert [node.id for node in monitor.nodes()] == ["n1"]
    finally:
        replicated.replica.restart()
        with replicated.replica.client() as client:
            eventually(lambda: client.info("replication").get("master_link_status") == "up", seconds=30)
        replicated.wait_for_replica()


@contextmanager
def paused(server: EmbeddedServer) -> Iterator[None]:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_views_wait_for_a_replica_that_hangs_once_and_then_ask_the_master(views: Maker, replicated: Replicated) -> None:
    monitor, synchronizer = views("HealthMonitor"), views("EdgeSynchronizer", client=views._clients[0])
    assert [node.id for node in monitor.nodes()] == ["n1"]
    with paused(replicated.replica):
        began = time.monotonic()
        assert [node.id for node in monitor.nodes()] == ["n1"]
        assert time.monotonic() - began < 3.0
        began = time.monotonic()
        for _ in range(10):
            assert synchronizer.get_local_state().data == {"n": 1}
            assert [node.id for node in monitor.nodes()] == ["n1"]
        assert time.monotonic() - began < 0.9


@pytest.fixture(params=["blocking", "awaited"])
def write(request: pytest.FixtureRequest, replicated: Replicated) -> Iterator[Maker]:
    maker = Maker(replicated.cluster, request.param)  # type: ignore[arg-type]
    yield maker
    maker.close()


def test_a_write_is_at_the_replica_when_it_returns_or_the_error_says_why_not(
    write: Maker, replicated: Replicated
) -> None:
    cache, synchronizer = write("EdgeCache"), write("EdgeSynchronizer", scope=f"durable/{write.api}")
    entries = {str(number): number for number in range(300)}
    cache.put("k", 1, replicas=1)
    cache.put_many(entries, replicas=1)
    assert synchronizer.update_local({"n": 1}, replicas=1).version == 1
    with replicated.replica.client() as replica:
        replica.readonly()
        assert len(set(replica.scan_iter("*}:v:*", count=1000))) == 301
        assert replica.exists(*replica.scan_iter(f"*}}:doc:durable/{write.api}", count=1000)) == 1
    with paused(replicated.replica):
        with pytest.raises(NotReplicatedError, match="applied, but not replicated: 0 of 1 replicas"):
            cache.put("k", 2, replicas=1, replication_timeout=0.05)
        with pytest.raises(NotReplicatedError, match="0 of 1"):
            synchronizer.update_local({"n": 2}, replicas=1, replication_timeout=0.05)
        assert cache.get("k") == 2
    assert synchronizer.update_local({"n": 2}, replicas=1).version == 2
    cache.clear()


@pytest.mark.parametrize("api", ["blocking", "awaited"])
def test_a_write_is_on_the_disk_of_the_master_that_its_slot_has_moved_to(api: str, cluster: Cluster) -> None:
    slot = hash_slot("default:cache0")
    make = Maker(cluster, api)  # type: ignore[arg-type]
    cache = make("EdgeCache", shards=1)
    for node in cluster.masters:
        with node.client() as client:
            client.config_set("appendfsync", "always")
    cache.put("k", 1, fsync=True)
    for _ in cluster.moving_slot(slot):
        pass
    cache.put("k", 2, fsync=True)
    assert cache.get("k") == 2
    cluster.flush()
    cluster.return_slot(slot)
    for node in cluster.masters:
        with node.client() as client:
            client.config_set("appendfsync", "no")
    make.close()
