"""Every command of ``edge-redis`` that the documents show exists, with the options shown."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_COMMAND = re.compile(r"(?:^|`)(?:\$ )?edge-redis ((?:[a-z][\w-]*[ \t]*)+)([^`\n]*(?:\\\n[^`\n]*)*)", re.MULTILINE)
_OPTION = re.compile(r"(?<!\S)--[a-z][\w-]*")


def _shown() -> dict[str, set[str]]:
    """Return the commands that the documents show, each with its options."""
    found: dict[str, set[str]] = {}
    for page in PAGES:
        for words, rest in _COMMAND.findall(page.read_text()):
            found.setdefault(" ".join(words.split()), set()).update(_OPTION.findall(rest.partition("#")[0]))
    return found


SHOWN = _shown()


@functools.cache
def _help(words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edge_redis", *words.split(), "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
    )
    assert done.returncode == 0, f"edge-redis {words}: {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("words", sorted(SHOWN))
def test_a_command_that_the_documents_show_exists_with_its_options(words: str) -> None:
    text = _help(words)
    for option in SHOWN[words]:
        assert option in text, f"edge-redis {words} has no {option}"
