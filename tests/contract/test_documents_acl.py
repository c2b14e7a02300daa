"""The user of the page "Use TLS and access control" can use every service, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from edge_redis import (
    CloudWorker,
    ConflictStrategy,
    EdgeCache,
    EdgeMetrics,
    EdgeNode,
    EdgeSynchronizer,
    HealthMonitor,
    HealthWatch,
    TransitionRelay,
)
from edge_redis._io.doctor import examine_client
from support.deadline import eventually
from support.servers import Backend

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-tls-and-acl.md"
NAMESPACE = "store-42"


def _rules(*, namespace: str | None) -> list[str]:
    found = re.search(r"^user edge on >PASSWORD (.*)$", PAGE.read_text(), re.MULTILINE)
    assert found
    rules = found[1] if namespace is None else re.sub(r"([~&])er:\*", rf"\1er:{{{namespace}:*", found[1])
    return rules.split()


@pytest.fixture(params=[None, NAMESPACE], ids=["all namespaces", "one namespace"])
def client(request: pytest.FixtureRequest, real: Backend) -> Iterator[redis.Redis]:
    with real.client() as admin:
        admin.execute_command("ACL", "SETUSER", "edge", "reset", "on", ">secret", *_rules(namespace=request.param))
        with real.client(username="edge", password="secret") as made:
            yield made
        admin.execute_command("ACL", "DELUSER", "edge")


def test_the_user_can_cache_and_keep_a_near_cache(client: redis.Redis) -> None:
    with EdgeCache(client, namespace=NAMESPACE, near_cache=True) as cache:
        cache.put("key", 1, tags=("tag",))
        assert cache.get_or_compute("other", lambda: 2) == 2
        assert cache.get_many(["key", "other"]) == {"key": 1, "other": 2}
        eventually(lambda: cache.stats()["near_listening"])
        assert sorted(cache.keys()) == ["key", "other"]
        assert cache.invalidate_tag("tag") == 1
        assert cache.clear() == 1


def test_the_user_can_watch_nodes(client: redis.Redis) -> None:
    received: list[str] = []
    monitor = HealthMonitor(client, namespace=NAMESPACE)
    with TransitionRelay(client, lambda change: received.append(change.state), namespace=NAMESPACE) as relay:
        relay.run_once()
        monitor.register(EdgeNode("till-1", "Till 1"))
        with HealthWatch(client, 60, namespace=NAMESPACE) as watch:
            assert watch.run_once().leader
        monitor.heartbeat("till-1", "offline")  # type: ignore[arg-type]
        assert monitor.check_cluster()["unhealthy_nodes"] == 1
        relay.run_once()
    assert received == ["unhealthy"]
    assert monitor.deregister("till-1")


def test_the_user_can_measure(client: redis.Redis) -> None:
    with EdgeMetrics(client, namespace=NAMESPACE) as metrics:
        with metrics.track("function", "node"):
            pass
        assert metrics.summary()["total"] == 1
        assert metrics.timeline()[-1]["total"] + metrics.timeline()[-2]["total"] == 1
        assert len(metrics.recent()) == 1
        metrics.reset()
        assert metrics.total_invocations() == 0


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_the_user_can_synchronize(client: redis.Redis, strategy: ConflictStrategy) -> None:
    edge = EdgeSynchronizer(client, strategy, scope=strategy, namespace=NAMESPACE)
    edge.update_local({"a": 1, "b": 2})
    edge.delete_fields("a")
    with CloudWorker(client, client, namespace=NAMESPACE) as worker:
        while worker.run_once():
            pass
        assert worker.status()["dead_letters"] == 0
    assert edge.is_synced


@pytest.mark.parametrize("client", [None], indirect=True, ids=["all namespaces"])
def test_doctor_finds_that_the_user_has_every_right(client: redis.Redis) -> None:
    found = {finding.topic: finding for finding in examine_client(client)}
    assert found["permissions"].level == "ok", found["permissions"].text


@pytest.mark.parametrize(
    "command",
    ["FLUSHALL", "CONFIG GET maxmemory", "ACL LIST", "KEYS *", "GET other", "SET other 1", "SHUTDOWN NOSAVE"],
)
def test_the_user_cannot_do_anything_else(client: Any, command: str) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())
