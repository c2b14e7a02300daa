"""Runs one server for as long as its owner lives. Standard library alone; run by its path, not imported.

    python -I -S guard.py GRACE_SECONDS REMOVE_DIR|- COMMAND [ARGUMENT ...]

The owner holds the other end of standard input. Its end of file means that the owner stopped
the server or died, even by SIGKILL: the server gets SIGTERM, so that it writes its file to the
end, and SIGKILL after the grace period; then REMOVE_DIR is removed, unless the owner wrote
``keep`` first. The server's process id goes to standard output as soon as there is one.

A process that the owner forks without exec holds the pipe too: the server then lives until the
last of them has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys

_PR_SET_PDEATHSIG = 1


def _die_with_guard() -> None:
    """Ask Linux to end the server should this guard be killed; elsewhere there is no such thing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_for_owner(server: subprocess.Popen[bytes]) -> bytes:
    """Wait for the owner to close the pipe, or for SIGTERM; return what it wrote. Reap the server meanwhile."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    said = b""
    while True:
        server.poll()
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready and signal.SIGTERM in os.read(woken, 64):
            return said
        if 0 in ready:
            chunk = os.read(0, 64)
            if not chunk:
                return said
            said += chunk


def main(grace: float, remove: str, command: list[str]) -> int:
    """Run the command until the owner lets go; return its exit code."""
    # preexec_fn is safe here: this process has one thread.
    server = subprocess.Popen(  # noqa: S603 -- the owner's own command
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=_die_with_guard,  # noqa: PLW1509 -- as said above
    )
    print(server.pid, flush=True)  # noqa: T201 -- this is the protocol
    os.close(1)
    said = _wait_for_owner(server)
    server.terminate()
    try:
        server.wait(grace)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if remove != "-" and said != b"keep":
        shutil.rmtree(remove, ignore_errors=True)
    return server.returncode


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(main(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))
