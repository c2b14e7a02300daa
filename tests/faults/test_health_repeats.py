"""A check, a heartbeat or a removal that is sent twice, or whose reply is lost, takes effect once."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest

from edge_redis._health.relay import Relay
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis.models import EdgeNode
from support import simulation
from support.clock import stop_the_clock
from support.health import make_health, make_past_health, make_relay, settle_shards
from support.simulation import CRASHES, LOSSES, SOME_OR_ALL, Actor, Scenario, sample_or_explore


def stale(name: str = "n") -> EdgeNode:
    return EdgeNode(name, name, last_heartbeat=datetime.now(UTC) - timedelta(seconds=100))


def test_each_check_is_in_the_history_and_the_totals_once() -> None:
    def scenario() -> Scenario:
        client = fakeredis.FakeRedis()
        runner = BlockingRunner(client)
        runner.run(make_past_health(100).register(stale()))
        one, other = make_health(), make_health()
        settle_shards(runner, one, other)

        def check(actors: Sequence[Actor]) -> None:
            sent = sum(actor.acknowledged for actor in actors)
            history = runner.run(make_health().get_history("n", 100))
            assert sent <= len(history) <= 2
            if sent == 2:
                assert len(history) == 2
            assert runner.run(make_health().summary())["total_checks"] == len(history)
            assert len(runner.run(make_health().transitions())) == min(1, len(history))

        actors = [
            Actor("a", client, lambda: one.check_node("n"), (*LOSSES, *CRASHES)),
            Actor("b", client, other.check_cluster, (*LOSSES, *CRASHES)),
        ]
        return Scenario(actors, check, max_faults=2)

    assert simulation.explore(scenario) > 100


def test_a_removal_sent_twice_still_says_that_the_node_was_there() -> None:
    client = fakeredis.FakeRedis()
    BlockingRunner(client).run(make_past_health(100).register(stale()))
    health = make_health()
    settle_shards(BlockingRunner(client), health)

    def check(actors: Sequence[Actor]) -> None:
        assert actors[0].result is True

    repeated = list(simulation.LOSSES).index(simulation.Fault.REPEATED) + 1
    scenario = Scenario([Actor("a", client, lambda: health.deregister("n"), LOSSES)], check)
    simulation.replay(lambda: scenario, [repeated])
    assert client.zcard("er:{default:health0}:heartbeats") == 0


def test_an_end_of_maintenance_sent_twice_is_still_checked_and_in_the_stream() -> None:
    client = fakeredis.FakeRedis()
    runner = BlockingRunner(client)
    health = make_health()
    runner.run(health.register(EdgeNode("n", "n")))
    runner.run(health.set_maintenance("n", None, "disk"))

    def check(actors: Sequence[Actor]) -> None:
        assert actors[0].result is True

    repeated = list(simulation.LOSSES).index(simulation.Fault.REPEATED) + 1
    scenario = Scenario([Actor("a", client, lambda: health.end_maintenance("n"), LOSSES)], check)
    simulation.replay(lambda: scenario, [repeated])
    assert [each.state for each in runner.run(health.transitions())] == ["maintenance", "healthy"]


def test_a_node_that_beats_while_it_is_removed_is_whole_or_gone() -> None:
    def scenario() -> Scenario:
        client = fakeredis.FakeRedis()
        runner = BlockingRunner(client)
        runner.run(make_past_health(100).register(stale()))
        node = stale()
        remover, by_id, by_object = make_health(), make_health(), make_health()
        settle_shards(runner, remover, by_id, by_object)

        def check(_: Sequence[Actor]) -> None:
            registered = client.zscore("er:{default:health0}:heartbeats", "n") is not None
            assert registered == bool(client.exists("er:{default:health0}:node:n"))
            assert registered == (runner.run(make_health().get_node("n")) is not None)

        actors = [
            Actor("remover", client, lambda: remover.deregister("n"), LOSSES),
            Actor("by id", client, lambda: by_id.heartbeat("n"), LOSSES),
            Actor("by object", client, lambda: by_object.heartbeat(node), LOSSES),
        ]
        return Scenario(actors, check, max_faults=1)

    assert simulation.explore(scenario) > 50


def test_a_slice_whose_reply_was_lost_is_judged_once() -> None:
    client = fakeredis.FakeRedis()
    runner = BlockingRunner(client)
    for number in range(120):
        runner.run(make_past_health(100).register(stale(f"n{number:03d}")))
    health = make_health()

    def twice(step: Any) -> Any:
        runner.perform(step)
        return runner.perform(step)

    flow: Coroutine[Any, Any, dict[str, Any]] = health.check_cluster()
    step = flow.send(None)
    try:
        while True:
            step = flow.send(twice(step))
    except StopIteration as end:
        report = end.value
    assert report["unhealthy_nodes"] == 120
    assert runner.run(make_health().summary())["total_checks"] == 120
    assert {client.llen(key) for key in client.keys("*:history:*")} == {1}
    assert len(runner.run(make_health().transitions(1000))) == 120


@SOME_OR_ALL
def test_a_relay_hands_everything_on_whatever_is_lost(monkeypatch: pytest.MonkeyPatch, count: int | None) -> None:
    clock = stop_the_clock(monkeypatch, datetime.now(UTC).timestamp())

    def scenario() -> Scenario:
        client = fakeredis.FakeRedis()
        runner = BlockingRunner(client)
        got: list[str] = []

        def relay() -> Relay:
            return make_relay(lambda change: got.append(change.node_id), attempts=3, lease_seconds=5.0)

        one, other, last = relay(), relay(), relay()
        settle_shards(runner, one, other, last)
        runner.run(one.run_once())
        for name in ("a", "b"):
            runner.run(make_health().check_node(stale(name)))

        def check(_: Sequence[Actor]) -> None:
            clock.now += 6
            runner.run(last.run_once())
            assert list(dict.fromkeys(got)) == ["a", "b"]
            assert len(got) <= 3, "twice only what was being delivered when the fault came"
            stats = runner.run(last.stats())
            assert (stats["delivered"], stats["dropped"], stats["attempts"]) == (2, 0, 0)

        actors = [
            Actor("one", client, one.run_once, (*LOSSES, *CRASHES)),
            Actor("other", client, other.run_once, (*LOSSES, *CRASHES)),
        ]
        return Scenario(actors, check, max_faults=1)

    sample_or_explore(scenario, count, least=50)
