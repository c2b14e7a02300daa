"""Every command of ``edge-redis`` that the documents show exists, with the options shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_redis.cli.main import main

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


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("words", sorted(SHOWN))
def test_a_command_that_the_documents_show_exists_with_its_options(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([*words.split(), "--help"])
    text, errors = capsys.readouterr()
    assert code == 0, f"edge-redis {words}: {errors}"
    for option in SHOWN[words]:
        assert option in text, f"edge-redis {words} has no {option}"
