"""HealthWatch: one on duty, and its judgement about when not to judge, by a server's clock that tests move."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest

from edge_redis import (
    EdgeNode,
    EdgeNodeStatus,
    FlapThresholds,
    HealthWatch,
    InvalidArgumentError,
    InvalidTypeError,
    StoreUnavailableError,
    WatchRound,
)
from edge_redis._io.blocking_runner import BlockingRunner
from support import simulation
from support.clock import stop_the_clock
from support.health import make_health, make_leader, settle_shards
from support.simulation import CRASHES, LOSSES, SOME_OR_ALL, Actor, Scenario
from support.site import STAND_BY, START, Site

TAG = "er:{default:health0}"


def test_a_round_judges_every_registered_node(site: Site) -> None:
    site.join("a", "b")
    assert site.watch.run_once() == WatchRound(leader=True, term=1, checked=2, grace=True)
    assert site.rounds(60) == WatchRound(leader=True, term=1, checked=2)
    site.alive.remove("b")
    assert site.rounds(55) == WatchRound(leader=True, term=1, checked=2)
    assert site.rounds(5) == WatchRound(leader=True, term=1, checked=2, unhealthy=1)
    assert site.changes() == [("b", "unhealthy", "healthy")]
    site.join("b")
    site.rounds(5)
    assert site.changes()[1:] == [("b", "recovered", "unhealthy")]


def test_one_is_leading_and_another_takes_over_when_its_lease_is_out(site: Site) -> None:
    other = site.another()
    site.join("a")
    assert site.watch.run_once().term == 1
    site.clock.now += 14.999
    assert other.run_once() == STAND_BY
    site.clock.now += 0.001
    assert other.run_once() == WatchRound(leader=True, term=2, checked=1, grace=True)
    assert site.watch.run_once() == STAND_BY
    assert len(site.monitor.get_history("a")) == 2


def test_a_watch_that_closes_hands_over_at_once(site: Site) -> None:
    other = site.another()
    site.join("a")
    site.watch.run_once()
    assert other.run_once() == STAND_BY
    other.close()
    assert site.another().run_once() == STAND_BY, "what is not on duty has nothing to hand over"
    site.watch.close()
    assert site.another().run_once().term == 2


def test_with_a_standby_a_takeover_needs_no_grace(site: Site) -> None:
    other = site.another()
    site.join("a", "b")
    site.rounds(60)
    site.alive.remove("b")
    site.rounds(10)
    for _ in range(2):  # the one on duty is gone from here
        site.clock.now += 5
        site.beat()
        assert other.run_once() == STAND_BY
    assert site.rounds(40, other) == WatchRound(leader=True, term=2, checked=2, unhealthy=1)
    assert site.changes() == [("b", "unhealthy", "healthy")]


def test_after_the_server_was_away_every_node_has_a_timeout_to_be_heard(site: Site) -> None:
    site.join("a", "b", "down")
    site.rounds(60)
    site.alive.remove("down")
    site.rounds(60)
    site.clock.now += 180  # nobody could beat
    assert site.watch.run_once() == WatchRound(leader=True, term=1, checked=3, unhealthy=1, grace=True)
    site.alive.remove("b")  # and it never comes back
    assert site.rounds(55) == WatchRound(leader=True, term=1, checked=3, unhealthy=1, grace=True)
    assert site.changes() == [("down", "unhealthy", "healthy")], "what was down stays down, what was up is not blamed"
    assert site.rounds(5) == WatchRound(leader=True, term=1, checked=3, unhealthy=2)
    assert site.changes()[1:] == [("b", "unhealthy", "healthy")]


def test_a_round_that_the_server_slept_through_judges_nothing(site: Site) -> None:
    client = site.make.backend.client()
    runner, leader = BlockingRunner(client), make_leader()
    settle_shards(runner, leader)
    site.join("a")
    site.rounds(60)
    site.watch.close()
    flow = leader.run_once()
    step = flow.send(runner.perform(flow.send(None)))  # it is on duty
    site.clock.now += 180
    before = site.monitor.get_history("a", 100)
    result = finish(runner, flow, step)
    assert result == STAND_BY
    assert site.monitor.get_history("a", 100) == before
    assert site.changes() == []


def test_what_was_paused_past_its_lease_writes_nothing(site: Site) -> None:
    client = site.make.backend.client()
    runner, leader = BlockingRunner(client), make_leader()
    settle_shards(runner, leader)
    site.join("a", "b")
    site.rounds(60)
    site.watch.close()
    flow = leader.run_once()
    step = flow.send(runner.perform(flow.send(None)))  # it is on duty, and is paused here
    site.alive.clear()
    other = site.another()
    for _ in range(14):
        site.clock.now += 5
        other.run_once()
    before = (site.changes(), site.monitor.summary(), site.monitor.get_history("a", 100))
    assert finish(runner, flow, step) == STAND_BY
    assert (site.changes(), site.monitor.summary(), site.monitor.get_history("a", 100)) == before
    assert sorted(change[:2] for change in site.changes()) == [("a", "unhealthy"), ("b", "unhealthy")]


def test_a_fleet_that_goes_silent_is_one_event(site: Site) -> None:
    names = [f"n{number:03d}" for number in range(56)]
    site.join(*names)
    site.rounds(60)
    site.alive = set(names[:3])
    site.clock.now += 5
    site.monitor.heartbeat_many([site.node(name) for name in names[:30]])  # their beats were not of one moment
    assert site.rounds(55) == WatchRound(leader=True, term=1, checked=30, mass_outage=True)
    assert site.rounds(60) == WatchRound(leader=True, term=1, checked=3, mass_outage=True)
    (event,) = site.monitor.transitions()
    assert (event.node_id, event.state, event.previous) == ("", "mass_outage", "healthy")
    assert event.reason == "53 of 56 nodes that were up sent no heartbeat for 30 s or longer"
    site.alive = set(names[:46])
    assert site.rounds(5) == WatchRound(leader=True, term=1, checked=56, unhealthy=10)
    assert [change[1] for change in site.changes()] == ["mass_outage", "mass_outage_over", *["unhealthy"] * 10]
    assert site.monitor.transitions()[1].reason == "10 of 56 nodes that were up sent no heartbeat for 30 s or longer"


def test_two_of_three_are_too_few_and_half_is_not_most(site: Site) -> None:
    site.join("a", "b", "c", "d", "e", "f")
    site.rounds(60)
    site.alive -= {"a", "b", "c"}
    assert site.rounds(60).mass_outage is False
    assert len(site.changes()) == 3
    site.alive -= {"d", "e"}
    assert site.rounds(60).mass_outage is False, "two of the three that were up"
    assert [change[1] for change in site.changes()] == ["unhealthy"] * 5


def test_nodes_that_are_long_down_do_not_make_the_next_failure_a_mass_outage(site: Site) -> None:
    names = [f"n{number}" for number in range(10)]
    site.join(*names)
    site.rounds(60)
    for name in names[:7]:
        site.alive.remove(name)
        site.rounds(60, every=10)
    assert [change[1] for change in site.changes()] == ["unhealthy"] * 7


def test_a_node_that_reports_offline_is_recorded_even_in_a_mass_outage(site: Site) -> None:
    site.join("a", "b", "c", "d")
    site.rounds(60)
    site.alive = {"d"}
    assert site.rounds(60).mass_outage is True
    site.alive.clear()
    site.monitor.heartbeat("d", EdgeNodeStatus.OFFLINE)
    site.rounds(5)
    assert site.changes()[1:] == [("d", "unhealthy", "healthy")]


def test_flapping_begins_and_ends_in_the_stream(site: Site) -> None:
    site.join("a")
    site.rounds(60)
    for index in range(4):
        site.monitor.heartbeat("a", EdgeNodeStatus.OFFLINE if index % 2 == 0 else EdgeNodeStatus.ONLINE)
        site.watch.run_once()
    assert [change[1:] for change in site.changes()] == [
        ("unhealthy", "healthy"),
        ("recovered", "unhealthy"),
        ("unhealthy", "healthy"),
        ("flapping", "unhealthy"),
        ("recovered", "unhealthy"),
    ]
    assert site.monitor.transitions()[3].reason == "3 changes of verdict in the last 10 checks, flapping from 3"
    site.rounds(60)
    assert [change[1:] for change in site.changes()][5:] == [("healthy", "flapping")]
    assert site.monitor.transitions()[5].reason == "2 changes of verdict in the last 10 checks, flapping from 3"


def test_flapping_by_thresholds_lasts_though_the_history_has_lost_its_beginning(site: Site) -> None:
    site.watch.close()
    watch = site.another(flap_detector=FlapThresholds(11, 50, 5), max_history=11)
    site.join("a")
    site.rounds(60, watch)

    def turn(status: EdgeNodeStatus) -> None:
        site.monitor.heartbeat("a", status)
        watch.run_once()

    for index in range(6):
        turn(EdgeNodeStatus.OFFLINE if index % 2 == 0 else EdgeNodeStatus.ONLINE)
    (flapping,) = (change for change in site.monitor.transitions() if change.state == "flapping")
    assert flapping.reason.startswith("55.6% of the last 11 checks")
    assert flapping.reason.endswith("flapping from 50% until below 5%")
    for _ in range(4):  # one change in nine checks: under the start, over the stop
        turn(EdgeNodeStatus.OFFLINE)
        for _ in range(8):
            turn(EdgeNodeStatus.ONLINE)
    assert [change[1] for change in site.changes() if change[2] == "flapping"] == []
    for _ in range(11):
        turn(EdgeNodeStatus.ONLINE)
    assert site.changes()[-1] == ("a", "healthy", "flapping")


def test_maintenance_silences_a_node(site: Site) -> None:
    site.join("a")
    site.rounds(60)
    site.alive.clear()
    site.monitor.heartbeat("a", EdgeNodeStatus.MAINTENANCE)
    site.rounds(600)
    for status in [EdgeNodeStatus.MAINTENANCE] * 4:
        site.monitor.heartbeat("a", status)
        site.watch.run_once()
        site.clock.now += 100
        site.watch.run_once()
    assert site.changes() == [("a", "maintenance", "healthy")]
    site.monitor.heartbeat("a", EdgeNodeStatus.ONLINE)
    site.watch.run_once()
    assert site.changes()[1:] == [("a", "healthy", "maintenance")]


def test_the_silent_are_forgotten_but_not_where_the_server_was_away(site: Site) -> None:
    site.watch.close()
    watch = site.another(retention_seconds=600)
    site.join("a", "b")
    site.rounds(60, watch)
    site.clock.now += 700
    assert watch.run_once() == WatchRound(leader=True, term=1, checked=2, grace=True)
    site.alive.remove("b")
    assert site.rounds(60, watch).removed == 1
    assert [node.id for node in site.monitor.nodes()] == ["a"]
    assert [change[1] for change in site.changes()] == ["unhealthy", "removed"]


def test_a_flapping_node_that_is_gone_leaves_without_a_transition(site: Site) -> None:
    site.join("a")
    site.rounds(60)
    for index in range(4):
        site.monitor.heartbeat("a", EdgeNodeStatus.OFFLINE if index % 2 == 0 else EdgeNodeStatus.ONLINE)
        site.watch.run_once()
    site.alive.clear()
    site.monitor.deregister("a")
    before = site.changes()
    site.rounds(5)
    assert site.changes() == before
    assert not site.make.backend.client().exists(f"{TAG}:flapping")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"interval_seconds": 0}, InvalidArgumentError),
        ({"interval_seconds": "5"}, InvalidTypeError),
        ({"lease_seconds": 9.9}, InvalidArgumentError),
        ({"lease_seconds": float("nan")}, InvalidArgumentError),
        ({"retention_seconds": 0}, InvalidArgumentError),
        ({"heartbeat_timeout_seconds": -1}, InvalidArgumentError),
        ({"max_history": 40, "flap_detector": FlapThresholds()}, InvalidArgumentError),
        ({"namespace": "{}"}, InvalidArgumentError),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        HealthWatch(fakeredis.FakeRedis(), **arguments)


def test_a_server_that_is_away_is_an_error_of_the_round_and_not_of_the_end() -> None:
    server = fakeredis.FakeServer()
    with HealthWatch(fakeredis.FakeRedis(server=server)) as watch:
        watch.run_once()
        server.connected = False
        with pytest.raises(StoreUnavailableError):
            watch.run_once()


def finish(runner: BlockingRunner, flow: Any, step: Any) -> Any:
    try:
        while True:
            step = flow.send(runner.perform(step))
    except StopIteration as end:
        return end.value


@SOME_OR_ALL
def test_two_watches_record_each_change_once_whatever_is_lost(
    monkeypatch: pytest.MonkeyPatch, count: int | None
) -> None:
    clock = stop_the_clock(monkeypatch, START.timestamp())

    def scenario() -> Scenario:
        clock.now = START.timestamp()
        client = fakeredis.FakeRedis()
        runner = BlockingRunner(client)
        monitor = make_health()
        first, second, late = make_leader(), make_leader(), make_leader()
        settle_shards(runner, first, second, late)
        client.hset(f"{TAG}:leader", mapping={"seen_ms": round(clock.now * 1000), "since_ms": 0})
        for name, age in (("a", 61), ("b", 1)):
            past = make_health(clock=lambda age=age: START - timedelta(seconds=age))
            runner.run(past.register(EdgeNode(name, name)))

        def check(_: Sequence[Actor]) -> None:
            for _round in range(4):
                clock.now += 5
                runner.run(monitor.heartbeat("b"))
                leading = [runner.run(watch.run_once()).leader for watch in (second, late)]
            assert sorted(leading) == [False, True]
            found = [(change.node_id, change.state) for change in runner.run(monitor.transitions())]
            assert found == [("a", "unhealthy")]

        actors = [
            Actor("first", client, first.run_once, (*LOSSES, *CRASHES)),
            Actor("second", client, second.run_once, (*LOSSES, *CRASHES)),
        ]
        return Scenario(actors, check, max_faults=1)

    simulation.sample_or_explore(scenario, count)


def test_a_watch_does_ten_rounds_while_the_fleet_changes() -> None:
    client = fakeredis.FakeRedis()
    runner, leader, monitor = BlockingRunner(client), make_leader(), make_health()
    for number in range(10):
        runner.run(monitor.register(EdgeNode(f"n{number}", "x", last_heartbeat=datetime.now(UTC) - timedelta(days=1))))
        assert runner.run(leader.run_once()).checked == number + 1


def test_a_watch_that_is_closed_takes_nothing_again() -> None:
    client = fakeredis.FakeRedis()
    runner, leader = BlockingRunner(client), make_leader()
    assert runner.run(leader.run_once()).leader is True
    runner.run(leader.closing())
    assert runner.run(leader.run_once()) == STAND_BY
    assert client.hget(f"{TAG}:leader", "holder") is None
