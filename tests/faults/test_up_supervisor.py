"""A supervisor starts again what fails, gives up what cannot work, and lets nothing outlive it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge_redis._site import supervisor as supervision
from edge_redis._site.process_plan import ProcessPlan, Role
from edge_redis._site.replay import Pace
from edge_redis._site.supervisor import Child, Supervisor
from support.deadline import eventually


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_SECONDS", 0.01)
    with Supervisor(time.sleep, lambda: False) as made:
        yield made


def plan(role: Role, url: str, **facts: Any) -> ProcessPlan:
    common: dict[str, Any] = {
        "namespace": "ns",
        "run_id": "r",
        "cache_size": 10,
        "timeout_seconds": 1.0,
        "interval_seconds": 0.05,
    }
    return ProcessPlan(role=role, name=str(role), url=url, **{**common, **facts})


def tended(supervisor: Supervisor, child: Child, attribute: str) -> Any:
    def look() -> Any:
        supervisor.poll()
        return getattr(child, attribute)

    return look


def test_what_cannot_work_is_given_up_with_its_last_error(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "MAX_EARLY_FAILURES", 2)
    monkeypatch.setattr(supervision, "EARLY_SECONDS", 60.0)  # also where a process takes long to start
    facts = {"recording": "/nowhere.csv", "pace": Pace(0.0, 0, 1.0)}
    child = supervisor.start(plan(Role.REPLAY, "redis://127.0.0.1:1/0", **facts, namespace="a{b}"))
    eventually(tended(supervisor, child, "is_given_up"), seconds=60)
    assert (child.failures, child.restarts, child.pid) == (2, 1, None)
    assert "namespace must not contain braces" in child.last_error


def test_what_only_waits_for_its_server_is_never_given_up(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "MAX_EARLY_FAILURES", 1)
    child = supervisor.start(plan(Role.MONITOR, "redis://127.0.0.1:1/0"))
    eventually(lambda: tended(supervisor, child, "failures")() >= 2, seconds=60)
    assert child.is_given_up is False
    assert "refused" in child.last_error


def test_one_that_ends_by_itself_is_finished(supervisor: Supervisor, valkey: Any, tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_text("timestamp_s,node_id,x\n1,replay,2\n")
    child = supervisor.start(plan(Role.REPLAY, valkey.url, recording=str(path), pace=Pace(0.0, 0, 1.0)))
    eventually(tended(supervisor, child, "is_finished"), seconds=30)
    supervisor.poll()
    assert (child.failures, child.restarts, child.pid) == (0, 0, None)


def test_one_that_is_ended_by_somebody_else_comes_back(supervisor: Supervisor, valkey: Any) -> None:
    child = supervisor.start(plan(Role.EDGE, valkey.url))
    with valkey.client() as client:
        eventually(lambda: client.exists("er:{ns:sync0}:doc:edge"), seconds=30)
        assert child.pid is not None
        psutil.Process(child.pid).terminate()
        eventually(tended(supervisor, child, "restarts"), seconds=30)
        assert child.last_error == "ended with exit code 143"
        supervisor.stop([child], grace_seconds=10)
        is_running = child.pid is not None
        assert (is_running, child.is_finished, child.failures) == (False, True, 1)


def test_one_that_does_not_listen_is_killed_after_the_grace(supervisor: Supervisor, valkey: Any) -> None:
    child = supervisor.start(plan(Role.EDGE, valkey.url))
    with valkey.client() as client:
        eventually(lambda: client.exists("er:{ns:sync0}:doc:edge"), seconds=30)
    assert child.pid is not None
    process = psutil.Process(child.pid)
    process.suspend()
    begun = time.monotonic()
    supervisor.stop([child], grace_seconds=0.3)
    assert 0.3 <= time.monotonic() - begun < 5
    assert not process.is_running()


def test_nothing_outlives_a_supervisor_that_is_left_by_an_error(valkey: Any) -> None:
    started: list[psutil.Process] = []

    def fail() -> None:
        with Supervisor(time.sleep, lambda: False) as made:
            started.append(psutil.Process(made.start(plan(Role.EDGE, valkey.url)).pid))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert not started[0].is_running()
