"""Suspicion before a node is unhealthy: recorded at once, confirmed later or by a probe."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import product
from typing import Any

import fakeredis
import pytest
from conftest import Maker

from edge_redis import (
    EdgeNode,
    EdgeNodeStatus,
    HealthWatch,
    InvalidArgumentError,
    InvalidTypeError,
    WatchRound,
)
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.probes import AsyncProbe, BlockingProbe
from support import simulation
from support.clock import stop_the_clock
from support.health import make_health, make_leader, settle_shards
from support.servers import Backend
from support.simulation import CRASHES, LOSSES, SOME_OR_ALL, Actor, Scenario
from support.site import START, Site

TAG = "er:{default:health0}"


def watched(site: Site, **settings: Any) -> Any:
    """Let a node of two fall silent under a watch with these settings; return that watch."""
    site.watch.close()
    watch = site.another(**settings)
    site.join("a", "b")
    site.rounds(60, watch)
    site.alive.remove("b")
    return watch


def test_a_silent_node_is_suspected_first_and_unhealthy_when_it_stays_silent(site: Site) -> None:
    watch = watched(site, suspicion_seconds=20)
    assert site.rounds(55, watch) == WatchRound(leader=True, term=1, checked=2)
    assert site.rounds(5, watch) == WatchRound(leader=True, term=1, checked=1, suspected=1)
    assert site.rounds(15, watch) == WatchRound(leader=True, term=1, checked=1, suspected=1)
    assert site.changes() == [("b", "suspected", "healthy")]
    assert site.rounds(5, watch) == WatchRound(leader=True, term=1, checked=2, unhealthy=1)
    assert site.changes()[1:] == [("b", "unhealthy", "suspected")]
    first, second = site.monitor.transitions()
    assert first.reason == "heartbeat 60.0 s old, timeout 60 s, to be confirmed after 20 s"
    assert second.reason == "heartbeat 80.0 s old, timeout 60 s, suspected for 20.0 s"
    site.join("b")
    site.rounds(5, watch)
    assert site.changes()[2:] == [("b", "recovered", "unhealthy")]
    assert not site.make.backend.client().exists(f"{TAG}:suspects")


def test_a_suspicion_names_the_timeout_that_the_node_has_of_its_own(site: Site) -> None:
    watch = watched(site, suspicion_seconds=20)
    site.monitor.register(site.node("b"), heartbeat_timeout_seconds=15)
    site.rounds(15, watch)
    assert [change.reason for change in site.monitor.transitions(node_id="b")] == [
        "heartbeat 15.0 s old, timeout 15 s, to be confirmed after 20 s"
    ]


def test_a_suspect_that_is_heard_of_is_healthy_and_was_never_unhealthy(site: Site) -> None:
    watch = watched(site, suspicion_seconds=20)
    site.rounds(75, watch)
    site.join("b")
    assert site.rounds(5, watch) == WatchRound(leader=True, term=1, checked=2)
    assert site.changes() == [("b", "suspected", "healthy"), ("b", "healthy", "suspected")]
    assert all(check.healthy for check in site.monitor.get_history("b", 100))
    site.alive.remove("b")
    site.rounds(60, watch)
    assert site.changes()[2:] == [("b", "suspected", "healthy")], "the next suspicion is another"


def test_a_new_leader_goes_on_with_the_suspicion(site: Site) -> None:
    watch = watched(site, suspicion_seconds=20)
    site.rounds(70, watch)
    watch.close()
    assert site.rounds(15, site.another(suspicion_seconds=20)).unhealthy == 1
    assert [change[1] for change in site.changes()] == ["suspected", "unhealthy"]


def test_one_that_says_it_is_offline_or_in_maintenance_is_no_suspect(site: Site) -> None:
    watch = watched(site, suspicion_seconds=20)
    site.rounds(60, watch)
    site.monitor.heartbeat("b", EdgeNodeStatus.MAINTENANCE)
    site.rounds(60, watch)
    assert site.changes()[1:] == [("b", "maintenance", "suspected")]
    site.monitor.heartbeat("a", EdgeNodeStatus.OFFLINE)
    site.alive.clear()
    site.rounds(5, watch)
    assert site.changes()[2:] == [("a", "unhealthy", "healthy")]


def test_a_suspect_that_is_removed_is_gone(site: Site) -> None:
    watch = watched(site, suspicion_seconds=20)
    site.rounds(60, watch)
    site.monitor.deregister("b")
    assert not site.make.backend.client().exists(f"{TAG}:suspects")
    assert site.rounds(30, watch) == WatchRound(leader=True, term=1, checked=1)
    assert site.changes()[1:] == [("b", "deregistered", "suspected")]


def test_a_check_by_anybody_else_ends_the_suspicion(site: Site) -> None:
    watch = watched(site, suspicion_seconds=20)
    site.rounds(60, watch)
    assert site.monitor.check_node("b").healthy is False
    assert site.changes() == [("b", "suspected", "healthy"), ("b", "unhealthy", "suspected")]
    assert site.rounds(60, watch).unhealthy == 1
    assert len(site.changes()) == 2


def test_who_answers_stays_suspected_until_it_does_not(site: Site) -> None:
    asked: list[str] = []
    answers = True

    def confirm(node_id: str) -> bool:
        asked.append(node_id)
        return answers

    watch = watched(site, suspicion_seconds=20, confirm=confirm)
    assert site.rounds(75, watch).suspected == 1
    assert asked == []
    assert site.rounds(5, watch) == WatchRound(leader=True, term=1, checked=1, suspected=1)
    assert asked == ["b"]
    site.rounds(15, watch)
    assert asked == ["b"], "it is asked again after another suspicion"
    site.rounds(200, watch)
    assert len(asked) == 11
    answers = False
    site.rounds(20, watch)
    first, second = site.monitor.transitions()
    assert (first.state, second.state, second.previous) == ("suspected", "unhealthy", "suspected")
    assert second.reason.endswith("timeout 60 s, suspected for 20.0 s, does not answer")


def test_a_suspicion_that_does_not_decode_is_an_old_one(site: Site) -> None:
    watch = watched(site, suspicion_seconds=20)
    site.rounds(60, watch)
    site.make.backend.client().hset(f"{TAG}:suspects", "b", "zz")
    assert site.rounds(5, watch).unhealthy == 1
    assert [change[1] for change in site.changes()] == ["suspected", "unhealthy"]


def test_without_a_pause_it_is_asked_at_once_and_an_error_is_no_answer(site: Site) -> None:
    def confirm(_: str) -> bool:
        raise OSError("no route")

    watch = watched(site, confirm=confirm)
    assert site.rounds(60, watch).unhealthy == 1
    assert [change[1] for change in site.changes()] == ["suspected", "unhealthy"]
    assert site.monitor.transitions()[0].reason == "heartbeat 60.0 s old, timeout 60 s, to be confirmed"


def test_a_mass_outage_suspects_no_node(site: Site) -> None:
    site.watch.close()
    watch = site.another(suspicion_seconds=20)
    site.join("a", "b", "c", "d")
    site.rounds(60, watch)
    site.alive = {"d"}
    assert site.rounds(290, watch, every=10) == WatchRound(leader=True, term=1, checked=1, mass_outage=True)
    assert [change[1] for change in site.changes()] == ["mass_outage"]


def test_a_coroutine_is_for_the_awaited_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = stop_the_clock(monkeypatch, START.timestamp())

    class Confirm:
        async def __call__(self, node_id: str) -> bool:
            return node_id == "b"

    async def confirm_node(node_id: str) -> bool:
        return node_id == "b"

    for api, confirm in product(("awaited", "blocking"), (confirm_node, Confirm())):
        maker = Maker(Backend("fakeredis"), api)
        site = Site(maker, clock)
        watch = watched(site, confirm=confirm)
        if api == "awaited":
            assert site.rounds(60, watch).suspected == 1
        else:
            with pytest.raises(InvalidTypeError, match="aio"):
                site.rounds(60, watch)
        maker.close()


def test_a_slow_probe_goes_on_and_its_result_comes_with_a_later_call() -> None:
    finish = threading.Event()

    def confirm(node_id: str) -> bool:
        return node_id == "quick" or finish.wait(30)

    probe = BlockingProbe(confirm)
    begun = time.monotonic()
    assert probe(["slow", "quick"], 0.2) == {"quick": True}
    assert time.monotonic() - begun < 10
    finish.set()
    assert probe(["slow"], 20.0) == {"slow": True}

    async def scenario() -> None:
        finish_later = asyncio.Event()

        async def later(node_id: str) -> bool:
            return node_id == "quick" or await finish_later.wait()

        awaited = AsyncProbe(later)
        assert await awaited(["slow", "quick"], 0.2) == {"quick": True}
        finish_later.set()
        assert await awaited(["slow"], 20.0) == {"slow": True}

    asyncio.run(scenario())


def test_a_probe_that_never_returns_is_no_answer_and_keeps_no_process_alive() -> None:
    never = threading.Event()
    probe = BlockingProbe(lambda _: never.wait(), limit_seconds=0.1)
    assert probe(["stuck"], 20.0) == {"stuck": False}
    threads = [thread for thread in threading.enumerate() if thread.name == "edge-redis-probe"]
    assert threads
    assert all(thread.daemon for thread in threads)
    never.set()

    async def scenario() -> None:
        async def confirm(_: str) -> bool:
            return await asyncio.Event().wait()

        awaited = AsyncProbe(confirm, limit_seconds=0.1)
        assert await awaited(["stuck"], 20.0) == {"stuck": False}
        slow = AsyncProbe(confirm)
        assert await slow(["stuck"], 0.05) == {}
        slow.close()

    asyncio.run(scenario())


def test_with_too_many_probes_that_never_return_no_more_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_redis._io.probes.MAX_ABANDONED", 2)
    never = threading.Event()
    probe = BlockingProbe(lambda _: never.wait(), limit_seconds=0.05)
    for _ in range(3):
        assert probe(["a", "b"], 20.0) == {"a": False, "b": False}
    assert sum(thread.name == "edge-redis-probe" and thread.is_alive() for thread in threading.enumerate()) <= 3
    never.set()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"suspicion_seconds": -1}, InvalidArgumentError),
        ({"suspicion_seconds": float("nan")}, InvalidArgumentError),
        ({"suspicion_seconds": "1"}, InvalidTypeError),
        ({"confirm": "ping"}, InvalidTypeError),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        HealthWatch(fakeredis.FakeRedis(), **arguments)


@SOME_OR_ALL
def test_two_watches_suspect_and_confirm_once_whatever_is_lost(
    monkeypatch: pytest.MonkeyPatch, count: int | None
) -> None:
    clock = stop_the_clock(monkeypatch, START.timestamp())

    def scenario() -> Scenario:
        clock.now = START.timestamp()
        client = fakeredis.FakeRedis()
        runner = BlockingRunner(client)
        monitor = make_health()
        first, second, late = (make_leader(suspicion_seconds=5.0) for _ in range(3))
        settle_shards(runner, first, second, late)
        client.hset(f"{TAG}:leader", mapping={"seen_ms": round(clock.now * 1000), "since_ms": 0})
        for name, age in (("a", 61), ("b", 1)):
            past = make_health(clock=lambda age=age: START - timedelta(seconds=age))
            runner.run(past.register(EdgeNode(name, name)))

        def check(_actors: Sequence[Actor]) -> None:
            for _ in range(5):
                clock.now += 5
                runner.run(monitor.heartbeat("b"))
                for watch in (second, late):
                    runner.run(watch.run_once())
            found = [(change.node_id, change.state) for change in runner.run(monitor.transitions())]
            assert found == [("a", "suspected"), ("a", "unhealthy")]

        actors = [
            Actor("first", client, first.run_once, (*LOSSES, *CRASHES)),
            Actor("second", client, second.run_once),
        ]
        return Scenario(actors, check, max_faults=1)

    simulation.sample_or_explore(scenario, count)
