"""A server program whose files may be too large for its disk, and whose clock may jump."""

from __future__ import annotations

import contextlib
import resource
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from edge_redis.embedded import _binary

_LIBRARY: Final = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
"""libfaketime (Debian: ``apt-get install libfaketime``), which gives a process another time."""

_MISSING: Final = "a program has no other clock without libfaketime (Debian: apt-get install libfaketime)"


def other_time(offset: str) -> dict[str, str]:
    """Return the environment of a program whose clock is so far from this machine's, such as ``-10d``."""
    if _LIBRARY is None:
        raise RuntimeError(_MISSING)
    return {"LD_PRELOAD": str(_LIBRARY), "FAKETIME": offset}


class FaultyProgram:
    """A program that starts the server with these faults prepared; ``path`` is for ``embedded.start``."""

    can_jump: Final = _LIBRARY is not None
    """Whether its clock can jump."""

    def __init__(self, prefer: Path | None = None) -> None:
        found = _binary.find(prefer)
        if found is None:
            raise RuntimeError("needs a server program")
        self._folder = Path(tempfile.mkdtemp(prefix="edge-redis-faults-"))
        self._offset = self._folder / "offset"
        self._offset.write_text("+0\n")
        self.path = self._folder / found.path.name
        clock = ""
        if _LIBRARY is not None:
            clock = (
                f"export LD_PRELOAD={shlex.quote(str(_LIBRARY))} DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1"
                f" FAKETIME_TIMESTAMP_FILE={shlex.quote(str(self._offset))}\n"
            )
        # A write beyond the limit of a file's size is an error then, not the end of the process.
        self.path.write_text(f"#!/bin/sh\ntrap '' XFSZ\n{clock}exec {shlex.quote(str(found.path))} \"$@\"\n")
        self.path.chmod(0o700)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder)

    def set_clock(self, seconds: int) -> None:
        """Let the server's clock be so far from this machine's."""
        if _LIBRARY is None:
            raise RuntimeError(_MISSING)
        self._offset.write_text(f"{seconds:+d}\n")

    @staticmethod
    @contextlib.contextmanager
    def full_disk(pid: int) -> Iterator[None]:
        """Let the process write nothing at all to its files, as on a full disk."""
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))

    @staticmethod
    def clean_up_after(pid: int) -> None:
        """Remove what libfaketime leaves in shared memory where the process was killed."""
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            Path("/dev/shm", name).unlink(missing_ok=True)
