"""A small program that ends an embedded server when the process that started it ends.

It is run by its path with ``python -I -S``, imports nothing of this package, and must stay
small: every embedded server has one. Its standard input is one end of a socket pair, whose
other end only the starter holds:

    starter to watchdog    S  start the server        T  terminate it, kill it after the grace
                        K  kill it at once
    watchdog to starter    up PID                     down STATUS (negative: the signal that ended it)

End of file means that the starter closed its end or died, by whatever signal: the server is
terminated, a private folder removed, and the watchdog leaves. A process that a C library of the
starter forked could keep that end open, so once a second the watchdog also looks whether the
starter is still its parent. Where the watchdog itself is killed, Linux terminates the server.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from typing import NoReturn

_STARTER_FD = 0
_LOOK_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


class Watchdog:
    """Starts and ends one server at a time, by the orders on standard input."""

    def __init__(self, starter: int, grace: float, command: list[str]) -> None:
        self._starter = starter
        self._grace = grace
        self._command = command
        self._server = 0
        self._must_leave = False
        self._wake = _wake_on_signals()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._leave)

    def serve(self) -> None:
        """Obey orders until the starter is gone or a signal ends this process, then end the server."""
        while not self._must_leave and os.getppid() == self._starter:
            readable = self._wait(_LOOK_SECONDS, _STARTER_FD)
            self._reap()
            if _STARTER_FD in readable and not self._obey(_next_order()):
                break
        self._terminate()

    def _obey(self, order: bytes) -> bool:
        if order == b"S":
            self._start()
        elif order == b"T":
            self._terminate()
        elif order == b"K":
            self._kill()
        return bool(order)

    def _start(self) -> None:
        self._terminate()
        # Signals are blocked until the server has replaced this program, so that one for the server is not lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        watchdog = os.getpid()
        self._server = os.fork()
        if self._server == 0:
            _replace_by_server(self._command, watchdog)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._say(f"up {self._server}")

    def _terminate(self) -> None:
        if self._server:
            os.kill(self._server, signal.SIGTERM)
            os.kill(self._server, signal.SIGCONT)  # a stopped process would not notice
        end = time.monotonic() + self._grace
        while self._server and time.monotonic() < end:
            self._wait(max(0.0, end - time.monotonic()))
            self._reap()
        self._kill()

    def _kill(self) -> None:
        if self._server:
            _kill_group(self._server)
            self._reap(os.waitpid(self._server, 0)[1])

    def _reap(self, status: int | None = None) -> None:
        if self._server and status is None:
            ended, found = os.waitpid(self._server, os.WNOHANG)
            status = found if ended else None
        if self._server and status is not None:
            self._server = 0
            self._say(f"down {os.waitstatus_to_exitcode(status)}")

    def _wait(self, seconds: float, *descriptors: int) -> list[int]:
        readable, _, _ = select.select([self._wake, *descriptors], [], [], seconds)
        if self._wake in readable:
            os.read(self._wake, 1024)
        return readable

    def _leave(self, *_: object) -> None:
        self._must_leave = True

    @staticmethod
    def _say(event: str) -> None:
        try:
            os.write(_STARTER_FD, f"{event}\n".encode())
        except OSError:  # the starter has ended, which the next read shows
            return


def _next_order() -> bytes:
    """Return the starter's next order; empty when the starter has ended."""
    try:
        return os.read(_STARTER_FD, 1)
    except OSError:  # the starter ended with a message unread
        return b""


def _wake_on_signals() -> int:
    """Return a descriptor that turns readable at every signal, also one that comes just before a wait."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def _kill_group(leader: int) -> None:
    """Kill the server, and the child that it forks to rewrite its file."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except OSError:  # it has not made its group yet
        os.kill(leader, signal.SIGKILL)


def _replace_by_server(command: list[str], watchdog: int) -> NoReturn:
    """Replace this forked process by the server."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setpgid(0, 0)
        os.umask(0o077)  # the server's files are for this user alone, also in a folder that others may read
        os.dup2(os.open(os.devnull, os.O_RDONLY), _STARTER_FD)
        _end_with(watchdog)
        os.execv(command[0], command)  # noqa: S606 -- the command is the starter's own, and no shell is wanted
    except OSError as error:
        os.write(sys.stderr.fileno(), f"cannot run {command[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _end_with(watchdog: int) -> None:
    """On Linux, make the kernel terminate this process when the watchdog dies."""
    if sys.platform != "linux":
        return
    try:
        from ctypes import CDLL  # noqa: PLC0415 -- only Linux needs it

        CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != watchdog:  # it died before the line above
        os._exit(127)


def _remove(folder: str) -> None:
    """Remove a private folder; a process that was killed may be writing its last file there."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.02)


def main(arguments: list[str]) -> None:
    """Watch a server. Arguments: STARTER_PID GRACE_SECONDS PRIVATE_FOLDER_OR_EMPTY SERVER [ARGUMENT...]."""
    starter, grace, private, *command = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    watchdog = Watchdog(int(starter), float(grace), command)
    # The starter may have blocked signals in the thread that started this process.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    watchdog.serve()
    if private:
        _remove(private)


if __name__ == "__main__":
    main(sys.argv[1:])
