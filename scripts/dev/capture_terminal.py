#!/usr/bin/env python3
"""Run a command in a terminal of a given size and write its last screen as an SVG picture.

    .venv/bin/python scripts/dev/capture_terminal.py docs/images/up.svg --seconds 20 -- edge-redis up

The picture refers to no other host. Without ``--seconds`` the command runs to its end.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import pyte
from pyte.screens import Char

NO_BREAK = "\u00a0"  # SVG would join plain spaces
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.4, 18, 14
FOREGROUND, BACKGROUND = "#d4d7dd", "#1b1f27"
COLORS = {
    "black": "#5c6370",
    "red": "#f07178",
    "green": "#9ece6a",
    "brown": "#e6c07b",
    "blue": "#7aa2f7",
    "magenta": "#c792ea",
    "cyan": "#7dcfff",
    "white": "#e6e9ef",
}


def run_in_terminal(words: Sequence[str], columns: int, lines: int, seconds: float | None) -> pyte.Screen:
    """Return the screen that a command leaves, or has after some seconds; it is then interrupted."""
    screen = pyte.Screen(columns, lines)
    stream = pyte.ByteStream(screen)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(lines)}
        os.execvp(words[0], [*words])  # noqa: S606 -- the command that was asked for
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    end = None if seconds is None else time.monotonic() + seconds
    for output in read_until(terminal, end):
        stream.feed(output)
    if end is not None:
        os.kill(pid, signal.SIGINT)
        for _ in read_until(terminal, time.monotonic() + 30):
            pass
    os.waitpid(pid, 0)
    return screen


def read_until(terminal: int, end: float | None) -> Iterator[bytes]:
    """Yield output until the command ends or the time has come."""
    while end is None or time.monotonic() < end:
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if ready:
            output = b""
            with contextlib.suppress(OSError):  # how Linux says that the other side is closed
                output = os.read(terminal, 1 << 16)
            if not output:
                return
            yield output


def color_of(name: str, default: str) -> str:
    """Return a terminal's colour as SVG writes it."""
    if name == "default":
        return default
    plain = name.removeprefix("bright")
    return COLORS.get(plain, f"#{name}" if len(name) == 6 else default)  # noqa: PLR2004 -- hexadecimal


def colors_of(cell: Char) -> tuple[str, str]:
    """Return a cell's colours as they are seen: of the text and behind it."""
    ink, paper = color_of(cell.fg, FOREGROUND), color_of(cell.bg, BACKGROUND)
    return (paper, ink) if cell.reverse else (ink, paper)


def svg(screen: pyte.Screen, title: str) -> str:
    """Return a screen as SVG, without the empty lines at its end."""
    rows = [[screen.buffer[y][x] for x in range(screen.columns)] for y in range(screen.lines)]
    while rows and not "".join(cell.data for cell in rows[-1]).strip():
        rows.pop()
    width = screen.columns * CELL_WIDTH + 2 * MARGIN
    height = len(rows) * CELL_HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
        '<g font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="14">',
    ]
    for y, row in enumerate(rows):
        parts += runs(row, MARGIN + (y + 0.75) * CELL_HEIGHT)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def runs(row: Sequence[Char], baseline: float) -> Iterator[str]:
    """Yield a line's text in pieces of one style."""
    x = 0
    for (ink, paper, bold), cells in groupby(row, key=lambda cell: (*colors_of(cell), cell.bold)):
        text = "".join(cell.data for cell in cells)
        if paper != BACKGROUND:
            top = baseline - 0.75 * CELL_HEIGHT
            place = f'x="{MARGIN + x * CELL_WIDTH:.1f}" y="{top:.1f}" width="{len(text) * CELL_WIDTH:.1f}"'
            yield f'<rect {place} height="{CELL_HEIGHT}" fill="{paper}"/>'
        if text.strip():
            weight = ' font-weight="bold"' if bold else ""
            place = f'x="{MARGIN + x * CELL_WIDTH:.1f}" y="{baseline:.1f}" textLength="{len(text) * CELL_WIDTH:.1f}"'
            shown = escape(text).replace(" ", NO_BREAK)
            yield f'<text {place} fill="{ink}"{weight}>{shown}</text>'
        x += len(text)


def main() -> int:
    """Capture one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("words", nargs="+", help="the command, after --")
    asked = parser.parse_args()
    screen = run_in_terminal(asked.words, asked.columns, asked.lines, asked.seconds)
    asked.picture.parent.mkdir(parents=True, exist_ok=True)
    asked.picture.write_text(svg(screen, " ".join(asked.words)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
