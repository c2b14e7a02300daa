"""What processes a test has left behind: found by the folder they work in."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil


def within(folder: Path) -> list[str]:
    """Return the live processes that work in ``folder`` or name it in their command line."""
    found: list[str] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if str(folder) in line or process.cwd().startswith(str(folder)):
                found.append(f"{process.pid} {line}")
    return found
