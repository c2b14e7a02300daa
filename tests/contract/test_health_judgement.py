"""When a watch must not judge, or not yet: long rounds, maintenance, and a clock that is set back."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from conftest import Maker

from edge_redis import EdgeNodeStatus, WatchRound
from edge_redis._io.blocking_runner import BlockingRunner
from support.clock import stop_the_clock
from support.servers import Backend
from support.site import START, Site

HOUR = 3600.0


def test_a_round_that_takes_long_comes_to_its_end_and_is_no_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_redis._health.checker.AT_ONCE", 3)
    monkeypatch.setattr("edge_redis._health.checker.SLICE", 3)
    clock = stop_the_clock(monkeypatch, START.timestamp())
    maker = Maker(Backend("fakeredis"), "blocking")
    site = Site(maker, clock)
    site.join(*(f"n{number:03d}" for number in range(24)))
    site.rounds(65)
    site.alive.remove("n023")
    other, perform = site.another(), BlockingRunner.perform

    def slowly(runner: BlockingRunner, step: Any) -> Any:
        if threading.current_thread() is threading.main_thread():  # not for a ticker of an earlier test
            clock.now += 3  # a round of nine steps takes 27 s: more than a lease, more than two gaps
        return perform(runner, step)

    monkeypatch.setattr(BlockingRunner, "perform", slowly)
    for _ in range(4):
        site.beat()
        found = site.watch.run_once()
        assert (found.leader, found.term, found.checked, found.grace) == (True, 1, 24, False)
        assert other.run_once().leader is False, "the lease was kept while the round went on"
    assert site.changes() == [("n023", "unhealthy", "healthy")]
    maker.close()


def test_nodes_in_maintenance_make_no_mass_outage(site: Site) -> None:
    names = [f"n{number}" for number in range(10)]
    site.join(*names)
    site.rounds(60)
    for name in names[:7]:
        site.monitor.heartbeat(name, EdgeNodeStatus.MAINTENANCE)
        site.alive.remove(name)
    site.rounds(600, every=10)
    assert {change[1] for change in site.changes()} == {"maintenance"}
    site.alive.clear()
    site.rounds(60)
    assert site.changes()[7:] == [("", "mass_outage", "healthy")]
    assert site.monitor.transitions()[-1].reason == "3 of 3 nodes that were up sent no heartbeat for 30 s or longer"


def test_nodes_in_maintenance_are_not_removed_nor_any_node_in_a_mass_outage(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_redis._health.registry.SLICE", 5)  # more nodes in maintenance than one script reads
    site.watch.close()
    watch = site.another(retention_seconds=120)
    names = [f"n{number:03d}" for number in range(7)]
    site.join(*names, "b", "c", "d", "e")
    site.rounds(60, watch)
    for name in names:
        site.monitor.heartbeat(name, EdgeNodeStatus.MAINTENANCE)
        site.alive.remove(name)
    site.alive.remove("b")
    assert site.rounds(125, watch).checked == 10
    assert [change[:2] for change in site.changes() if change[1] != "maintenance"] == [
        ("b", "unhealthy"),
        ("b", "removed"),
    ]
    site.alive.clear()
    found = site.rounds(125, watch)
    assert (found.mass_outage, found.removed) == (True, 0)
    assert len(site.monitor.nodes()) == 10
    assert site.changes()[-1] == ("", "mass_outage", "healthy")


def test_a_server_s_clock_that_is_set_back_blames_nobody_and_hides_nobody(site: Site) -> None:
    site.join("a", "b", "down")
    site.rounds(60)
    site.alive.remove("down")
    site.rounds(60)
    site.clock.now -= HOUR
    site.alive.remove("b")  # and it dies in that moment
    assert site.rounds(5) == WatchRound(leader=True, term=1, checked=3, unhealthy=1, grace=True)
    assert site.rounds(55) == WatchRound(leader=True, term=1, checked=3, unhealthy=1, grace=True)
    assert site.changes() == [("down", "unhealthy", "healthy")]
    assert site.rounds(5) == WatchRound(leader=True, term=1, checked=3, unhealthy=2)
    assert site.changes()[1:] == [("b", "unhealthy", "healthy")]
    site.alive.remove("a")
    site.rounds(60)
    assert site.changes()[2:] == [("a", "unhealthy", "healthy")], "its beats since are by the clock that counts"


@pytest.mark.parametrize(("timeout", "interval"), [(60.0, 5.0), (8.0, 2.0), (1.0, 0.25)])
def test_any_absence_that_could_hurt_is_noticed_by_default(site: Site, timeout: float, interval: float) -> None:
    site.watch.close()
    monitor = site.make("HealthMonitor", timeout)
    watch = site.make("HealthWatch", timeout)

    def round_after(seconds: float) -> WatchRound:
        site.clock.now += seconds
        done: WatchRound = watch.run_once()
        monitor.heartbeat(site.node("a"))  # it beats right after: the worst moment
        return done

    round_after(0)
    for tenths in range(1, 40, 3):
        for _ in range(6):
            round_after(interval)
        round_after(timeout * tenths / 10)
    assert site.changes() == []


def test_a_lease_from_before_the_clock_was_set_back_runs_out(site: Site) -> None:
    other = site.another()
    site.join("a")
    site.watch.run_once()
    site.clock.now -= HOUR
    assert other.run_once().term == 2


def test_a_clock_that_is_set_forward_blames_nobody(site: Site) -> None:
    site.join("a", "b")
    site.rounds(60)
    site.clock.now += HOUR
    assert site.rounds(5).grace is True
    assert site.rounds(60) == WatchRound(leader=True, term=1, checked=2)
    assert site.changes() == []
