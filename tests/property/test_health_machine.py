"""HealthMonitor against a model in plain Python, on fakeredis and on a real server.

The model knows heartbeats as seconds after the start. A heartbeat is planted in the past by
registering or checking an object that carries it; on fakeredis the server's clock is moved as
well. On a real server it runs by itself, so ages are chosen seconds away from every limit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any

import fakeredis
import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from edge_redis import EdgeNode, EdgeNodeStatus, HealthMonitor, UnknownNodeError
from edge_redis.types import ClusterHealth
from support.clock import ServerClock
from support.servers import Backend, Servers

TIMEOUT, MAX_HISTORY = 60.0, 12
START = 1_772_366_400
IDS = st.sampled_from(["a", "b", "c"])
AGES = st.sampled_from([30.0, 40.0, 90.0, 3500.0, 3700.0])
STATUSES = st.sampled_from([EdgeNodeStatus.ONLINE, EdgeNodeStatus.OFFLINE, EdgeNodeStatus.MAINTENANCE])
namespaces = count()


@dataclass
class Facts:
    beat: float
    status: EdgeNodeStatus
    timeout: float = TIMEOUT
    maintained_until: float = 0.0


@dataclass
class Model:
    """What the contract says, without a server. Times are seconds after the start."""

    now: float = 0.0
    total: int = 0
    registry: dict[str, Facts] = field(default_factory=dict)
    history: dict[str, list[tuple[bool, float]]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    transitions: list[tuple[str, str, str]] = field(default_factory=list)

    def register(self, name: str, status: EdgeNodeStatus, timeout: float | None) -> None:
        known = self.registry.get(name) or Facts(0.0, status)
        self.registry[name] = Facts(self.now, status, timeout or TIMEOUT, known.maintained_until)

    def deregister(self, name: str) -> bool:
        was, known = self.states.pop(name, "unknown"), self.registry.pop(name, None)
        self.history.pop(name, None)
        if known is not None:
            self.transitions.append((name, "deregistered", was))
        return known is not None

    def maintain(self, name: str, seconds: float) -> None:
        was, self.states[name] = self.states.get(name, "unknown"), "maintenance"
        self.registry[name].maintained_until = self.now + seconds
        if was != "maintenance":
            self.transitions.append((name, "maintenance", was))

    def heartbeat(self, name: str, status: EdgeNodeStatus | None) -> bool:
        known = self.registry.get(name)
        if known is None:
            return False
        back = EdgeNodeStatus.ONLINE if known.status is EdgeNodeStatus.OFFLINE else known.status
        known.beat, known.status = self.now, status or back
        return True

    def check(self, name: str, given: Facts | None = None) -> bool:
        known = self.registry.get(name)
        facts = given if given and (known is None or given.beat >= known.beat) else known
        assert facts is not None
        age = self.now - facts.beat
        timeout = known.timeout if known else TIMEOUT
        healthy = age < timeout and facts.status is not EdgeNodeStatus.OFFLINE
        maintained = facts.status is EdgeNodeStatus.MAINTENANCE or (known and self.now < known.maintained_until)
        history = self.history.setdefault(name, [])
        was = self.states.get(name, "unknown")
        verdict = "healthy" if healthy else "unhealthy"
        now = "maintenance" if maintained else verdict
        self.states[name] = now
        if was != now and (was, now) != ("unknown", "healthy"):
            self.transitions.append((name, "recovered" if (was, now) == ("unhealthy", "healthy") else now, was))
        self.history[name] = [*history, (healthy, age)][-MAX_HISTORY:]
        self.total += 1
        return healthy

    def flapping(self, name: str, window: int) -> bool:
        last = [healthy for healthy, _ in self.history.get(name, [])][-window:]
        return len([1 for before, after in pairwise(last) if before != after]) >= 3

    def recommendation(self, name: str) -> str:
        history = self.history.get(name, [])
        if not history:
            return "No data"
        if self.flapping(name, 10):
            return "Reboot node (flapping detected)"
        healthy, age = history[-1]
        if healthy:
            return "Normal"
        return "Decommission node (offline > 1h)" if age > 3600 else "Investigate connectivity (stale heartbeat)"


class HealthMachine(RuleBasedStateMachine):
    """One monitor and its model through the same calls."""

    backend: Backend
    client: Any
    clock: ServerClock | None
    shards = 1

    @initialize()
    def start(self) -> None:
        self.monitor = HealthMonitor(
            self.client,
            TIMEOUT,
            namespace=f"m{next(namespaces)}",
            max_history=MAX_HISTORY,
            flap_rate=None,
            shards=self.shards,
        )
        self.model = Model()
        if self.clock is not None:
            self.clock.now = START
        self.begin = START if self.clock is not None else math.floor(time.time())

    def teardown(self) -> None:
        if hasattr(self, "monitor"):
            self.monitor.close()

    def planted(self, name: str, age: float, status: EdgeNodeStatus) -> tuple[EdgeNode, Facts]:
        # Planted before the start, so that a heartbeat by the server's clock is always later.
        moment = datetime.fromtimestamp(self.begin, UTC) - timedelta(seconds=age)
        return EdgeNode(name, f"node {name}", status=status, last_heartbeat=moment), Facts(-age, status)

    @precondition(lambda self: self.clock is not None)
    @rule(seconds=st.sampled_from([0.5, 20.0, 60.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        assert self.clock is not None
        self.clock.now += seconds
        self.model.now += seconds

    @rule(name=IDS, age=AGES, status=STATUSES, timeout=st.none() | st.sampled_from([25.0, 100.0, 4000.0]))
    def register(self, name: str, age: float, status: EdgeNodeStatus, timeout: float | None) -> None:
        self.monitor.register(self.planted(name, age, status)[0], timeout)
        self.model.register(name, status, timeout)

    @rule(name=IDS)
    def deregister(self, name: str) -> None:
        assert self.monitor.deregister(name) is self.model.deregister(name)

    @rule(name=IDS, seconds=st.none() | st.sampled_from([50.0, 5000.0]))
    def begin_maintenance(self, name: str, seconds: float | None) -> None:
        if name in self.model.registry:
            self.monitor.set_maintenance(name, seconds, "a new disk")
            self.model.maintain(name, seconds or math.inf)
            return
        with pytest.raises(UnknownNodeError):
            self.monitor.set_maintenance(name, seconds)

    @rule(name=IDS)
    def end_maintenance(self, name: str) -> None:
        known = self.model.registry.get(name)
        if known is None:
            return
        was = self.model.now < known.maintained_until
        known.maintained_until = 0.0
        assert self.monitor.end_maintenance(name) is was
        if was:
            self.model.check(name)

    @rule(name=IDS, status=st.none() | STATUSES)
    def heartbeat(self, name: str, status: EdgeNodeStatus | None) -> None:
        assert self.monitor.heartbeat(name, status) is self.model.heartbeat(name, status)

    @rule(name=IDS, status=STATUSES)
    def heartbeat_of_object(self, name: str, status: EdgeNodeStatus) -> None:
        assert self.monitor.heartbeat(self.planted(name, 90.0, EdgeNodeStatus.SYNCING)[0], status) is True
        known = self.model.registry.get(name)
        self.model.register(name, status, known.timeout if known else None)

    @rule(name=IDS)
    def check_id(self, name: str) -> None:
        if name in self.model.registry:
            assert self.monitor.check_node(name).healthy is self.model.check(name)
            return
        with pytest.raises(UnknownNodeError):
            self.monitor.check_node(name)

    @rule(name=IDS, age=AGES, status=STATUSES)
    def check_object(self, name: str, age: float, status: EdgeNodeStatus) -> None:
        node, facts = self.planted(name, age, status)
        assert self.monitor.check_node(node).healthy is self.model.check(name, facts)

    @rule()
    def check_registered(self) -> None:
        expected = [(name, self.model.check(name)) for name in sorted(self.model.registry)]
        self.compare(self.monitor.check_cluster(), expected)

    @rule(given=st.lists(st.tuples(IDS, AGES, STATUSES), max_size=6))
    def check_given(self, given: list[tuple[str, float, EdgeNodeStatus]]) -> None:
        planted = [self.planted(*one) for one in given]
        expected = [(node.id, self.model.check(node.id, facts)) for node, facts in planted]
        self.compare(self.monitor.check_cluster([node for node, _ in planted]), expected)

    @staticmethod
    def compare(report: ClusterHealth, expected: list[tuple[str, bool]]) -> None:
        healthy = [verdict for _, verdict in expected].count(True)
        assert [(check["node_id"], check["healthy"]) for check in report["checks"]] == expected
        assert (report["total_nodes"], report["healthy_nodes"]) == (len(expected), healthy)
        assert report["unhealthy_nodes"] == len(expected) - healthy
        assert report["health_percent"] == (100.0 * healthy / len(expected) if expected else 100.0)

    @rule(name=IDS, limit=st.integers(1, 15))
    def history(self, name: str, limit: int) -> None:
        kept = self.model.history.get(name, [])[-limit:]
        found = self.monitor.get_history(name, limit)
        assert [check.healthy for check in found] == [healthy for healthy, _ in kept]
        slack = 0.002 if self.clock else 20.0
        for check, (_, age) in zip(found, kept, strict=True):
            assert -0.002 <= check.latency_ms / 1000 - age <= slack

    @rule(name=IDS, window=st.integers(1, 12))
    def advice(self, name: str, window: int) -> None:
        assert self.monitor.detect_flapping(name, window) is self.model.flapping(name, window)
        assert self.monitor.get_recovery_recommendation(name) == self.model.recommendation(name)

    @precondition(lambda self: self.shards > 1)
    @rule()
    def changes_of_all(self) -> None:
        found = [(change.node_id, change.state, change.previous) for change in self.monitor.transitions(1000)]
        for name in ("a", "b", "c"):  # the order of nodes in two shards is not that of their changes
            assert [each for each in found if each[0] == name] == [
                each for each in self.model.transitions if each[0] == name
            ]

    @rule(name=st.none() | IDS, limit=st.integers(1, 20))
    def changes(self, name: str | None, limit: int) -> None:
        if name is None and self.shards > 1:
            return
        expected = [change for change in self.model.transitions if name in (None, change[0])][-limit:]
        found = self.monitor.transitions(limit, name)
        assert [(change.node_id, change.state, change.previous) for change in found] == expected

    @rule()
    def registry(self) -> None:
        assert {node.id: node.status for node in self.monitor.nodes()} == {
            name: facts.status for name, facts in self.model.registry.items()
        }
        assert self.monitor.summary() == {
            "monitored_nodes": len(self.model.registry),
            "total_checks": self.model.total,
            "timeout_seconds": TIMEOUT,
        }


@pytest.fixture(params=["fakeredis", "valkey"])
def machine(
    request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[HealthMachine]]:
    backend = servers.backend(request.param)
    clock = None if backend.is_real else ServerClock(START)
    if clock is not None:
        monkeypatch.setattr("fakeredis.commands_mixins.server_mixin.time", clock)
    with backend.client() as client:
        yield type("Machine", (HealthMachine,), {"backend": backend, "client": client, "clock": clock})


def test_the_monitor_does_what_the_model_does(machine: type[HealthMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))


def test_a_monitor_of_several_shards_does_what_the_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ServerClock(START)
    monkeypatch.setattr("fakeredis.commands_mixins.server_mixin.time", clock)
    with fakeredis.FakeRedis() as client:
        machine = type("Machine", (HealthMachine,), {"client": client, "clock": clock, "shards": 3})
        run_state_machine_as_test(machine, settings=settings(max_examples=6, stateful_step_count=25, deadline=None))
