"""The nodes of a namespace over several shards: one answer, one leader, and each transition once."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator
from datetime import datetime
from typing import Any

import fakeredis
import pytest
from conftest import Maker

from edge_redis import EdgeNode, EdgeNodeStatus, EdgeRedis, HealthMonitor, InvalidArgumentError, Transition
from edge_redis._core.shard_record import choose_shard
from edge_redis._core.shards import name_shards
from edge_redis._health.leader_state import read_leader, read_relays
from edge_redis._io.blocking_runner import BlockingRunner
from support.clock import stop_the_clock
from support.health import make_health, make_leader, make_relay
from support.servers import Backend
from support.site import STAND_BY, START

SHARDS = 3
TAGS = [f"er:{{default:health{name}}}" for name in name_shards("default", "health", SHARDS)]
NAMES = [f"node-{number:02d}" for number in range(20)]
INTERVAL = 5.0


def nodes(*, status: EdgeNodeStatus = EdgeNodeStatus.ONLINE) -> list[EdgeNode]:
    return [EdgeNode(name, name.upper(), location="here", status=status) for name in NAMES]


def take_steps(runner: BlockingRunner, flow: Coroutine[Any, Any, Any]) -> Iterator[Any]:
    """Yield each step before it is performed, and the result at the end."""
    try:
        step = flow.send(None)
        while True:
            yield step
            step = flow.send(runner.perform(step))
    except StopIteration as end:
        yield end.value


def describe(changes: Iterable[Transition]) -> list[tuple[str, str, datetime]]:
    return [(change.node_id, change.state, change.at) for change in changes]


class TestAMonitor:
    def test_answers_as_with_one_shard(self, make: Maker) -> None:
        answers = []
        for namespace, shards in (("one", 1), ("three", SHARDS)):
            monitor = make("HealthMonitor", namespace=namespace, shards=shards)
            assert monitor.heartbeat_many(nodes()) == dict.fromkeys(NAMES, True)
            assert monitor.heartbeat_many([*NAMES, "unknown"]) == {**dict.fromkeys(NAMES, True), "unknown": False}
            monitor.heartbeat("node-03", EdgeNodeStatus.OFFLINE)
            monitor.set_maintenance("node-04", reason="a new disk")
            report, given = monitor.check_cluster(), monitor.check_cluster(["node-09", "node-03", *nodes()[:2]])
            changes = [(each.node_id, each.state) for each in monitor.transitions()]
            answers.append(
                {
                    "nodes": [(node.id, node.name, node.status) for node in monitor.nodes()],
                    "offline": [node.id for node in monitor.nodes(EdgeNodeStatus.OFFLINE)],
                    "snapshot": [(each.node_id, each.healthy, each.in_maintenance) for each in monitor.snapshot()],
                    "report": [(check["node_id"], check["healthy"]) for check in report["checks"]],
                    "given": [(check["node_id"], check["healthy"]) for check in given["checks"]],
                    "percent": (report["health_percent"], report["total_nodes"], given["unhealthy_nodes"]),
                    "changes": sorted(changes),
                    "stale": sorted(monitor.stale(0.0)),
                    "few stale": len(monitor.stale(0.0, limit=7)),
                    "summary": monitor.summary(),
                    "history": [check.healthy for check in monitor.get_history("node-03")],
                    "removed": (monitor.deregister("node-05"), monitor.deregister("node-05")),
                    "left": monitor.summary()["monitored_nodes"],
                }
            )
        assert answers[0] == answers[1]

    def test_keeps_each_node_in_its_shard(self, make: Maker, backend: Backend) -> None:
        monitor = make("HealthMonitor", shards=SHARDS)
        monitor.heartbeat_many(nodes())
        assert make("HealthMonitor").get_node("node-07").name == "NODE-07"
        with backend.client() as client:
            assert client.get("er:{default:health0}:layout") == b"1/3"
            for shard, tag in enumerate(TAGS):
                expected = [name for name in NAMES if choose_shard(name, SHARDS) == shard]
                assert sorted(client.zrange(f"{tag}:heartbeats", 0, -1)) == [name.encode() for name in expected]
                assert all(client.exists(f"{tag}:node:{name}") for name in expected)

    def test_refuses_another_number_and_an_invalid_node_before_it_writes(self, make: Maker, backend: Backend) -> None:
        make("HealthMonitor", shards=SHARDS).heartbeat_many(nodes()[:5])
        other = make("HealthMonitor", shards=2)
        with pytest.raises(InvalidArgumentError, match=r"health.*shards=3, not 2"):
            other.register(nodes()[0])
        with pytest.raises(InvalidArgumentError, match="health"):
            make("HealthWatch", shards=2).run_once()
        with backend.client() as client:
            before = sorted(client.scan_iter())
            with pytest.raises(InvalidArgumentError):
                make("HealthMonitor").heartbeat_many([*nodes(), EdgeNode("late", "late", max_functions=-1)])
            assert sorted(client.scan_iter()) == before


class TestTransitions:
    def test_resume_from_the_position_of_each(self, make: Maker) -> None:
        monitor = make("HealthMonitor", shards=SHARDS)
        monitor.heartbeat_many(nodes())
        for name in NAMES[:8]:
            monitor.set_maintenance(name)
        changes = monitor.transitions()
        assert sorted(change.node_id for change in changes) == NAMES[:8]
        assert describe(monitor.transitions(3)) == describe(changes[-3:])
        assert describe(monitor.watch("0", timeout=0.02, poll_seconds=0.01)) == describe(changes)
        for place, change in enumerate(changes):
            following = monitor.watch(change.position, timeout=0.02, poll_seconds=0.01)
            assert describe(following) == describe(changes[place + 1 :])
        (own,) = monitor.transitions(node_id=changes[2].node_id)
        assert own.at == changes[2].at
        monitor.end_maintenance(own.node_id)
        seen = list(monitor.watch(own.position, node_id=own.node_id, timeout=0.02, poll_seconds=0.01))
        assert [change.state for change in seen] == ["healthy"]

    def test_refuse_the_position_of_another_number_of_shards(self, make: Maker) -> None:
        monitor = make("HealthMonitor", shards=SHARDS)
        monitor.register(nodes()[0])
        with pytest.raises(InvalidArgumentError, match="position"):
            list(monitor.watch("1-0,2-0", timeout=0.02, poll_seconds=0.01))

    def test_are_read_on_where_the_shards_were_made_after_the_reader_began(self) -> None:
        with fakeredis.FakeRedis() as client, HealthMonitor(client) as early, HealthMonitor(client, shards=3) as late:
            changes = early.watch(timeout=0.05, poll_seconds=0.01)
            late.register(EdgeNode("a", "a"))
            late.set_maintenance("a")
            assert [change.state for change in changes] == ["maintenance"]

    def test_come_by_time_however_far_a_reader_is_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = stop_the_clock(monkeypatch, START.timestamp())
        with fakeredis.FakeRedis() as client, HealthMonitor(client, shards=SHARDS) as monitor:
            busy, rare = (next(n for n in NAMES if choose_shard(n, SHARDS) == shard) for shard in (0, 1))
            monitor.heartbeat_many(nodes())
            for number in range(110):  # more than a page of one shard
                clock.now += 1
                for name in (busy, rare) if number % 50 == 0 else (busy,):
                    monitor.set_maintenance(name)
                    monitor.end_maintenance(name)
            times = [change.at for change in monitor.watch("0", timeout=0.01, poll_seconds=0.01)]
            assert len(times) == 2 * (110 + 3)
            assert times == sorted(times)


class TestAWatch:
    def test_leads_all_shards_alone_and_an_earlier_leader_is_refused_in_each(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = stop_the_clock(monkeypatch, START.timestamp())
        client = fakeredis.FakeRedis()
        runner, monitor = BlockingRunner(client), make_health(shards=SHARDS)
        runner.run(monitor.heartbeat_many(nodes()))
        first, second = make_leader(), make_leader()
        assert runner.run(first.run_once()).checked == len(NAMES)
        assert not runner.run(second.run_once()).leader
        flow = first.run_once()
        steps = take_steps(runner, flow)
        for _ in range(3):  # it has taken the lease, written its term to all shards, and is paused there
            next(steps)
        clock.now += 16
        assert runner.run(second.run_once()).term == 2
        before = runner.run(monitor.summary())["total_checks"]
        assert list(steps)[-1] == STAND_BY
        assert runner.run(monitor.summary())["total_checks"] == before
        assert {client.hget(f"{tag}:leader", "term") for tag in TAGS} == {b"2"}
        assert runner.run(read_leader("default")).term == 2
        runner.run(second.closing())
        assert runner.run(first.run_once()).term == 3

    def test_takes_a_higher_term_where_the_first_shard_has_lost_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = stop_the_clock(monkeypatch, START.timestamp())
        client = fakeredis.FakeRedis()
        runner, monitor = BlockingRunner(client), make_health(shards=SHARDS)
        runner.run(monitor.heartbeat_many(nodes()))
        first, second = make_leader(), make_leader()
        runner.run(first.run_once())
        client.delete(f"{TAGS[0]}:leader")  # as by a failover to a replica that was behind
        assert not runner.run(second.run_once()).leader, "it is granted the term that the first one has had"
        clock.now += INTERVAL
        assert runner.run(second.run_once()).term == 2
        assert not runner.run(first.run_once()).leader

    def test_records_one_mass_outage_of_the_nodes_of_all_shards(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = stop_the_clock(monkeypatch, START.timestamp())
        runner, monitor, leader = BlockingRunner(fakeredis.FakeRedis()), make_health(shards=SHARDS), make_leader()

        def rounds(seconds: float, alive: list[str]) -> Any:
            end = clock.now + seconds
            while clock.now < end:
                clock.now += INTERVAL
                runner.run(monitor.heartbeat_many(alive))
                found = runner.run(leader.run_once())
            return found

        runner.run(monitor.heartbeat_many(nodes()))
        rounds(60, NAMES)
        assert rounds(60, NAMES[:4]).mass_outage
        assert [change.state for change in runner.run(monitor.transitions())] == ["mass_outage"]
        assert not rounds(60, NAMES[:-2]).mass_outage
        rounds(60, NAMES)
        changes = [(each.node_id, each.state) for each in runner.run(monitor.transitions())]
        assert changes[:2] == [("", "mass_outage"), ("", "mass_outage_over")]
        assert sorted(changes[2:]) == sorted((n, s) for n in NAMES[-2:] for s in ("unhealthy", "recovered"))


class TestARelay:
    def test_delivers_what_all_shards_have_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = stop_the_clock(monkeypatch, START.timestamp())
        runner, monitor = BlockingRunner(fakeredis.FakeRedis()), make_health(shards=SHARDS)
        got: list[Transition] = []
        fails = [False]

        def sink(change: Transition) -> None:
            if fails[0]:
                raise OSError("no route")
            got.append(change)

        one, other = make_relay(sink), make_relay(sink)
        runner.run(monitor.heartbeat_many(nodes()))
        runner.run(one.run_once())
        for name in NAMES:
            clock.now += 1
            runner.run(monitor.set_maintenance(name))
        fails[0] = True
        assert runner.run(one.run_once()) == 0
        assert runner.run(one.stats())["attempts"] == 1, "the round ended with the first failure"
        fails[0] = False
        assert runner.run(other.run_once()) == 0, "it stands by"
        clock.now += 2
        assert runner.run(one.run_once()) + runner.run(one.run_once()) == len(NAMES)
        assert sorted(change.node_id for change in got) == NAMES
        assert len({change.event_id for change in got}) == len(NAMES)
        runner.run(one.closing())
        assert runner.run(other.run_once()) == 0
        assert runner.run(read_relays("default"))[0].delivered == len(NAMES) == runner.run(other.stats())["delivered"]


def test_a_namespace_with_shards_is_dropped_whole() -> None:
    with fakeredis.FakeRedis() as client, HealthMonitor(client, shards=SHARDS) as monitor:
        monitor.heartbeat_many(nodes())
        monitor.check_cluster()
        with EdgeRedis(client) as bundle:
            bundle.drop_namespace()
        assert client.keys() == []
