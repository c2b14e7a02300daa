"""`edge-redis monitor` as an operator runs it: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_redis import EdgeNode, HealthMonitor
from support.deadline import eventually
from support.listener import Listener
from support.servers import Backend

LEADER = "er:{shop:health0}:leader"
TIMEOUT = 1.0


class Monitors:
    """Commands of one server and namespace, each with its output in a file."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> tuple[subprocess.Popen[bytes], Path, Path]:
        out, err = self.folder / f"out-{len(self.running)}", self.folder / f"err-{len(self.running)}"
        with out.open("wb") as output, err.open("wb") as errors:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "edge_redis", "monitor", "--url", self.url, "--namespace", "shop"),
                    *("--heartbeat-timeout", str(TIMEOUT), "--interval", "0.1", "--json", *arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        self.running.append(process)
        return process, out, err


@pytest.fixture
def monitors(valkey: Backend, tmp_path: Path) -> Iterator[Monitors]:
    assert valkey.url is not None
    made = Monitors(valkey.url, tmp_path)
    yield made
    for process in made.running:
        process.kill()
        process.wait()


@pytest.fixture
def fleet(valkey: Backend) -> Iterator[HealthMonitor]:
    with valkey.client() as client, HealthMonitor(client, TIMEOUT, namespace="shop") as made:
        yield made


def changes_in(path: Path) -> list[tuple[str, str]]:
    return [(change["node_id"], change["state"]) for change in map(json.loads, path.read_text().splitlines())]


def beat(fleet: HealthMonitor, *names: str) -> None:
    """Let these nodes beat now."""
    fleet.heartbeat_many([EdgeNode(name, name) for name in names])


def beat_until(fleet: HealthMonitor, names: str, condition: Callable[[], bool], seconds: float = 30) -> None:
    """Let these nodes, a letter each, beat until the condition holds."""

    def beat_and_look() -> bool:
        beat(fleet, *names)
        return condition()

    eventually(beat_and_look, seconds=seconds)


def test_changes_are_printed_and_handed_on_once_and_a_standby_takes_over(
    fleet: HealthMonitor, monitors: Monitors, tmp_path: Path
) -> None:
    handed = tmp_path / "handed"
    sink = ("--command", f"sh -c 'cat >> {handed}; echo >> {handed}'", "--states", "unhealthy,recovered")
    beat(fleet, "a", "b")
    first, out, err = monitors.start(*sink)
    beat_until(fleet, "ab", lambda: "leading, term 1" in err.read_text())
    second, other_out, other_err = monitors.start(*sink)
    beat_until(fleet, "ab", lambda: "standing by" in other_err.read_text())

    def fails() -> bool:
        beat(fleet, "a")
        return changes_in(out) == [("b", "unhealthy")]

    eventually(fails, seconds=30)
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    beat_until(fleet, "a", lambda: "leading, term 2" in other_err.read_text())

    def recovers() -> bool:
        beat(fleet, "a", "b")
        return changes_in(other_out) == [("b", "unhealthy"), ("b", "recovered")]

    eventually(recovers, seconds=30)
    beat_until(fleet, "ab", lambda: handed.exists() and len(changes_in(handed)) == 2, seconds=20)
    second.send_signal(signal.SIGINT)
    assert second.wait(30) == 130
    assert changes_in(handed) == [("b", "unhealthy"), ("b", "recovered")]
    assert changes_in(out) == [("b", "unhealthy")]


def test_a_suspect_is_asked_by_a_command(fleet: HealthMonitor, monitors: Monitors, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    alive.mkdir()
    (alive / "b").touch()
    _, out, _ = monitors.start("--confirm", f"sh -c 'test -e {alive}/$EDGE_REDIS_NODE'", "--suspicion", "0.3")
    begun = time.monotonic()

    def both_suspected() -> bool:
        beat(fleet, "c", "d", "e")
        if time.monotonic() < begun + 2 * TIMEOUT:
            beat(fleet, "a", "b")
        return ("a", "unhealthy") in changes_in(out)

    eventually(both_suspected, seconds=30)
    assert [change for change in changes_in(out) if change[0] == "b"] == [("b", "suspected")]
    (alive / "b").unlink()

    def unhealthy() -> bool:
        beat(fleet, "c", "d", "e")
        return ("b", "unhealthy") in changes_in(out)

    eventually(unhealthy, seconds=30)


def test_a_suspect_is_probed_at_the_address_in_its_metadata_and_at_no_other(
    fleet: HealthMonitor, monitors: Monitors
) -> None:
    for name, address in (("b", "127.0.0.1"), ("x", "169.254.169.254")):
        fleet.register(EdgeNode(name, name, metadata={"ip": address}))
    with Listener() as listener:
        _, out, err = monitors.start(
            *("--probe", f"tcp://{{address}}:{listener.port}"),
            *("--probe-metadata", "ip", "--probe-network", "127.0.0.0/8", "--probe-network", "0.0.0.0/0"),
        )
        beat_until(fleet, "acde", lambda: len(changes_in(out)) >= 3)
        states = {name: [state for node, state in changes_in(out) if node == name] for name in "bx"}
        assert states == {"b": ["suspected"], "x": ["suspected", "unhealthy"]}
        assert listener.received
    assert "169.254.169.254 is a link-local address" in err.read_text()
    beat_until(fleet, "acde", lambda: ("b", "unhealthy") in changes_in(out))


def test_a_reader_that_leaves_ends_it(fleet: HealthMonitor, monitors: Monitors, valkey: Backend) -> None:
    beat(fleet, "a")
    for _ in range(3):
        assert fleet.check_node(EdgeNode("x", "x")).healthy is True
    read, write = os.pipe()
    command: Any = [sys.executable, "-m", "edge_redis", "monitor", "--url", monitors.url, "--namespace", "shop"]
    process = subprocess.Popen([*command, "--heartbeat-timeout", "0.2", "--interval", "0.05"], stdout=write)
    monitors.running.append(process)
    os.close(write)
    os.close(read)
    assert process.wait(60) == 1
    with valkey.client() as client:
        assert client.hget(LEADER, "holder") is None, "it gave up the watch"
