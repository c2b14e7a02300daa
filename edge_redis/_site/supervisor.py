"""Processes that are started, watched, started again where they fail, and ended, whatever happens.

Each runs in a session of its own, out of reach of the terminal's Ctrl-C, and holds the reading
end of a pipe from this process: when this one is gone, even by SIGKILL, they see its end and leave.
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

from edge_redis._site.plan import Plan
from edge_redis._site.process import EXIT_DONE, EXIT_STOPPED, EXIT_STORE_AWAY

_COMMAND: Final = (sys.executable, "-P", str(Path(__file__).with_name("_boot.py")))

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
FAILURES_IN_A_ROW: Final = 5
"""After so many, each soon after its start, a process is given up."""
SOON_SECONDS: Final = 5.0
_LOG_TAIL_BYTES: Final = 2000


class Child:
    """One process and its successors, which take its place where it fails."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.restarts = 0
        self.is_done = False
        """Whether it came to its end by itself, as one that plays a recording does."""
        self.is_given_up = False
        self.last_words = ""
        """Of the last one that failed: the last line it wrote, or how it ended."""
        self.failures = 0
        self._in_a_row = 0
        self._starts_at = 0.0
        self._started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def name(self) -> str:
        """What the process is called in the report."""
        return self.plan.name

    @property
    def pid(self) -> int | None:
        """Process id; None where none runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as the process; it has no name to clean up
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 -- this package itself
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone already; ``tend`` finds out why
            self._process.stdin.write(self.plan.to_line())
            self._process.stdin.flush()

    def tend(self) -> None:
        """Note its end, and start it again when its time has come."""
        if self._process is not None:
            code = self._process.poll()
            if code is not None:
                self._bury(code)
        elif not (self.is_done or self.is_given_up) and time.monotonic() >= self._starts_at:
            self.restarts += 1
            self.start()

    def _bury(self, code: int) -> None:
        words = self._read_log() or _describe(code)
        self._close()
        # One that was asked to end before it could listen is ended by the signal itself.
        if code == EXIT_DONE or (self.is_done and code in (EXIT_STOPPED, -signal.SIGTERM)):
            self.is_done = True
            return
        self.failures += 1
        self.last_words = words
        self._in_a_row = 1 if time.monotonic() - self._started_at > SOON_SECONDS else self._in_a_row + 1
        self.is_given_up = code != EXIT_STORE_AWAY and self._in_a_row >= FAILURES_IN_A_ROW
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (self._in_a_row - 1))
        self._starts_at = time.monotonic() + pause

    def _read_log(self) -> str:
        assert self._log is not None
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_TAIL_BYTES))
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _close(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._log is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._log.close()
        self._process = self._log = None

    def ask_to_end(self) -> None:
        """Ask it to finish what it has begun and leave; it is not started again."""
        self.is_done = True
        if self._process is not None:
            self._process.terminate()

    def end(self) -> None:
        """Wait no longer."""
        self.is_done = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close()


def _describe(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


class Supervisor:
    """A context that no process of its own outlives."""

    def __init__(self, pause: Callable[[float], None], hurried: Callable[[], bool]) -> None:
        self._pause = pause
        self._hurried = hurried
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self.children:
            child.end()

    def start(self, plan: Plan) -> Child:
        """Start a process."""
        child = Child(plan)
        self.children.append(child)
        child.start()
        return child

    def tend(self) -> None:
        """Look after all of them once."""
        for child in self.children:
            child.tend()

    def end(self, children: Sequence[Child], *, grace_seconds: float) -> None:
        """End these in their own time, and after the grace, or when there is a hurry, at once."""
        for child in children:
            child.ask_to_end()
        end = time.monotonic() + grace_seconds
        while any(child.pid for child in children) and time.monotonic() < end and not self._hurried():
            self._pause(0.02)
            for child in children:
                child.tend()
        for child in children:
            child.end()
