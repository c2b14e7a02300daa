"""The calls of the services pass through no more frames of the package than ``scripts/dev/count_frames.py`` allows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_call_passes_through_more_frames_than_its_bound() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/dev/count_frames.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
