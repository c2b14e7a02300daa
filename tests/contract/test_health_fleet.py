"""Storms of heartbeats, the silent nodes, and those that are forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest

from edge_redis import EdgeNode, EdgeNodeStatus, InvalidArgumentError, InvalidKeyError, InvalidTypeError
from edge_redis._io.blocking_runner import BlockingRunner
from support import simulation
from support.health import make_health, make_past_health, register_past
from support.servers import Backend
from support.simulation import LOSSES, Actor, Scenario

TAG = "er:{default:health0}"


def silent(name: str, seconds: float = 100.0) -> EdgeNode:
    return EdgeNode(name, name, last_heartbeat=datetime.now(UTC) - timedelta(seconds=seconds))


@pytest.fixture
def monitor(make: Any) -> Any:
    return make("HealthMonitor")


def test_many_heartbeats_at_once(make: Any, monitor: Any, backend: Backend) -> None:
    for name in ("a", "b"):
        register_past(make, EdgeNode(name, name), 100.0)
    given = silent("c")
    given.status = EdgeNodeStatus.SYNCING
    assert monitor.heartbeat_many(["a", given, "x", "a"]) == {"a": True, "x": False, "c": True}
    checks = monitor.check_cluster()["checks"]
    assert [(check["node_id"], check["healthy"]) for check in checks] == [("a", True), ("b", False), ("c", True)]
    assert monitor.get_node("c") == given
    with backend.client() as client:
        assert not [key for key in client.scan_iter() if b"x" in key]
    assert monitor.heartbeat_many([]) == {}


def test_a_storm_of_more_heartbeats_than_a_slice(monitor: Any) -> None:
    names = [f"n{number:03d}" for number in range(120)]
    assert monitor.heartbeat_many([silent(name) for name in names]) == dict.fromkeys(names, True)
    found = monitor.heartbeat_many([*names, "x"])
    assert found == {**dict.fromkeys(names, True), "x": False}
    assert monitor.stale() == []


def test_the_oldest_heartbeats_come_first(make: Any, monitor: Any) -> None:
    for name, seconds in (("a", 70.0), ("b", 5.0), ("c", 700.0)):
        register_past(make, EdgeNode(name, name), seconds)
    assert monitor.stale() == ["c", "a"]
    assert monitor.stale(4.0) == ["c", "a", "b"]
    assert monitor.stale(500.0) == ["c"]
    assert monitor.stale(limit=1) == ["c"]
    assert monitor.stale(5000.0) == []


def test_a_stale_node_is_removed_and_that_is_a_transition(make: Any, monitor: Any, backend: Backend) -> None:
    for name, seconds in (("a", 7000.0), ("b", 5.0)):
        register_past(make, EdgeNode(name, name), seconds)
    monitor.check_cluster()
    assert monitor.remove_stale(3600.0) == 1
    assert monitor.remove_stale(3600.0) == 0
    assert [node.id for node in monitor.nodes()] == ["b"]
    assert monitor.get_history("a") == []
    last = monitor.transitions()[-1]
    assert (last.node_id, last.state) == ("a", "removed")
    assert last.reason.startswith("no heartbeat for 7000.")
    assert last.reason.endswith(" s, removed after 3600 s")
    with backend.client() as client:
        assert not client.exists(f"{TAG}:node:a", f"{TAG}:history:a")
    assert monitor.heartbeat("a") is False
    assert monitor.heartbeat(silent("a")) is True


def test_more_to_forget_than_a_slice(monitor: Any, backend: Backend) -> None:
    monitor.heartbeat_many([silent(f"n{number}") for number in range(100)])
    with backend.client() as client:
        client.zadd(f"{TAG}:heartbeats", dict.fromkeys((f"n{number}" for number in range(99)), 1000))
    assert monitor.remove_stale(3600.0) == 99
    assert [node.id for node in monitor.nodes()] == ["n99"]


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("heartbeat_many", ("a",), InvalidTypeError),
        ("heartbeat_many", (None,), InvalidTypeError),
        ("heartbeat_many", ([""],), InvalidKeyError),
        ("heartbeat_many", (["a", 1],), InvalidTypeError),
        ("heartbeat_many", ([EdgeNode("a", "a", location=7)],), InvalidTypeError),  # type: ignore[arg-type]
        ("stale", (-1,), InvalidArgumentError),
        ("stale", (float("nan"),), InvalidArgumentError),
        ("stale", (1.0, 0), InvalidArgumentError),
        ("stale", (1.0, 10_001), InvalidArgumentError),
        ("remove_stale", (0,), InvalidArgumentError),
        ("remove_stale", (None,), InvalidTypeError),
        ("remove_stale", (float("inf"),), InvalidArgumentError),
    ],
)
def test_bad_arguments(
    monitor: Any, backend: Backend, name: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        getattr(monitor, name)(*arguments)
    with backend.client() as client:
        assert client.dbsize() == 0


def test_a_node_that_sends_a_heartbeat_meanwhile_is_not_removed_and_none_twice() -> None:
    def scenario() -> Scenario:
        client = fakeredis.FakeRedis()
        runner = BlockingRunner(client)
        monitors = [make_health(max_history=9, max_transitions=99) for _ in range(3)]
        for name in ("a", "b"):
            runner.run(make_past_health(5000).register(EdgeNode(name, name)))

        def check(actors: Sequence[Actor]) -> None:
            left = [node.id for node in runner.run(monitors[0].nodes())]
            removed = [change.node_id for change in runner.run(monitors[0].transitions())]
            assert sorted(left + removed) == ["a", "b"]
            if actors[2].result is True:
                assert left == ["a"]
            if actors[0].acknowledged and actors[1].acknowledged:
                assert actors[0].result + actors[1].result == len(removed)

        return Scenario(
            [
                Actor("one", client, lambda: monitors[0].remove_stale(3600.0), LOSSES),
                Actor("other", client, lambda: monitors[1].remove_stale(3600.0), LOSSES),
                Actor("node", client, lambda: monitors[2].heartbeat("a")),
            ],
            check,
        )

    assert simulation.explore(scenario) > 20
