"""Clients made with ``read_replicas``: replicas answer what reads, refuse what writes, and the master stands in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Maker

from edge_redis import EdgeNode, EdgeSynchronizer, HealthMonitor, StoreReadOnlyError, aio, connect
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
        eventually(lambda: all(replicas for _, _, _, *replicas in client.execute_command("CLUSTER SLOTS")))
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
