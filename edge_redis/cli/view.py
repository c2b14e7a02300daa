"""Views of a running demo site: tables that are updated in place, plain lines, or nothing; and a page beside them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Final

from edge_redis._site.demo import RunningSite, View
from edge_redis._site.report import Report
from edge_redis.cli import text

_LINE_SECONDS: Final = 2.0
DEFAULT_PORT: Final = 8321
"""Port of the page."""


class QuietView:
    """Shows nothing."""

    def attach(self, site: RunningSite) -> AbstractContextManager[object]:
        """Need no access to the site."""
        return nullcontext(site)

    def show(self, report: Report) -> None:
        """Show nothing."""

    def log(self, line: str) -> None:
        """Show nothing."""


class LineView:
    """Prints a line every two seconds: for a pipe, a file, or a terminal without rich."""

    def __init__(self) -> None:
        self._next = 0.0

    def attach(self, site: RunningSite) -> AbstractContextManager[object]:
        """Need no access to the site."""
        return nullcontext(site)

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


class PagedView:
    """A view of a site that is also served as a page in a browser.

    Args:
        view: the view.
        port: of the page; None: the usual one, or a free one where that is taken.

    """

    def __init__(self, view: View, port: int | None) -> None:
        self._view = view
        self._port = port
        self.show = view.show
        self.log = view.log

    @contextmanager
    def attach(self, site: RunningSite) -> Iterator[None]:
        """Serve the page while the site runs."""
        with self._serve(site) as page:
            self.log(f"the page is at {page.url}")
            with self._view.attach(replace(site, page_url=page.url)):
                yield

    def _serve(self, site: RunningSite) -> Any:
        from edge_redis._site.replayed import WatchedSite
        from edge_redis.dashboard._serve import PageThread, free_port
        from edge_redis.dashboard._serve_options import ServeOptions
        from edge_redis.settings import Settings

        port = free_port(DEFAULT_PORT) if self._port is None else self._port
        cloud_url = None if site.cloud_url == site.url else site.cloud_url
        settings = Settings(url=site.url, cloud_url=cloud_url, heartbeat_timeout=site.heartbeat_timeout)
        return PageThread(
            ServeOptions(
                settings=settings,
                namespaces=[site.namespace],
                host="127.0.0.1",
                port=port,
                open_edge=lambda client, namespace: WatchedSite(
                    client,
                    namespace=namespace,
                    heartbeat_timeout=site.heartbeat_timeout,
                    cache_size=site.cache_size,
                    pace=site.pace,
                ),
            )
        )


def is_terminal() -> bool:
    """Return whether output goes to a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def choose_view(*, is_quiet: bool) -> AbstractContextManager[View]:
    """Return tables when output is a terminal and rich is installed, otherwise lines."""
    if is_quiet:
        return nullcontext(QuietView())
    if is_terminal():
        try:
            from edge_redis.cli.live import LiveView
        except ImportError:
            return nullcontext(LineView())
        return LiveView()
    return nullcontext(LineView())
