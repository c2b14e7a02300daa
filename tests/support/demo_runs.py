"""Runs `edge-redis up` as a user does, and finds whatever it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psutil

from support.deadline import eventually

_MARK = "EDGE_REDIS_TEST_RUN"


class DemoRun:
    """One run, with a folder for its temporary files, and a mark in the environment of all its processes."""

    def __init__(self, folder: Path, *arguments: str, **options: Any) -> None:
        self.mark = uuid.uuid4().hex
        self.temporary = folder / f"tmp-{self.mark}"
        self.temporary.mkdir()
        self.output = folder / f"out-{self.mark}"
        self.errors = folder / f"err-{self.mark}"
        environment = {
            **os.environ,
            _MARK: self.mark,
            "TMPDIR": str(self.temporary),
            **options.pop("env_extra", {}),
        }
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge_redis", "up", *arguments],
                stdin=options.pop("stdin", subprocess.DEVNULL),
                stdout=options.pop("stdout", output),
                stderr=options.pop("stderr", errors),
                env=environment,
                **options,
            )

    def processes(self) -> list[psutil.Process]:
        """Return all living processes that came of this run."""
        found = []
        for process in psutil.process_iter():
            try:
                if self._is_ours(process) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        # A server writes its title over its environment; it works in the temporary folder.
        return process.environ().get(_MARK) == self.mark or process.cwd().startswith(str(self.temporary))

    def named(self, part: str) -> list[psutil.Process]:
        """Return those whose command line holds this."""
        found = []
        for process in self.processes():
            try:
                if part in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    @property
    def parts(self) -> list[psutil.Process]:
        """The edge processes, the worker and the monitor, oldest first."""
        return sorted(self.named("_start.py"), key=lambda process: (process.create_time(), process.pid))

    def servers(self) -> list[psutil.Process]:
        """The server itself."""
        return [process for process in self.processes() if process.cwd().startswith(str(self.temporary))]

    def said(self, words: str) -> bool:
        """Whether this was printed so far."""
        return words in self.output.read_text()

    def wait_for(self, words: str, seconds: float = 30.0) -> None:
        eventually(lambda: self.said(words), seconds=seconds, every=0.02)

    def end(self, seconds: float = 60.0) -> int:
        """Wait for the command to end; return its exit code."""
        return self.process.wait(seconds)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def assert_nothing_is_left(self, seconds: float = 15.0) -> None:
        """Fail where a process or a temporary file outlives the run."""
        eventually(lambda: not self.processes(), seconds=seconds, every=0.05)
        assert list(self.temporary.iterdir()) == []

    def clean_up(self) -> None:
        """End whatever a failed test has left."""
        for process in self.processes():
            process.kill()
        self.process.wait(10)
