"""Views of a running demo site: tables that are updated in place, plain lines, or nothing."""

from __future__ import annotations

import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from edge_redis._site.demo import View
from edge_redis._site.report import Report
from edge_redis.cli import text

_LINE_SECONDS: Final = 2.0


class QuietView:
    """Shows nothing."""

    def show(self, report: Report) -> None:
        """Show nothing."""

    def log(self, line: str) -> None:
        """Show nothing."""


class LineView:
    """Prints a line every two seconds: for a pipe, a file, or a terminal without rich."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, report: Report) -> None:
        """Print the current figures, at most every two seconds."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LINE_SECONDS
        ill = [name for name, node in report.nodes.items() if node.healthy is False]
        print(f"{text.total_line(report)}; {text.cache_line(report)}; {text.sync_line(report)}", flush=True)
        if ill:
            print(f"unhealthy: {', '.join(ill)}", flush=True)

    def log(self, line: str) -> None:
        """Print the event."""
        print(line, flush=True)


def choose_view(*, is_quiet: bool) -> AbstractContextManager[View]:
    """Return tables when output is a terminal and rich is installed, otherwise lines."""
    if is_quiet:
        return nullcontext(QuietView())
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        try:
            from edge_redis.cli.live import LiveView
        except ImportError:
            return nullcontext(LineView())
        return LiveView()
    return nullcontext(LineView())
