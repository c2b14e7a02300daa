"""What processes a test has left behind: found by the folder they work in."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.deadline import eventually


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


def private_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have private folders made in ``folder``; at the end wait until no process and no folder is left there."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    eventually(lambda: not within(folder))
    eventually(lambda: not list(folder.glob("edge-redis-*")))
