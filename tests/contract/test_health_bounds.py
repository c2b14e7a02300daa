"""A dead node is found whatever delays a verdict: grace, probes and mass outages all end."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from edge_redis import EdgeNode
from support.site import STAND_BY, Site


def rare_rounds(site: Site, watch: Any, pause: float, count: int) -> None:
    for _ in range(count):
        site.clock.now += pause
        site.beat()
        watch.run_once()


@pytest.mark.parametrize("pause", [12, 20, 45, 61, 300])
def test_rounds_that_are_rarer_than_the_gap_find_a_dead_node_within_four_rounds_or_two_timeouts(
    site: Site, pause: int
) -> None:
    site.join("a", "b")
    rare_rounds(site, site.watch, pause, 20)
    assert site.changes() == [], "a node that sends heartbeats is not blamed"
    site.alive.remove("b")
    rounds = max(5, -(-120 // pause))
    rare_rounds(site, site.watch, pause, rounds)
    assert site.changes() == [("b", "unhealthy", "healthy")]
    site.alive.remove("a")
    rare_rounds(site, site.watch, pause, rounds)
    assert site.changes()[1:] == [("a", "unhealthy", "healthy")], "a later death as well"


def test_rare_rounds_remove_stale_nodes_too(site: Site) -> None:
    site.watch.close()
    watch = site.another(retention_seconds=600)
    site.join("a", "b")
    rare_rounds(site, watch, 100, 6)
    site.alive.remove("b")
    rare_rounds(site, watch, 100, 10)
    assert [change[1] for change in site.changes()] == ["unhealthy", "removed"]


def test_three_absences_in_a_row_blame_no_node(site: Site) -> None:
    site.join("a", "b")
    site.rounds(60)
    for _ in range(3):
        site.clock.now += 3600
        site.watch.run_once()
        site.clock.now += 10  # back for less than a timeout, and no node could connect again
        site.watch.run_once()
    assert site.changes() == []


def test_a_mass_outage_ends_by_itself_and_later_deaths_and_new_nodes_are_found(site: Site) -> None:
    site.join(*(f"n{number}" for number in range(6)))
    site.rounds(60)
    site.alive = {"n4", "n5"}
    assert site.rounds(60).mass_outage is True
    assert site.rounds(290, every=10).mass_outage is True
    assert site.rounds(15).mass_outage is False
    assert [change[:2] for change in site.changes()] == [
        ("", "mass_outage"),
        ("", "mass_outage_over"),
        *((f"n{number}", "unhealthy") for number in range(4)),
    ]
    assert site.monitor.transitions()[1].reason.endswith("which has lasted for 300 s: each is unhealthy by itself")
    site.join("new")
    site.rounds(60)
    site.alive = {"n5"}
    site.rounds(65)
    assert sorted(change[:2] for change in site.changes()[6:]) == [("n4", "unhealthy"), ("new", "unhealthy")]


def test_a_mass_outage_that_ended_by_itself_does_not_begin_again_with_the_suspects(site: Site) -> None:
    site.watch.close()
    watch = site.another(suspicion_seconds=20, mass_outage_seconds=100, retention_seconds=400)
    site.join(*(f"n{number}" for number in range(6)))
    site.rounds(60, watch)
    site.alive = {"n5"}
    site.rounds(300, watch, every=10)
    states = [change[1] for change in site.changes()]
    assert states == ["mass_outage", "mass_outage_over", *["suspected"] * 5, *["unhealthy"] * 5]
    site.rounds(150, watch, every=10)
    assert [change[1] for change in site.changes()][12:] == ["removed"] * 5


def test_a_second_watch_with_other_settings_stands_by_says_so_and_changes_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    other = site.make("HealthWatch", 6.0)
    site.join("a", "b")
    site.rounds(60)
    site.alive.remove("b")
    with caplog.at_level(logging.WARNING, "edge_redis"):
        for _ in range(13):
            site.rounds(5)
            site.clock.now += 2
            assert other.run_once().config_differs is True
    assert caplog.text.count("another HealthWatch leads, with another heartbeat timeout") == 1
    assert site.changes() == [("b", "unhealthy", "healthy")]
    same = site.another()
    assert same.run_once() == STAND_BY


def test_the_timeout_of_the_watch_that_leads_decides_every_check(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    dashboard = site.make("HealthMonitor", 600.0)
    site.join("a", "b")
    site.rounds(60)
    site.alive.remove("b")
    with caplog.at_level(logging.WARNING, "edge_redis"):
        for _ in range(20):
            site.rounds(5)
            dashboard.check_cluster()
    assert caplog.text.count("the HealthWatch that leads checks with a timeout of 60 s") == 1
    assert dashboard.check_node("b").healthy is False
    assert dashboard.stale() == ["b"]
    assert site.changes() == [("b", "unhealthy", "healthy")]
    site.watch.close()
    assert dashboard.check_node("b").healthy is True, "without a watch, each monitor has its own timeout"


def test_a_node_s_own_timeout_decides_about_it(site: Site) -> None:
    for name, timeout in (("slow", 300.0), ("fast", 20.0), ("plain", None)):
        site.monitor.register(EdgeNode(name, name), timeout)
    site.join("a", "b", "c", "d", "e")
    site.rounds(30)
    assert site.monitor.stale() == ["fast"]
    site.rounds(280, every=10)
    assert sorted(site.monitor.stale()) == ["fast", "plain", "slow"]
    assert [change[:2] for change in site.changes()] == [
        ("fast", "unhealthy"),
        ("plain", "unhealthy"),
        ("slow", "unhealthy"),
    ]
    found = {health.node_id: health.timeout_seconds for health in site.monitor.snapshot()}
    assert (found["slow"], found["fast"], found["plain"], found["a"]) == (300.0, 20.0, 60.0, 60.0)
    site.monitor.register(EdgeNode("slow", "slow"))
    site.rounds(65)
    assert [change[1] for change in site.changes() if change[0] == "slow"] == ["unhealthy", "recovered", "unhealthy"]
