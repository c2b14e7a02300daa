"""`edge-redis up` as a whole: what it reports, and what is left of it, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import select
import signal
import socket
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge_redis import embedded
from support.deadline import eventually
from support.demo_runs import DemoRun
from support.recordings import differences, excerpt, implied, shared_data, synthetic

Start = Callable[..., DemoRun]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    jobs: list[DemoRun] = []

    def begin(*arguments: str, **options: Any) -> DemoRun:
        jobs.append(DemoRun(tmp_path, *arguments, **options))
        return jobs[-1]

    yield begin
    for job in jobs:
        job.clean_up()


def replayed(start: Start, path: Path, report: Path, *, speed: float, timeout: float) -> dict[str, Any]:
    """Replay a whole recording and return its report."""
    options = ["--speed", str(speed), "--heartbeat-timeout", str(timeout), "--duration", "200"]
    job = start("--replay", str(path), *options, "--report", str(report), "--quiet")
    assert job.end(220) == 0, job.errors.read_text()
    assert job.errors.read_text() == ""
    job.assert_nothing_is_left()
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def test_a_live_run_ends_with_a_report(start: Start, tmp_path: Path) -> None:
    job = start("--nodes", "2", "--duration", "8", "--report", str(tmp_path / "out.json"))
    assert job.end() == 0
    job.assert_nothing_is_left()
    report = json.loads((tmp_path / "out.json").read_text())
    assert sorted(report["nodes"]) == ["edge-1", "edge-2"]
    for node in report["nodes"].values():
        assert node["readings"] == node["heartbeats"] > 0
        assert node["checks"] > 0
        assert node["restarts"] == 0
    assert report["run"]["ended_by"] == "duration"
    assert report["readings_processed"] == sum(scope["edge_version"] for scope in report["sync"]["scopes"].values())
    assert report["invocations"] == 3 * report["readings_processed"]
    assert report["cache"]["hits"] + report["cache"]["misses"] == 2 * report["invocations"]
    assert report["sync"]["all_equal"] is True
    assert report["sync"]["pending"] == 0
    assert job.said("edge-redis up, live: duration after")


@pytest.mark.parametrize(
    "timeout",
    [5.0, pytest.param(4.999, marks=pytest.mark.exploration), pytest.param(1.0, marks=pytest.mark.exploration)],
)
def test_a_replay_reports_what_the_recording_implies(start: Start, tmp_path: Path, timeout: float) -> None:
    path = synthetic(tmp_path / "feed.csv")
    report = replayed(start, path, tmp_path / "out.json", speed=60, timeout=timeout)
    assert differences(report, implied(path, timeout)) == []
    assert report["run"]["ended_by"] == "end of the recording"
    assert report["cache"]["max_size"] >= report["cache"]["size"]


def test_processes_that_fall_behind_catch_up(start: Start, tmp_path: Path) -> None:
    path = synthetic(tmp_path / "feed.csv", seconds=80)
    report = replayed(start, path, tmp_path / "out.json", speed=100_000, timeout=5)
    assert differences(report, implied(path, 5)) == []


@pytest.mark.exploration
def test_minutes_of_real_readings(start: Start, tmp_path: Path) -> None:
    path = excerpt(shared_data("room_climate.csv.gz"), tmp_path / "minutes.csv.gz", seconds=900)
    expected = implied(path, 8)
    assert sum(node["unhealthy_spells"] for node in expected["nodes"].values()) > 0
    report = replayed(start, path, tmp_path / "out.json", speed=300, timeout=8)
    assert differences(report, expected) == []


@pytest.mark.exploration
@pytest.mark.timeout(300)
def test_all_real_readings(start: Start, tmp_path: Path) -> None:
    path = shared_data("room_climate.csv.gz")
    report = replayed(start, path, tmp_path / "out.json", speed=1000, timeout=8)
    assert report["readings_processed"] == 8184
    assert differences(report, implied(path, 8)) == []


def test_a_duration_shorter_than_the_recording_ends_it(start: Start, tmp_path: Path) -> None:
    path = synthetic(tmp_path / "feed.csv", seconds=1800)
    # Long enough that the processes are at work before it is over, on a machine that is busy too.
    job = start("--replay", str(path), "--speed", "60", "--duration", "8", "--report", str(tmp_path / "out.json"))
    assert job.end() == 0
    job.assert_nothing_is_left()
    report = json.loads((tmp_path / "out.json").read_text())
    assert 0 < report["readings_processed"] < report["run"]["recorded_readings"]
    assert report["sync"]["all_equal"] is True


PYTHON_STARTING = ("Fatal Python error: init", "Could not import runpy module")


@pytest.mark.exploration
@pytest.mark.timeout(240)
def test_ctrl_c_at_any_moment_leaves_nothing(start: Start) -> None:
    chance = random.Random(os.environ.get("EDGE_REDIS_SEED", "1"))
    moments = [0.0, *sorted(chance.uniform(0.0, 2.5) for _ in range(12))]
    for moment in moments:
        job = start("--nodes", "2")
        time.sleep(moment)  # the moment is what is tried here
        job.interrupt()
        code = job.end(30)
        job.assert_nothing_is_left()
        # Before the command has begun, while Python starts or reads its modules, Python itself ends it.
        is_python_starting = any(words in job.errors.read_text() for words in PYTHON_STARTING)
        assert code in (130, -signal.SIGINT) or is_python_starting, (moment, job.errors.read_text())
        if job.said("namespace up-"):
            assert code == 130
            assert job.said("functions invoked"), moment
            assert job.errors.read_text() == "", moment


@pytest.mark.timeout(120)
def test_ctrl_c_during_a_replay_hands_over_what_was_done(start: Start, tmp_path: Path) -> None:
    path = synthetic(tmp_path / "feed.csv", seconds=600)
    job = start("--replay", str(path), "--speed", "30", "--report", str(tmp_path / "out.json"))
    job.wait_for("s: ")
    time.sleep(1.0)
    job.interrupt()
    assert job.end(30) == 130
    job.assert_nothing_is_left()
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["run"]["ended_by"] == "SIGINT"
    assert report["sync"]["all_equal"] is True
    assert report["invocations"] == 3 * report["readings_processed"]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.exploration)])
def test_other_signals_end_it_in_order_too(start: Start, number: signal.Signals) -> None:
    job = start("--nodes", "1")
    eventually(lambda: len(job.parts) == 3, seconds=30)
    job.process.send_signal(number)
    assert job.end(30) == 0
    job.assert_nothing_is_left()
    assert job.said(f"live: {number.name} after")


def test_a_second_ctrl_c_does_not_wait(start: Start) -> None:
    job = start("--nodes", "2")
    eventually(lambda: len(job.parts) == 4, seconds=30)
    job.wait_for("readings processed")
    for part in job.parts:
        part.suspend()  # nobody ends by itself now
    job.interrupt()
    job.wait_for("ending: SIGINT")
    begun = time.monotonic()
    job.interrupt()
    assert job.end(30) == 130
    assert time.monotonic() - begun < 4.0
    job.assert_nothing_is_left()


def test_everything_ends_when_the_command_is_killed(start: Start) -> None:
    job = start("--nodes", "2")
    eventually(lambda: len(job.parts) == 4 and job.servers(), seconds=30)
    job.process.kill()
    assert job.end() == -signal.SIGKILL
    job.assert_nothing_is_left()


@pytest.mark.exploration
def test_a_killed_edge_process_goes_on_where_it_was(start: Start, tmp_path: Path) -> None:
    path = synthetic(tmp_path / "feed.csv", seconds=120)
    report_path = tmp_path / "out.json"
    job = start("--replay", str(path), "--speed", "20", "--heartbeat-timeout", "5", "--report", str(report_path))
    eventually(lambda: len(job.parts) == 4, seconds=30)
    time.sleep(2.0)
    victim = job.parts[-1]
    victim.kill()
    assert job.end() == 0
    job.assert_nothing_is_left()
    report = json.loads(report_path.read_text())
    expected = implied(path, 5)
    assert report["readings_processed"] == expected["readings_processed"]
    assert differences(report["sync"], expected["sync"]) == []
    spells = {name: node["unhealthy_spells"] for name, node in expected["nodes"].items()}
    assert {name: node["unhealthy_spells"] for name, node in report["nodes"].items()} == spells
    assert sum(node["restarts"] for node in report["nodes"].values()) == 1
    assert list(report["failures"].values()) == ["ended by SIGKILL"]


@pytest.mark.exploration
def test_a_killed_cloud_worker_and_a_killed_server_are_started_again(start: Start, tmp_path: Path) -> None:
    path = synthetic(tmp_path / "feed.csv", seconds=160)
    report_path = tmp_path / "out.json"
    job = start("--replay", str(path), "--speed", "20", "--heartbeat-timeout", "5", "--report", str(report_path))
    eventually(lambda: len(job.parts) == 4, seconds=30)
    time.sleep(2.0)
    job.parts[0].kill()
    time.sleep(1.0)
    for server in job.servers():
        server.kill()
    assert job.end() == 0, job.output.read_text()
    job.assert_nothing_is_left()
    report = json.loads(report_path.read_text())
    assert job.said("the server ended: restarting it on its data")
    assert differences(report["sync"], implied(path, 5)["sync"]) == []


def _read_all(terminal: int, until: Callable[[str], bool], seconds: float = 40.0) -> str:
    text, end = "", time.monotonic() + seconds
    while not until(text) and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                text += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # the other side has closed
                break
    return text


def test_ctrl_c_in_a_terminal_reaches_nobody_but_the_command(start: Start) -> None:
    ours, theirs = pty.openpty()
    job = start(
        "--nodes",
        "2",
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: _own_terminal(theirs),
    )
    os.close(theirs)
    text = _read_all(ours, lambda text: "Ctrl-C ends with a report" in text and "healthy" in text)
    assert "rolling_statistics" in text
    os.write(ours, b"\x03")
    text = _read_all(ours, lambda text: "both ends equal" in text.partition("edge-redis up, live:")[2])
    assert "edge-redis up, live: SIGINT after" in text
    assert "failed" not in text
    assert "Traceback" not in text
    assert job.end(20) == 130
    job.assert_nothing_is_left()
    os.close(ours)


def _own_terminal(terminal: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def test_a_reader_that_leaves_ends_it_without_leaving_anything(start: Start) -> None:
    reads, writes = os.pipe()
    job = start("--nodes", "1", stdout=writes)
    os.close(writes)
    assert b"namespace up-" in os.read(reads, 100)
    os.close(reads)
    assert job.end(30) == 1
    job.assert_nothing_is_left()
    assert job.errors.read_text() == ""


def test_no_port_stays_open(start: Start) -> None:
    job = start("--nodes", "1", "--duration", "1")
    job.wait_for("port ")
    port = int(job.output.read_text().partition(", port ")[2].split()[0])
    assert job.end() == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_given_server_is_used_and_left_as_it_is(start: Start, valkey: Any, tmp_path: Path) -> None:
    with valkey.client() as client:
        client.set("someone-elses", "value")
        job = start("--url", valkey.url, "--namespace", "site", "--nodes", "1", "--duration", "2")
        assert job.end() == 0, job.errors.read_text()
        job.assert_nothing_is_left()
        assert client.get("someone-elses") == b"value"
        assert all(key.startswith((b"er:{site:", b"er:{site.operations:")) for key in client.keys("er:*"))
        assert psutil.pid_exists(client.info("server")["process_id"])


def test_the_password_of_a_given_server_is_shown_nowhere(start: Start, tmp_path: Path) -> None:
    """But in the arguments of the command itself, which its user wrote."""
    secret, report = "a-secret-word", tmp_path / "out.json"
    with embedded.start(password=secret, data_dir=tmp_path / "data") as server:
        options = ["--url", server.url, "--namespace", "site", "--nodes", "1", "--duration", "3"]
        job = start(*options, "--report", str(report))
        eventually(lambda: len(job.parts) >= 3, seconds=30)
        titles = [" ".join(each.cmdline()) for each in job.processes() if each.pid != job.process.pid]
        assert job.end() == 0, job.errors.read_text()
        data = [each for each in (tmp_path / "data").rglob("*") if each.is_file()]
        private = [each for each in data if each.stat().st_mode & 0o077 == 0 and each.suffix == ".conf"]
    assert private, "the server reads its own password from a file of its user alone"
    written = [report, job.output, job.errors, *(each for each in data if each not in private)]
    texts = [each.read_text("latin1") for each in written if each != server.password_file and each.exists()]
    assert not [text for text in [*titles, *texts] if secret in text]
