"""A server process and its watchdog, as the process that started them controls them.

The socket to the watchdog is a lifeline: when its last copy closes, the watchdog ends the server.
Programs that this process runs do not inherit it; a forked child closes its copy at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_redis.errors import EmbeddedServerError

_WATCHDOG: Final = Path(__file__).with_name("_watchdog.py")
_MARGIN_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.001


@dataclass(frozen=True)
class Plan:
    """The command that a watchdog runs, and the log for its output and the server's."""

    command: Sequence[str]
    log: Path
    lock: int
    """Descriptor of the folder's lock, which watchdog and server keep open as long as they live."""
    private: Path | None
    """Folder to remove at the end."""
    grace: float
    """Seconds that a server has to end after SIGTERM."""


class SupervisedServer:
    """A watchdog, and the server that it runs: one at a time."""

    def __init__(self, plan: Plan) -> None:
        self._grace = plan.grace
        self._received = b""
        self._pid: int | None = None
        self._lifeline, theirs = socket.socketpair()
        try:
            with theirs:
                self._watchdog = _launch(plan, theirs)
        except BaseException:
            self._lifeline.close()  # which ends a watchdog that did start
            raise

    @property
    def pid(self) -> int | None:
        """Process id of the server, or None where none runs."""
        while self._event(0.0):
            pass
        return self._pid

    def start(self) -> int:
        """Start the server, and return its process id.

        Raises:
            EmbeddedServerError: the watchdog did not answer.
        """
        self._order(b"S")
        end = time.monotonic() + _MARGIN_SECONDS
        while event := self._event(end - time.monotonic()):
            if event.startswith("up "):
                return int(event.split()[1])
        raise EmbeddedServerError("the watchdog of the embedded server does not answer")

    def end(self, *, kill: bool) -> None:
        """Make the watchdog kill the server, or end it by SIGTERM, after the grace by SIGKILL; wait for that.

        Raises:
            EmbeddedServerError: the watchdog did not answer.
        """
        if self.pid is None:
            return
        self._order(b"K" if kill else b"T")
        end = time.monotonic() + self._grace + _MARGIN_SECONDS
        while self._pid is not None and self._event(end - time.monotonic()):
            pass
        if self._pid is not None:
            raise EmbeddedServerError("the watchdog of the embedded server does not answer")

    def release(self) -> None:
        """Make the watchdog end the server and itself; do not wait for it."""
        self._hang_up()
        self._lifeline.close()

    def close(self) -> None:
        """Release, and wait until server and watchdog have ended.

        Raises:
            EmbeddedServerError: they did not end in time, and the watchdog was killed.
        """
        self._hang_up()
        end = time.monotonic() + self._grace + _MARGIN_SECONDS
        while self._event(end - time.monotonic()):
            pass
        if not self._is_reaped_by(end):
            self._watchdog.kill()
            self._is_reaped_by(time.monotonic() + _MARGIN_SECONDS)
            raise EmbeddedServerError("the watchdog of the embedded server had to be killed")
        self._lifeline.close()

    def after_fork(self) -> None:
        """Reset state in a forked child: close this copy of the lifeline. The parent's stays open."""
        self._watchdog.returncode = 0  # not a child of this process, so there is nothing to wait for
        self._lifeline.close()

    def _is_reaped_by(self, end: float) -> bool:
        """Wait for the watchdog. Popen does this under a lock that an interruption may leave taken."""
        while self._watchdog.returncode is None:
            try:
                ended, status = os.waitpid(self._watchdog.pid, os.WNOHANG)
            except ChildProcessError:  # reaped already, by a call that was interrupted before it recorded this
                ended, status = self._watchdog.pid, 0
            if ended:
                self._watchdog.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                return False
            else:
                time.sleep(_POLL_SECONDS)
        return True

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._lifeline.shutdown(socket.SHUT_WR)  # a forked child may hold a copy of this end

    def _order(self, order: bytes) -> None:
        try:
            self._lifeline.sendall(order)
        except OSError as error:
            raise EmbeddedServerError("the watchdog of the embedded server is gone") from error

    def _event(self, seconds: float) -> str:
        """Return the watchdog's next message; empty if none comes within ``seconds``, or it has ended."""
        while b"\n" not in self._received:
            received = self._receive(seconds)
            if not received:
                return ""
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        word, number = line.decode().split()
        self._pid = int(number) if word == "up" else None
        return line.decode()

    def _receive(self, seconds: float) -> bytes:
        if self._lifeline.fileno() < 0:  # closed
            return b""
        poll = select.poll()
        poll.register(self._lifeline, select.POLLIN)
        if not poll.poll(max(0.0, seconds) * 1000):
            return b""
        try:
            return self._lifeline.recv(1024)
        except OSError:  # reset, as the watchdog has ended
            return b""


def _launch(plan: Plan, theirs: socket.socket) -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise EmbeddedServerError("an embedded server needs sys.executable: it is supervised by a small Python program")
    private = str(plan.private or "")
    watchdog = [sys.executable, "-I", "-S", str(_WATCHDOG), str(os.getpid()), str(plan.grace), private]
    with plan.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 -- no shell, and nothing of it comes from outside
            [*watchdog, *plan.command],
            stdin=theirs.fileno(),
            stdout=log,
            stderr=log,
            pass_fds=(plan.lock,),
            cwd="/",
            start_new_session=True,  # the terminal's Ctrl-C does not reach it
        )
