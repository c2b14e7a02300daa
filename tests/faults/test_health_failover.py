"""Watches that are killed and paused, and a server that is paused: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from edge_redis import EdgeNode, HealthMonitor, HealthWatch, TransitionRelay
from support.checked import bytes_of
from support.deadline import eventually
from support.servers import Backend, Servers

INTERVAL, LEASE, TIMEOUT = 0.1, 0.4, 1.0
WATCH = f"""
import sys, time
import redis
from edge_redis import HealthWatch
client = redis.Redis.from_url(sys.argv[1], socket_timeout=30)
watch = HealthWatch(client, {TIMEOUT}, interval_seconds={INTERVAL}, lease_seconds={LEASE})
while True:
    print(watch.run_once().term, flush=True)
    time.sleep({INTERVAL})
"""
# Stops itself between taking the watch and judging, so that what it then sends is of a turn that is over.
STOPPED_IN_A_ROUND = f"""
import os, signal, sys, time
import redis
from edge_redis import HealthWatch
from edge_redis._core.operation import Batch
from edge_redis._io.blocking_runner import BlockingRunner
perform = BlockingRunner.perform
def stopping(runner, step):
    first = step.operations[0] if isinstance(step, Batch) else step
    if getattr(getattr(first, "script", None), "name", "") != "health/check_nodes":
        return perform(runner, step)
    BlockingRunner.perform = perform
    print("stopping", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    replies = perform(runner, step)
    print("sent a verdict:", *(reply.decode() for reply in replies), flush=True)
    return replies
BlockingRunner.perform = stopping
client = redis.Redis.from_url(sys.argv[1], socket_timeout=30)
watch = HealthWatch(client, {TIMEOUT}, interval_seconds={INTERVAL}, lease_seconds={LEASE})
print("leader", watch.run_once().leader, flush=True)
time.sleep(60)
"""
LEADER = "er:{default:health0}:leader"


class Processes:
    """Python processes on one server, ended with the test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, source: str, *arguments: str, output: Path = Path(os.devnull)) -> subprocess.Popen[bytes]:
        with output.open("wb") as lines:
            made = subprocess.Popen([sys.executable, "-c", source, self.url, *arguments], stdout=lines)
        self.running.append(made)
        return made

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()


class Fleet:
    """Nodes that send heartbeats from a thread, each until it falls silent."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._alive: frozenset[str] = frozenset()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self, *names: str) -> None:
        self._alive = frozenset(names)
        self._thread.start()

    def stop(self, name: str) -> None:
        self._alive -= {name}

    def end(self) -> None:
        self._ended.set()
        if self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        with self._backend.client(socket_timeout=30) as client, HealthMonitor(client, TIMEOUT) as monitor:
            while not self._ended.wait(0.05):
                monitor.heartbeat_many([EdgeNode(name, name) for name in self._alive])


@pytest.fixture
def fleet(valkey: Backend) -> Iterator[Fleet]:
    made = Fleet(valkey)
    yield made
    made.end()


@pytest.fixture
def processes(valkey: Backend) -> Iterator[Processes]:
    assert valkey.url is not None
    made = Processes(valkey.url)
    yield made
    made.end()


@pytest.fixture
def monitor(valkey: Backend) -> Iterator[HealthMonitor]:
    with valkey.client(socket_timeout=30) as client, HealthMonitor(client, TIMEOUT) as made:
        yield made


def holder(monitor: HealthMonitor) -> bytes | None:
    found = monitor._runner.client.hget(LEADER, "holder")
    return None if found is None else bytes_of(found)


def leading_watch(monitor: HealthMonitor, outputs: Mapping[int, Path]) -> int:
    """Return which of the watches that print their terms leads."""

    def found() -> list[int]:
        term = bytes_of(monitor._runner.client.hget(LEADER, "term")).decode()
        return [number for number, output in outputs.items() if output.read_text().split()[-1:] == [term]]

    (number,) = eventually(found)
    return number


def states_of(monitor: HealthMonitor, name: str) -> list[str]:
    return [change.state for change in monitor.transitions(1000, name)]


def are_recorded(monitor: HealthMonitor, name: str, states: list[str]) -> bool:
    return states_of(monitor, name) == states


def has_passed(since: float, seconds: float) -> bool:
    return time.monotonic() - since > seconds


def in_judgement(monitor: HealthMonitor, names: list[str]) -> None:
    """Wait until every node was found healthy, and the first grace is over."""
    eventually(lambda: len(monitor.nodes()) == len(names), seconds=30)
    begun = time.monotonic()
    eventually(lambda: time.monotonic() - begun > 2 * TIMEOUT and all(monitor.get_history(name) for name in names))


def test_a_standby_takes_over_from_a_killed_watch(monitor: HealthMonitor, processes: Processes, fleet: Fleet) -> None:
    fleet.start("a", "b")
    first = processes.start(WATCH)
    leader = eventually(lambda: holder(monitor), seconds=30)
    processes.start(WATCH)
    in_judgement(monitor, ["a", "b"])
    fleet.stop("b")
    first.kill()
    begun = time.monotonic()
    eventually(lambda: holder(monitor) != leader, seconds=30)
    taken = time.monotonic() - begun
    eventually(lambda: states_of(monitor, "b") == ["unhealthy"], seconds=30)
    assert taken < 2 * LEASE + 1.0, "two leases, and a second for a busy machine"
    assert states_of(monitor, "a") == []


def test_a_killed_watch_leaves_no_transition_twice_and_none_missed(
    monitor: HealthMonitor, processes: Processes, tmp_path: Path
) -> None:
    steady = [EdgeNode(name, name) for name in ("a", "b", "c", "d", "e")]
    falling = [EdgeNode(name, name) for name in ("u", "v", "w", "x")]
    outputs = {number: tmp_path / f"terms-{number}" for number in range(3)}
    watches = {number: processes.start(WATCH, output=output) for number, output in outputs.items()}
    eventually(lambda: holder(monitor), seconds=30)
    monitor.heartbeat_many([*steady, *falling])

    def until(condition: Callable[[], bool], *beating: EdgeNode) -> None:
        eventually(lambda: monitor.heartbeat_many([*steady, *beating]) and condition(), seconds=30, every=0.02)

    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > 2 * TIMEOUT, *falling)
    for index, node in enumerate(falling):  # each goes down and comes back; twice the one on duty is killed then
        others = falling[:index] + falling[index + 1 :]
        silent_since = time.monotonic()
        if index < 2:
            until(partial(has_passed, silent_since, 0.9 * TIMEOUT), *others)  # its change is about to be recorded
            watches.pop(leading_watch(monitor, outputs)).kill()
        until(partial(are_recorded, monitor, node.id, ["unhealthy"]), *others)
        until(partial(are_recorded, monitor, node.id, ["unhealthy", "recovered"]), *falling)
    assert {name.id: states_of(monitor, name.id) for name in steady} == {name.id: [] for name in steady}
    assert [states_of(monitor, node.id) for node in falling] == [["unhealthy", "recovered"]] * 4
    assert len(monitor.transitions(1000)) == 8


def test_a_watch_that_was_paused_past_its_lease_stands_by(
    monitor: HealthMonitor, processes: Processes, fleet: Fleet
) -> None:
    fleet.start("a")
    first = processes.start(WATCH)
    eventually(lambda: holder(monitor), seconds=30)
    processes.start(WATCH)
    in_judgement(monitor, ["a"])
    leader = holder(monitor)
    os.kill(first.pid, signal.SIGSTOP)
    eventually(lambda: holder(monitor) != leader, seconds=30)
    second = holder(monitor)
    os.kill(first.pid, signal.SIGCONT)
    checks = monitor.summary()["total_checks"]
    eventually(lambda: monitor.summary()["total_checks"] > checks + 5, seconds=30)
    assert holder(monitor) == second
    assert states_of(monitor, "a") == []


def test_what_a_watch_writes_after_a_pause_past_its_lease_is_refused(
    monitor: HealthMonitor, processes: Processes, fleet: Fleet, tmp_path: Path
) -> None:
    monitor.register(EdgeNode("gone", "gone"))
    fleet.start("a")
    output = tmp_path / "rounds"
    first = processes.start(STOPPED_IN_A_ROUND, output=output)
    eventually(lambda: b"stopping" in output.read_bytes(), seconds=30)
    leader = holder(monitor)
    processes.start(WATCH)
    eventually(lambda: holder(monitor) != leader, seconds=30)
    eventually(lambda: states_of(monitor, "gone") == ["unhealthy"], seconds=30)
    os.kill(first.pid, signal.SIGCONT)
    eventually(lambda: b"leader" in output.read_bytes(), seconds=30)
    assert output.read_text().splitlines() == ["stopping", "sent a verdict: FENCED", "leader False"]
    assert states_of(monitor, "gone") == ["unhealthy"]
    assert states_of(monitor, "a") == []


def test_a_server_that_was_paused_makes_no_node_unhealthy(
    servers: Servers, valkey: Backend, monitor: HealthMonitor, processes: Processes, fleet: Fleet
) -> None:
    names = ["a", "b", "c", "d"]
    fleet.start(*names)
    processes.start(WATCH)
    in_judgement(monitor, names)
    server = servers.pid(valkey.name)
    os.kill(server, signal.SIGSTOP)
    try:
        time.sleep(3 * TIMEOUT)  # what is tested is the passing of time itself
    finally:
        os.kill(server, signal.SIGCONT)
    checks = monitor.summary()["total_checks"]
    eventually(lambda: monitor.summary()["total_checks"] > checks + 4 * 15, seconds=60)
    assert [states_of(monitor, name) for name in names] == [[], [], [], []]
    assert monitor.transitions() == []


def test_a_round_that_is_asked_for_starts_nothing_in_the_background(monitor: HealthMonitor, valkey: Backend) -> None:
    monitor.register(EdgeNode("a", "a"))
    before = threading.active_count()
    with valkey.client() as client, HealthWatch(client, TIMEOUT, interval_seconds=0.02) as watch:
        watch.run_once()
        with TransitionRelay(client, print) as relay:
            assert (relay.stats()["delivered"], relay.run_once()) == (0, 0)
        assert threading.active_count() == before
        watch.start()
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_the_background_does_rounds_until_closed(monitor: HealthMonitor, valkey: Backend) -> None:
    monitor.register(EdgeNode("a", "a"))
    with valkey.client() as client:
        with HealthWatch(client, TIMEOUT, interval_seconds=0.02).start():
            eventually(lambda: len(monitor.get_history("a", 100)) > 3)
            assert holder(monitor) is not None
        assert holder(monitor) is None
        done = monitor.summary()["total_checks"]
        assert monitor.summary()["total_checks"] == done
