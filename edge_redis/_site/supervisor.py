"""Child processes that are started, watched, restarted when they fail, and stopped in every case.

Each child runs in a session of its own, so that Ctrl-C in the terminal does not reach it, and holds
the reading end of a pipe from this process: when this process ends, even by SIGKILL, the children
read end of file and exit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from edge_redis._site.process import EXIT_FINISHED, EXIT_STOPPED, EXIT_STORE_UNAVAILABLE
from edge_redis._site.process_plan import ProcessPlan

_COMMAND: Final = (sys.executable, "-P", str(Path(__file__).with_name("_start.py")))

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
MAX_EARLY_FAILURES: Final = 5
"""A process that fails this often in a row, each time soon after its start, is not restarted."""
EARLY_SECONDS: Final = 5.0
_LOG_TAIL_BYTES: Final = 2000


class Child:
    """One process and, when it fails, the processes that replace it."""

    def __init__(self, plan: ProcessPlan) -> None:
        self.plan = plan
        self.restarts = 0
        self.is_finished = False
        """Whether it completed its task (a replay) or was asked to stop."""
        self.is_given_up = False
        """Whether it failed so often that it is not restarted."""
        self.failures = 0
        self.last_error = ""
        """Last line that the latest failed process wrote, or how it ended."""
        self.is_paused = False
        """Whether the process is stopped (see ``pause``)."""
        self._early_failures = 0
        self._restart_at = 0.0
        self._started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def name(self) -> str:
        """Name of the process in the report."""
        return self.plan.name

    @property
    def pid(self) -> int | None:
        """Process id; None when no process runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with the process
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 -- this package's own code
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has already ended; ``poll`` finds out why
            self._process.stdin.write(self.plan.to_line())
            self._process.stdin.flush()

    def poll(self) -> None:
        """Record the end of the process, or restart it when its pause is over."""
        if self._process is not None:
            code = self._process.poll()
            if code is not None:
                self._record_exit(code)
        elif not (self.is_finished or self.is_given_up) and time.monotonic() >= self._restart_at:
            self.restarts += 1
            self.start()

    def _record_exit(self, code: int) -> None:
        error = self._read_last_log_line() or _describe_exit(code)
        self._close()
        # A process that is stopped before its handler is installed is ended by the signal itself.
        if code == EXIT_FINISHED or (self.is_finished and code in (EXIT_STOPPED, -signal.SIGTERM)):
            self.is_finished = True
            return
        self.failures += 1
        self.last_error = error
        self._early_failures = 1 if time.monotonic() - self._started_at > EARLY_SECONDS else self._early_failures + 1
        self.is_given_up = code != EXIT_STORE_UNAVAILABLE and self._early_failures >= MAX_EARLY_FAILURES
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (self._early_failures - 1))
        self._restart_at = time.monotonic() + pause

    def _read_last_log_line(self) -> str:
        assert self._log is not None
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_TAIL_BYTES))
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _close(self) -> None:
        self.is_paused = False
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._log is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._log.close()
        self._process = self._log = None

    def crash(self, down_seconds: float) -> None:
        """Kill the process as an operator's experiment; it is restarted after ``down_seconds``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close()
            self._restart_at = time.monotonic() + down_seconds

    def pause(self) -> None:
        """Stop the process by SIGSTOP, as a machine that hangs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            self.is_paused = True

    def resume(self) -> None:
        """Continue a paused process."""
        if self._process is not None and self.is_paused:
            self._process.send_signal(signal.SIGCONT)
            self.is_paused = False

    def terminate(self) -> None:
        """Ask the process to finish its current work and exit; it is not restarted."""
        self.is_finished = True
        self.resume()
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End the process at once; it is not restarted."""
        self.is_finished = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close()


def _describe_exit(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


class Supervisor:
    """A context whose child processes have all ended when it is left."""

    def __init__(self, pause: Callable[[float], None], is_hurried: Callable[[], bool]) -> None:
        self._pause = pause
        self._is_hurried = is_hurried
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self.children:
            child.kill()

    def start(self, plan: ProcessPlan) -> Child:
        """Start a process and return it."""
        child = Child(plan)
        self.children.append(child)
        child.start()
        return child

    def poll(self) -> None:
        """Poll every child once."""
        for child in self.children:
            child.poll()

    def stop(self, children: Sequence[Child], *, grace_seconds: float) -> None:
        """Terminate these children, and kill them after the grace period, or at once when hurried."""
        for child in children:
            child.terminate()
        end = time.monotonic() + grace_seconds
        while any(child.pid for child in children) and time.monotonic() < end and not self._is_hurried():
            self._pause(0.02)
            for child in children:
                child.poll()
        for child in children:
            child.kill()
