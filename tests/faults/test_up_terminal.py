"""`edge-redis up` in a terminal: its keys disturb the site, and it recovers."""

from __future__ import annotations

import json
import os
import pty
import select
import termios
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

from support.demo_runs import DemoRun


class Terminal:
    """A run in a terminal of 100 columns and 30 lines, and what the screen shows.

    The application rewrites the changed cells of a line alone: words are looked for on the screen, not in its output.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (30, 100))
        self.job = DemoRun(
            folder,
            *arguments,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env_extra={"TERM": "xterm-256color"},
        )
        os.close(theirs)
        self._screen = pyte.Screen(100, 30)
        self._stream = pyte.ByteStream(self._screen)
        self.output = ""

    @property
    def shown(self) -> str:
        """What the screen shows now."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def read_until(self, *words: str, seconds: float = 40.0) -> None:
        """Wait until the screen shows all of this."""
        end = time.monotonic() + seconds
        while not all(word in self.shown for word in words):
            assert time.monotonic() < end, self.shown
            self._read(0.2)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], seconds)
        try:
            data = os.read(self._ours, 65_536) if ready else b""
        except OSError:  # the other end is closed
            return False
        self._stream.feed(data)
        self.output += data.decode(errors="replace")
        return True

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self._ours, key.encode())

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while self.job.process.poll() is None:
            self._read(0.1)
        while self._read(0.1) and select.select([self._ours], [], [], 0.1)[0]:
            pass
        return self.job.end()

    def close(self) -> None:
        self.job.clean_up()
        os.close(self._ours)


Open = Callable[..., Terminal]


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Open]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(tmp_path, *arguments))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def test_keys_disturb_the_site_and_it_recovers(open_terminal: Open, tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    terminal = open_terminal("--nodes", "2", "--heartbeat-timeout", "1.5", "--report", str(report), "--page-port", "0")
    terminal.read_until("edge-1", "edge-2", "http://127.0.0.1:")
    address = terminal.shown.partition("http://127.0.0.1:")[2].partition("/")[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{address}/", timeout=10) as overview:
        site = overview.url
    with urllib.request.urlopen(f"{site}nodes", timeout=10) as nodes:
        assert b"edge-1" in nodes.read()
    terminal.read_until("2 scopes")  # what the fourth key edits
    for key, words in (
        ("c", "the cloud link is cut"),
        ("h", "hangs: its process is stopped"),
        ("h", "continues"),
        ("c", "the cloud link is back"),
        ("e", "was edited in the cloud: version"),
        ("k", "was killed; it starts again in 3 s"),
    ):
        terminal.press(key)
        terminal.read_until(words)
    terminal.read_until("unhealthy", "recovered")
    terminal.press("q")
    assert terminal.end() == 0, terminal.output[-3000:]
    terminal.job.assert_nothing_is_left()
    assert "edge-redis up, live: operator after" in terminal.output
    found = json.loads(report.read_text())
    assert sum(node["restarts"] for node in found["nodes"].values()) == 1
    assert found["failures"] == {}
    assert found["sync"]["all_equal"] is True


def test_ctrl_c_in_the_application_ends_it_with_a_report(open_terminal: Open) -> None:
    terminal = open_terminal("--nodes", "1", "--no-page")
    terminal.read_until("healthy", "Kill")
    terminal.press("\x03")
    assert terminal.end() == 130, terminal.output[-3000:]
    terminal.job.assert_nothing_is_left()
    assert "edge-redis up, live: SIGINT after" in terminal.output
    assert "both ends equal" in terminal.output
