"""Maintenance that an operator sets, apart from the status that a node reports; and availability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edge_redis import EdgeNode, EdgeNodeStatus, InvalidArgumentError, InvalidTypeError, UnknownNodeError
from support.site import Site


def states(site: Site) -> list[str]:
    return [change[1] for change in site.changes()]


def test_no_heartbeat_undoes_it_and_the_beginning_and_the_end_are_all_that_is_written(site: Site) -> None:
    site.join("a", "b", "c")
    site.rounds(60)
    site.monitor.set_maintenance("a", reason="a new disk")
    assert site.monitor.transitions()[-1].reason == "a new disk"
    site.rounds(30)
    assert site.monitor.get_node("a").status is EdgeNodeStatus.ONLINE
    site.alive.remove("a")
    found = site.rounds(300)
    assert (found.checked, found.unhealthy) == (3, 1), "it is checked and counted as ever"
    assert site.monitor.check_node("a").details["maintenance"] is True
    assert site.changes() == [("a", "maintenance", "healthy")]
    site.join("a")
    site.rounds(5)
    assert site.monitor.end_maintenance("a") is True
    assert site.changes()[1:] == [("a", "healthy", "maintenance")]
    assert site.monitor.end_maintenance("a") is False
    assert "maintenance" not in site.monitor.check_node("a").details


def test_it_ends_by_itself_and_a_node_that_is_still_gone_is_unhealthy(site: Site) -> None:
    site.join("a", "b", "c")
    site.rounds(60)
    site.monitor.set_maintenance("a", 200)
    site.alive.remove("a")
    site.rounds(195)
    assert site.changes() == [("a", "maintenance", "healthy")]
    site.rounds(10)
    assert site.changes()[1:] == [("a", "unhealthy", "maintenance")]


def test_a_node_in_maintenance_is_not_removed_nor_in_a_mass_outage(site: Site) -> None:
    site.watch.close()
    watch = site.another(retention_seconds=120)
    names = [f"n{number}" for number in range(6)]
    site.join(*names)
    site.rounds(60, watch)
    for name in names[:4]:
        site.monitor.set_maintenance(name)
        site.alive.remove(name)
    assert site.rounds(600, watch, every=10).mass_outage is False
    assert set(states(site)) == {"maintenance"}
    assert len(site.monitor.nodes()) == 6


def test_a_suspect_in_maintenance_is_no_suspect(site: Site) -> None:
    site.watch.close()
    watch = site.another(suspicion_seconds=30)
    site.join("a", "b", "c")
    site.rounds(60, watch)
    site.alive.remove("a")
    site.rounds(65, watch)
    site.monitor.set_maintenance("a")
    site.rounds(100, watch)
    assert site.changes() == [("a", "suspected", "healthy"), ("a", "maintenance", "suspected")]


def test_it_is_kept_over_a_registration_and_gone_with_the_node(make: Any) -> None:
    monitor = make("HealthMonitor")
    monitor.register(EdgeNode("n", "n"))
    monitor.set_maintenance("n")
    monitor.register(EdgeNode("n", "n"))
    (found,) = monitor.snapshot()
    assert (found.in_maintenance, found.healthy, found.status) == (True, True, "online")
    assert monitor.deregister("n") is True
    assert [(change.state, change.previous) for change in monitor.transitions()][-1] == ("deregistered", "maintenance")
    monitor.register(EdgeNode("n", "n"))
    assert monitor.snapshot()[0].in_maintenance is False


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("x",), UnknownNodeError),
        (("n", 0), InvalidArgumentError),
        (("n", "1"), InvalidTypeError),
        (("n", None, 7), InvalidTypeError),
    ],
)
def test_bad_arguments(make: Any, arguments: tuple[Any, ...], error: type[Exception]) -> None:
    monitor = make("HealthMonitor")
    monitor.register(EdgeNode("n", "n"))
    with pytest.raises(error):
        monitor.set_maintenance(*arguments)
    with pytest.raises(UnknownNodeError):
        monitor.end_maintenance("x")
    assert monitor.transitions() == []


def test_a_deregistered_node_closes_its_alert(site: Site) -> None:
    site.join("a", "b", "c")
    site.rounds(60)
    site.alive.remove("a")
    site.rounds(60)
    site.monitor.deregister("a")
    assert site.changes() == [("a", "unhealthy", "healthy"), ("a", "deregistered", "unhealthy")]


def test_an_offline_node_is_online_again_with_its_next_heartbeat_by_id(make: Any) -> None:
    monitor = make("HealthMonitor")
    node = EdgeNode("n", "n")
    sends: list[Callable[[], object]] = [lambda: monitor.heartbeat("n"), lambda: monitor.heartbeat_many(["n"])]
    for send in sends:
        monitor.register(node)
        monitor.heartbeat("n", EdgeNodeStatus.OFFLINE)
        assert monitor.check_node("n").healthy is False
        send()
        assert (monitor.get_node("n").status, monitor.check_node("n").healthy) == (EdgeNodeStatus.ONLINE, True)
    monitor.heartbeat("n", EdgeNodeStatus.DEGRADED)
    monitor.heartbeat("n")
    assert monitor.get_node("n").status is EdgeNodeStatus.DEGRADED, "any other status stays"
    node.status = EdgeNodeStatus.OFFLINE
    monitor.heartbeat(node)
    assert monitor.get_node("n").status is EdgeNodeStatus.OFFLINE, "an object reports its own status"


def test_availability_is_the_share_of_the_time_that_is_known(site: Site) -> None:
    assert site.monitor.availability("a", 3600) == {
        "availability_percent": None,
        "unhealthy_spells": 0,
        "longest_spell_seconds": 0.0,
        "known_seconds": 0.0,
    }
    site.join("a", "b", "c")
    site.watch.run_once()
    site.rounds(100)
    site.monitor.heartbeat("a", EdgeNodeStatus.OFFLINE)
    site.alive.remove("a")
    site.watch.run_once()
    site.rounds(50)
    site.join("a")
    site.watch.run_once()
    site.rounds(50)
    assert site.monitor.availability("a", 3600) == {
        "availability_percent": 75.0,
        "unhealthy_spells": 1,
        "longest_spell_seconds": 50.0,
        "known_seconds": 200.0,
    }
    found = site.monitor.availability("a", 60)
    assert (found["known_seconds"], found["longest_spell_seconds"]) == (60.0, 10.0)
    site.monitor.set_maintenance("a")
    site.watch.run_once()
    site.rounds(100)
    assert site.monitor.availability("a", 3600)["known_seconds"] == 200.0, "maintenance is left out"
    site.monitor.end_maintenance("a")
    site.clock.now += 7200
    site.beat()
    site.watch.run_once()
    site.rounds(50)
    found = site.monitor.availability("a", 86400)
    assert found["known_seconds"] == 200.0 + 600.0 + 50.0, "a verdict holds for ten timeouts at most"


@pytest.mark.parametrize(("seconds", "error"), [(0, InvalidArgumentError), ("1", InvalidTypeError)])
def test_availability_of_a_period_that_is_none(make: Any, seconds: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make("HealthMonitor").availability("n", seconds)


def test_a_snapshot_has_every_node_and_writes_nothing(make: Any) -> None:
    monitor = make("HealthMonitor")
    for name in ("b", "a"):
        monitor.register(EdgeNode(name, name, location="hall 7"))
    monitor.heartbeat("b", EdgeNodeStatus.OFFLINE)
    with make.backend.client() as client:
        client.hset("er:{default:health0}:node:a", "status", "rebooting")
        before = {key: client.dump(key) for key in client.scan_iter()}
        found = monitor.snapshot()
        assert {key: client.dump(key) for key in client.scan_iter()} == before
    assert [(health.node_id, health.healthy, health.status) for health in found] == [
        ("a", True, "rebooting"),
        ("b", False, "offline"),
    ]
    assert found[0].node is None, "its record does not decode"
    assert found[1].node is not None
    assert found[1].node.location == "hall 7"
    assert all(0 <= health.heartbeat_age_seconds < 60 for health in found)
