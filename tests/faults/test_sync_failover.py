"""A worker whose server is a service of Sentinels or a cluster: after a failover it listens to the new master."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest
import redis

from edge_redis import CloudWorker, EdgeRedisError, EdgeSynchronizer, RedisCloudStore, connect, embedded
from support.cluster import Cluster
from support.deadline import eventually
from support.sentinel import SERVICE, Service

T = TypeVar("T")

SECONDS = 10.0
"""Far less than the interval at which a worker reads without a hint."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def insist(call: Callable[[], T]) -> T:
    """Return what a call returns once the new master serves it."""
    end = time.monotonic() + 30.0
    while True:
        try:
            return call()
        except EdgeRedisError:
            if time.monotonic() > end:
                raise


def carries_both_ways(sync: Any, cloud: Any, number: int) -> None:
    up = insist(lambda: sync.update_local({"n": number}))
    eventually(lambda: insist(lambda: cloud.get("s")) == up, seconds=SECONDS)
    down = insist(lambda: cloud.update("s", {"n": -number}))
    eventually(lambda: insist(sync.get_local_state) == down, seconds=SECONDS)


def listeners(server: embedded.EmbeddedServer) -> int:
    with (
        contextlib.suppress(redis.RedisError, EdgeRedisError),
        server.client() as client,
    ):  # Sentinels cut off all clients of a new master
        return sum(each["name"] == "listens" and int(each["sub"]) for each in client.client_list())
    return 0


def fail_over_service(stack: ExitStack) -> tuple[Callable[[], Any], Callable[[], object], embedded.EmbeddedServer]:
    service = Service()
    stack.callback(service.stop)

    def fail_over() -> None:  # the old master stays, as a replica
        with service.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)

    return lambda: connect(service.url, client_name="listens"), fail_over, service.replica


def kill_master_of_service(stack: ExitStack) -> tuple[Callable[[], Any], Callable[[], object], embedded.EmbeddedServer]:
    service = Service()
    stack.callback(service.stop)
    return lambda: connect(service.url, client_name="listens"), service.master.kill, service.replica


@pytest.mark.exploration
@pytest.mark.parametrize("fail_over", [fail_over_service, kill_master_of_service], ids=lambda each: each.__name__)
def test_the_new_master_of_a_service_is_listened_to(stack: ExitStack, fail_over: Any) -> None:
    open_client, fail, promoted = fail_over(stack)
    clients = [stack.enter_context(open_client()) for _ in range(3)]
    worker = stack.enter_context(CloudWorker(clients[0], clients[1])).start()
    wake_ups = worker._loop._wake_ups
    sync, cloud = EdgeSynchronizer(clients[2], scope="s"), RedisCloudStore(clients[2])
    eventually(lambda: wake_ups.is_listening, seconds=SECONDS)
    carries_both_ways(sync, cloud, 1)
    fail()
    eventually(lambda: listeners(promoted) == 2 and wake_ups.is_listening, seconds=40)
    for number in range(2, 5):
        carries_both_ways(sync, cloud, number)


@pytest.mark.exploration
def test_another_node_of_a_cluster_is_listened_to_where_one_dies(stack: ExitStack) -> None:
    cluster = Cluster(3, replicas=3)
    stack.callback(cluster.stop)
    clients = [stack.enter_context(cluster.client(client_name="listens")) for _ in range(3)]
    worker = stack.enter_context(CloudWorker(clients[0], clients[1])).start()
    wake_ups = worker._loop._wake_ups
    sync, cloud = EdgeSynchronizer(clients[2], scope="s"), RedisCloudStore(clients[2])
    eventually(lambda: wake_ups.is_listening, seconds=SECONDS)
    carries_both_ways(sync, cloud, 1)
    next(node for node in cluster.masters if listeners(node)).kill()
    eventually(lambda: sum(map(listeners, cluster.nodes)) == 2 and wake_ups.is_listening, seconds=40)
    for number in range(2, 5):
        carries_both_ways(sync, cloud, number)
