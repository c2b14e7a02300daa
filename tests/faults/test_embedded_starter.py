"""The process that started an embedded server ends, in whatever way: so does the server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge_redis import embedded
from support.deadline import eventually
from support.processes import private_folders

FAST = {"hz": "100"}
"""A server looks for SIGTERM once a tick."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from private_folders(tmp_path, monkeypatch)


@contextlib.contextmanager
def starter(body: str) -> Iterator[Any]:
    """Run a program that starts ``server`` and then does ``body``; it prints a line when it is there."""
    program = f"""
        import os, signal, sys, time
        from edge_redis import embedded
        {textwrap.indent(textwrap.dedent(body), " " * 8).strip()}
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


class TestStarterEnds:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_by_a_signal(self, folder: Any, number: Any) -> None:
        with starter("s = embedded.start(); print(s.pid, flush=True); time.sleep(60)") as process:
            pid = int(process.stdout.readline())
            process.send_signal(number)
            process.wait()
            eventually(lambda: not psutil.pid_exists(pid))
            process.stdout.close()

    def test_with_signals_blocked_in_it(self) -> None:
        body = """
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
            s = embedded.start(timeout=30); print(s.pid, flush=True); time.sleep(60)
        """
        with starter(body) as process:
            pid = int(process.stdout.readline())
            process.kill()
            eventually(lambda: not psutil.pid_exists(pid), seconds=5)

    def test_while_a_fork_of_it_lives_on(self) -> None:
        body = """
            s = embedded.start()
            print(s.pid, flush=True)
            if os.fork() == 0:
                sys.stdin.read()
                os._exit(0)
            time.sleep(60)
        """
        with starter(body) as process:
            pid = int(process.stdout.readline())
            process.kill()
            process.wait()
            eventually(lambda: not psutil.pid_exists(pid), seconds=5)

    def test_while_another_process_holds_its_lifeline(self) -> None:
        body = """
            s = embedded.start()
            os.set_inheritable(s._engine._supervised._lifeline.fileno(), True)
            print(s.pid, flush=True)
            import subprocess
            subprocess.run(["cat"], close_fds=False)
        """
        with starter(body) as process:
            pid = int(process.stdout.readline())
            process.kill()
            process.wait()
            eventually(lambda: not psutil.pid_exists(pid), seconds=5)

    def test_after_its_services_and_its_children(self, folder: Any) -> None:
        body = """
            import atexit, multiprocessing, multiprocessing.util
            s = embedded.start("kept", config={"hz": "100"})
            c = s.client()
            def late(name):
                time.sleep(0.2)
                c.set(name, 1)
            multiprocessing.util.Finalize(None, c.set, args=("service", 1), exitpriority=100)
            atexit.register(c.set, "atexit", 1)
            multiprocessing.get_context("fork").Process(target=late, args=("child",)).start()
            print(s.pid, flush=True)
        """
        before = Path.cwd()
        os.chdir(folder)
        try:
            with starter(body) as process:
                pid = int(process.stdout.readline())
                assert process.wait() == 0
                assert not psutil.pid_exists(pid)
        finally:
            os.chdir(before)
        with embedded.start(folder / "kept", config=FAST) as server, server.client() as client:
            assert sorted(client.keys()) == [b"atexit", b"child", b"service"]
