"""The number of shards of the nodes is changed while they are watched, read and written."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest
from conftest import Maker

from edge_redis import EdgeNode, EdgeNodeStatus, HealthMonitor, Transition
from edge_redis._core.operation import Batch
from edge_redis._core.shard_record import ShardRecord, choose_shard
from edge_redis._health.leader_state import read_leader, read_relays
from edge_redis._health.resharding import HealthResharding
from edge_redis._health.watch_scripts import Lease, follow_lease
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.namespaces import find_keys
from edge_redis.errors import StoreError
from support import simulation
from support.deadline import eventually
from support.health import make_health, make_leader, make_relay
from support.servers import Backend
from support.simulation import Actor, Scenario

NAMES = [f"node-{number:02d}" for number in range(20)]


def make_resharding(client: Any) -> HealthResharding:
    return HealthResharding("default", lambda prefix: find_keys(client, prefix))


def change(client: Any, shards: int) -> ShardRecord:
    return BlockingRunner(client).run(make_resharding(client).change(shards, lambda _: None))


def stop_at(client: Any, shards: int, record: str) -> None:
    """Begin a change that ends as soon as the record is this."""
    runner, flow = BlockingRunner(client), make_resharding(client).change(shards, lambda _: None)
    step = flow.send(None)
    while client.get("er:{default:health0}:layout") != record.encode():
        step = flow.send(runner.perform(step))
    flow.close()


def answers(monitor: Any) -> dict[str, Any]:
    """Ask what does not depend on the moment."""
    return {
        "nodes": [(node.id, node.name, node.status, node.last_heartbeat) for node in monitor.nodes()],
        "snapshot": [(each.node_id, each.healthy, each.in_maintenance, each.flapping) for each in monitor.snapshot()],
        "history": {name: monitor.get_history(name, 50) for name in (*NAMES[:8], "guest")},
        "flapping": [monitor.detect_flapping(name) for name in NAMES[:8]],
        "transitions": sorted((each.node_id, each.state, each.at) for each in monitor.transitions(1000)),
        "of a node": [(each.state, each.at) for each in monitor.transitions(node_id="node-03")],
        "stale": sorted(monitor.stale(0.0)),
        "summary": monitor.summary(),
    }


def fill(monitor: Any) -> None:
    monitor.heartbeat_many(EdgeNode(name, name.upper()) for name in NAMES)
    monitor.register(EdgeNode("node-01", "NODE-01"), heartbeat_timeout_seconds=5.0)
    monitor.set_maintenance("node-04", reason="a new disk")
    for status in (EdgeNodeStatus.OFFLINE, EdgeNodeStatus.ONLINE) * 3:
        monitor.heartbeat("node-03", status)
        monitor.check_cluster()
    monitor.check_node(EdgeNode("guest", "Guest"))


class TestAMonitor:
    def test_answers_as_before(self, make: Maker, backend: Backend) -> None:
        stale, idle = make("HealthMonitor"), make("HealthMonitor")
        fill(stale)
        before = answers(idle)
        with backend.client() as client:
            assert str(change(client, 3)) == "1/3~1"
            assert answers(stale) == before
            assert str(change(client, 1)) == "1/1.1~3~1"
        assert answers(idle) == before
        assert stale.heartbeat("node-07")
        assert idle.heartbeat_many(NAMES) == dict.fromkeys(NAMES, True)
        assert idle.end_maintenance("node-04")
        assert stale.deregister("node-05")
        assert not idle.deregister("node-05")
        assert len(make("HealthMonitor").nodes()) == 19

    def test_answers_while_a_change_waits_to_be_completed(self, make: Maker, backend: Backend) -> None:
        stale, idle = make("HealthMonitor", shards=2), make("HealthMonitor")
        fill(stale)
        before = answers(idle)
        with backend.client() as client:
            stop_at(client, 3, "1/2>3:0")
            assert answers(idle) == before
            stop_at(client, 3, "1/2>3:1")
            assert answers(idle) == answers(stale) == before
            assert idle.heartbeat_many(NAMES) == dict.fromkeys(NAMES, True)
            assert str(change(client, 3)) == "1/3~2"
            assert str(change(client, 2)) == "1/2.1~3~2"
            stale.deregister("node-00")
            assert len(idle.nodes()) == len(make("HealthMonitor", shards=2).nodes()) == 19

    def test_a_position_keeps_its_meaning(self, make: Maker, backend: Backend) -> None:
        monitor, other = make("HealthMonitor", shards=3), make("HealthMonitor")
        fill(monitor)
        position = monitor.transitions(4)[-1].position
        following = iter(monitor.watch(position, timeout=0.05, poll_seconds=0.01))
        states = [EdgeNodeStatus.OFFLINE, EdgeNodeStatus.ONLINE]
        seen: list[Transition] = []
        with backend.client() as client:
            for at, shards in enumerate((3, 5, 3)):
                if at:
                    change(client, shards)
                for name in NAMES[8:12]:
                    other.heartbeat(name, states[at % 2])
                other.check_cluster()
                seen += [next(following) for _ in range(4)]
        again = list(monitor.watch(position, timeout=0.05, poll_seconds=0.01))
        assert [(each.node_id, each.at) for each in again] == [(each.node_id, each.at) for each in seen]
        assert Counter(each.node_id for each in seen) == dict.fromkeys(NAMES[8:12], 3)
        rest = list(monitor.watch(again[5].position, timeout=0.05, poll_seconds=0.01))
        assert [each.at for each in rest] == [each.at for each in again[6:]]
        assert list(monitor.watch(again[-1].position, timeout=0.05, poll_seconds=0.01)) == []


class TestAWatch:
    def test_leads_in_its_term(self, servers: Any) -> None:
        client = servers.backend("fakeredis").client()
        runner, watch, stand_by = BlockingRunner(client), make_leader(), make_leader()
        monitor = make_health()
        runner.run(monitor.heartbeat_many([EdgeNode(name, name) for name in NAMES]))
        assert runner.run(watch.run_once()).term == 1
        assert not runner.run(stand_by.run_once()).leader
        for shards in (3, 2, 1):
            change(client, shards)
            found = runner.run(watch.run_once())
            assert (found.leader, found.term, found.checked, found.unhealthy) == (True, 1, len(NAMES), 0)
            assert not runner.run(stand_by.run_once()).leader
            assert runner.run(read_leader("default")).is_led
        runner.run(watch.closing())
        assert runner.run(stand_by.run_once()).term == 2

    def test_of_a_term_before_writes_nothing_to_a_new_shard(self, servers: Any) -> None:
        client = servers.backend("fakeredis").client()
        runner, first, second = BlockingRunner(client), make_leader(), make_leader()
        runner.run(make_health(shards=2).heartbeat_many([EdgeNode(name, name) for name in NAMES]))
        assert runner.run(first.run_once()).term == 1
        shards = runner.run(first.shards.find())
        client.hdel(shards[0].keys.leader, "holder")
        assert runner.run(second.run_once()).term == 2
        change(client, 3)
        lease = Lease("first", 15_000, 15_000, 60_000.0, "")
        for keys in make_resharding(client).shards.at(ShardRecord("1", 3)):
            assert runner.run(follow_lease(keys, lease, 1)).number == -2


def test_a_mover_that_was_stopped_overwrites_nothing(servers: Any) -> None:
    client = servers.backend("fakeredis").client()
    runner, monitor = BlockingRunner(client), make_health()
    runner.run(monitor.register(EdgeNode("a", "a"), None))
    flow = make_resharding(client).change(2, lambda _: None)
    step = flow.send(None)
    while not (isinstance(step, Batch) and "receive_node" in str(step.operations[0])):
        step = flow.send(runner.perform(step))
    change(client, 2)
    assert runner.run(monitor.follow_heartbeat("a", EdgeNodeStatus.DEGRADED, None))
    with suppress(StopIteration):
        while True:
            step = flow.send(runner.perform(step))
    assert [node.status for node in runner.run(monitor.nodes())] == [EdgeNodeStatus.DEGRADED]
    assert client.get("er:{default:health0}:layout") == b"1/2~1"


def test_a_relay_delivers_what_is_left_in_old_shards_and_what_comes_in_new_ones(servers: Any) -> None:
    client = servers.backend("fakeredis").client()
    runner, monitor = BlockingRunner(client), make_health(shards=2)
    delivered: list[Transition] = []
    relay = make_relay(delivered.append)
    runner.run(monitor.heartbeat_many([EdgeNode(name, name) for name in NAMES]))
    assert runner.run(relay.run_once()) == 0
    states = [EdgeNodeStatus.OFFLINE, EdgeNodeStatus.ONLINE]
    for at, shards in enumerate((2, 5, 5, 2, 1)):
        change(client, shards)
        for name in NAMES[:4]:
            runner.run(monitor.follow_heartbeat(name, states[at % 2], None))
        runner.run(monitor.check_cluster())
        if at != 1:
            runner.run(relay.run_once())
    while runner.run(relay.run_once()):
        """It reads a hundred at a time."""
    of_one = [each.state for each in delivered if each.node_id == NAMES[0]]
    assert of_one == ["unhealthy", "recovered", "unhealthy", "recovered", "unhealthy"]
    assert Counter(each.node_id for each in delivered) == dict.fromkeys(NAMES[:4], 5)
    assert {each.node_name for each in delivered} == {*NAMES[:4]}
    [found] = runner.run(read_relays("default"))
    assert (found.delivered, found.lost) == (20, 0)


def test_a_change_that_was_killed_is_completed_by_the_same_command(valkey: Backend) -> None:
    url = valkey.url
    assert url is not None
    with valkey.client() as client:
        monitor = HealthMonitor(client, shards=4)
        names = [f"node-{number:03d}" for number in range(200)]
        monitor.heartbeat_many(EdgeNode(name, name) for name in names)
        monitor.check_cluster()
        command = [sys.executable, "-m", "edge_redis", "shards", "--to", "3", "--url", url, "--component", "health"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            eventually(lambda: b":2" in client.get("er:{default:health0}:layout"), seconds=20, every=0.0005)
            process.kill()
        record = client.get("er:{default:health0}:layout")
        beats = HealthMonitor(client)
        assert subprocess.run(command, capture_output=True, check=True).returncode == 0
        assert client.get("er:{default:health0}:layout") == b"1/3~4", record
        assert beats.heartbeat_many(names) == dict.fromkeys(names, True)
        assert [node.id for node in monitor.nodes()] == names
        assert [len(monitor.get_history(name)) for name in names] == [1] * len(names)


def beat(monitor: Any, acknowledged: dict[str, int], names: Iterable[str]) -> Callable[[], Any]:
    async def flow() -> None:
        for name in names:
            try:
                assert await monitor.follow_heartbeat(name, EdgeNodeStatus.DEGRADED, None), name
            except StoreError:
                """A fault of this run, or the shard stays closed."""
            else:
                acknowledged[name] = 1

    return flow


def check_nodes_are_in_their_shards(client: Any, shards: int) -> None:
    """Complete a change; each node is in its new shard alone."""
    record = change(client, shards)
    assert (record.shards, record.target) == (shards, None)
    for place, keys in zip(record.list_places(), make_resharding(client).shards.at(record), strict=True):
        ids = [each.decode() for each in client.zrange(keys.heartbeats, 0, -1)]
        assert {choose_shard(each, shards) for each in ids} <= {place.number}


@pytest.mark.parametrize("count", [5, pytest.param(150, marks=pytest.mark.exploration)])
@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 1)])
def test_no_schedule_loses_a_node_or_what_was_written_of_it(count: int, old: int, new: int, servers: Any) -> None:
    """A change that may end anywhere, two movers, a writer and a reader with the old record."""
    names = ["a", "b", "c"]

    def scenario() -> Scenario:
        client = servers.backend("fakeredis").client()
        runner = BlockingRunner(client)
        writer, reader, joined = make_health(shards=old), make_health(), make_health()
        runner.run(writer.heartbeat_many([EdgeNode(name, name) for name in names]))
        for each in (writer, reader, joined):
            runner.run(each.nodes())
        acknowledged: dict[str, int] = {}
        faults = (*simulation.CRASHES, simulation.Fault.REPEATED)

        async def join() -> None:
            await joined.register(EdgeNode("d", "d"))

        async def read() -> list[str]:
            return [node.id for node in await reader.nodes()]

        actors = [
            Actor("mover", client, lambda: make_resharding(client).change(new, lambda _: None), faults),
            Actor("second", client, lambda: make_resharding(client).change(new, lambda _: None), faults),
            Actor("writer", client, beat(writer, acknowledged, names), simulation.LOSSES),
            Actor("joined", client, join),
            Actor("reader", client, read),
        ]

        def check(_: Any) -> None:
            if actors[4].error is None:
                assert actors[4].result in (names, [*names, "d"])
            check_nodes_are_in_their_shards(client, new)
            expected = [*names, "d"] if actors[3].acknowledged else names
            for each in (writer, reader, joined):
                found = runner.run(each.nodes())
                assert [node.id for node in found][: len(expected)] == expected
                assert all(node.status is EdgeNodeStatus.DEGRADED for node in found if node.id in acknowledged)
            assert runner.run(reader.summary())["monitored_nodes"] == len(found)

        return Scenario(actors, check)

    simulation.seeds(scenario, count=count)


class Watched:
    """A fleet with two watches, and a relay of its transitions."""

    def __init__(self, client: Any, shards: int) -> None:
        self.client, self.runner = client, BlockingRunner(client)
        self.monitor, self.watches = make_health(shards=shards), [make_leader(), make_leader()]
        self.delivered: list[Transition] = []
        self.relay = make_relay(self.delivered.append)
        self.terms: list[tuple[int, int]] = []
        self.runner.run(self.monitor.heartbeat_many([EdgeNode(name, name) for name in ("a", "b", "c")]))
        self.runner.run(self.relay.run_once())
        for watch in self.watches:
            self.runner.run(watch.run_once())

    def watch(self, number: int) -> Callable[[], Any]:
        async def flow() -> None:
            for _ in range(2):
                found = await self.watches[number].run_once()
                if found.leader:
                    self.terms.append((found.term, number))

        return flow

    async def go_offline(self) -> None:
        for status in (EdgeNodeStatus.OFFLINE, EdgeNodeStatus.ONLINE):
            await self.monitor.follow_heartbeat("a", status, None)
            await self.monitor.check_node("a")

    def check(self) -> list[Transition]:
        """Each term has had one leader, and each transition was delivered once; return them all."""
        assert len({*self.terms}) == len({term for term, _ in self.terms})
        for each in self.watches:
            self.runner.run(each.run_once())
        while self.runner.run(self.relay.run_once()):
            """Until nothing is left."""
        changes = self.runner.run(self.monitor.transitions(100))
        assert [(each.state, each.at) for each in self.delivered] == [(each.state, each.at) for each in changes]
        return changes


@pytest.mark.parametrize("count", [5, pytest.param(150, marks=pytest.mark.exploration)])
@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 1)])
def test_no_schedule_has_two_leaders_or_a_transition_that_is_not_delivered_once(
    count: int, old: int, new: int, servers: Any
) -> None:
    """A change that may end anywhere, two watches, a relay and a monitor one of whose nodes goes offline."""

    def scenario() -> Scenario:
        client = servers.backend("fakeredis").client()
        fleet = Watched(client, old)
        actors = [
            Actor("mover", client, lambda: make_resharding(client).change(new, lambda _: None), simulation.CRASHES),
            *(Actor(f"watch {at}", client, fleet.watch(at)) for at in range(2)),
            Actor("monitor", client, fleet.go_offline),
            Actor("relay", client, fleet.relay.run_once),
        ]

        def check(_: Any) -> None:
            check_nodes_are_in_their_shards(client, new)
            changes = fleet.check()
            assert {each.node_id for each in changes} <= {"a"}
            if actors[3].acknowledged:
                assert [each.state for each in changes] == ["unhealthy", "recovered"]

        return Scenario(actors, check)

    simulation.seeds(scenario, count=count)
