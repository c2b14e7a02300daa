"""`edge-redis up` in a terminal: the site as `edge-redis top` shows it, with keys to disturb it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Static

from edge_redis import aio
from edge_redis._site.demo import DemoSite, RunningSite
from edge_redis._site.reader import SiteReader
from edge_redis._site.replayed import WatchedSite
from edge_redis._site.report import Report
from edge_redis._site.stop_request import TERMINAL_SIGNALS, StopFlag
from edge_redis.cli._top.app import TopApp
from edge_redis.cli._top.live_table import LiveTable
from edge_redis.cli._top.styles import BAD, DIM, WARN, line, shorten_path
from edge_redis.cli.output import printable

_LOG_LINES: Final = 3
_POLL_SECONDS: Final = 0.2
_CLOSE_SECONDS: Final = 5.0
OPERATOR: Final = "up"
"""The operator under whose name what is done by key is recorded."""


class TerminalView:
    """The view of a site that runs in another thread than the application."""

    def __init__(self) -> None:
        self.site: Future[RunningSite] = Future()
        self.lines: deque[str] = deque(maxlen=_LOG_LINES)
        self.is_over = threading.Event()
        """The site is about to end: the application closes."""
        self.is_closed = threading.Event()
        """The application has closed its connections."""

    @contextmanager
    def attach(self, site: RunningSite) -> Iterator[None]:
        """Let the application open the site; it closes it before the site ends."""
        self.site.set_result(site)
        try:
            yield
        finally:
            self.is_over.set()
            self.is_closed.wait(_CLOSE_SECONDS)

    def show(self, report: Report) -> None:
        """Do nothing: the application reads the site itself."""

    def log(self, line: str) -> None:
        """Show an event below the view."""
        self.lines.append(f"{datetime.now(UTC):%H:%M:%S}  {line}")


class UpApp(TopApp):
    """Shows a running demo site, and disturbs it by key.

    Args:
        site: the running site.
        view: its view.
        stop: what ends it.

    """

    TITLE = "edge-redis up"
    CSS = TopApp.CSS + f"#log {{ height: {_LOG_LINES}; padding: 0 1; }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "kill", "Kill"),
        Binding("h", "hang", "Hang"),
        Binding("c", "cut", "Cut cloud"),
        Binding("e", "edit", "Edit cloud"),
        Binding("s", "sort", "Sort", show=False),
        Binding("p", "pause", "Pause", show=False),
        Binding("escape,backspace", "back", "Back", show=False),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
    ]

    def __init__(self, site: RunningSite, view: TerminalView, stop: StopFlag) -> None:
        super().__init__(lambda: _open_reader(site))
        self._site = site
        self._site_view = view
        self._stop = stop

    async def on_mount(self) -> None:
        """Show the log, hear signals, and close when the site ends."""
        await self.mount(Static(id="log"), before=self.query_one(Footer))
        self.set_interval(_POLL_SECONDS, self._watch_site)
        loop = asyncio.get_running_loop()
        for number in TERMINAL_SIGNALS:
            loop.add_signal_handler(number, self._stop.request, number)

    async def on_unmount(self) -> None:
        """Give the signals back."""
        loop = asyncio.get_running_loop()
        for number in TERMINAL_SIGNALS:
            loop.remove_signal_handler(number)

    def _watch_site(self) -> None:
        width = self.query_one("#log").content_size.width
        rows = [shorten_path(printable(each), width) for each in list(self._site_view.lines)]
        self._write("log", Text("\n".join(rows), style=DIM))
        if self._site_view.is_over.is_set():
            self.exit()

    def _title_line(self) -> Text:
        if self._stop.is_requested:
            return line((" ending ", "bold reverse"), "  pending changes go to the cloud; q again ends at once")
        page = f"  {self._site.page_url}" if self._site.page_url else ""
        link = "  cloud link cut" if self._site.controls.is_link_cut else ""
        return line(super()._title_line(), (link, BAD), (page, WARN))

    def _chosen_row(self, view: str) -> str:
        """Return the row that is open or under the cursor in a view; empty where none is."""
        if self._view != view:
            return ""
        return self._opened[1] if self._opened is not None else self.query_one(f"#{view}", LiveTable).chosen or ""

    def _node(self) -> str:
        """Return the node that a key is for: the chosen one, else the first healthy one."""
        known = self._site.controls.node_ids
        chosen = self._chosen_row("nodes")
        if chosen in known:
            return chosen
        nodes = self._state.fleet.nodes if self._state is not None else ()
        healthy = [node.id for node in nodes if node.verdict == "healthy" and node.id in known]
        return (healthy or known)[0]

    async def action_kill(self) -> None:
        """Kill the process of a node."""
        node = self._node()
        await self._record("kill", node)
        self._site.controls.kill(node)

    async def action_hang(self) -> None:
        """Stop the process of a node, or continue it."""
        node = self._chosen_row("nodes") or self._site.controls.paused_node or self._node()
        if node in self._site.controls.node_ids:
            await self._record("continue" if node == self._site.controls.paused_node else "hang", node)
            self._site.controls.toggle_pause(node)

    async def action_cut(self) -> None:
        """Cut the link to the cloud, or restore it."""
        await self._record("restore link" if self._site.controls.is_link_cut else "cut link", "cloud")
        self._site.controls.toggle_link()

    async def action_edit(self) -> None:
        """Write a field of a scope in the cloud."""
        scopes = self._state.sync.scopes if self._state is not None else ()
        scope = self._chosen_row("sync") or (scopes[0].scope if scopes else "")
        if not scope:
            self.notify("There is no scope yet.")
            return
        await self._record("edit in cloud", scope)
        self._site.controls.edit(scope)

    async def _record(self, action: str, target: str) -> None:
        await self._require_reader().actions.record(OPERATOR, action, target)

    async def action_quit(self) -> None:
        """End the site; again, at once."""
        self._stop.request()
        self._show_bars()

    def action_interrupt(self) -> None:
        """End the site as Ctrl-C does."""
        self._stop.request(signal.SIGINT)
        self._show_bars()


def run_in_terminal(view: TerminalView, stop: StopFlag, site: DemoSite) -> Report:
    """Run a site in a thread and the application in this one; return the site's report.

    Raises:
        EdgeRedisError: what the site's run raised.

    """
    report: Future[Report] = Future()

    def run() -> None:
        try:
            report.set_result(site.run())
        except BaseException as error:  # noqa: BLE001 -- raised again below
            report.set_exception(error)
            if not view.site.done():
                view.site.set_exception(error)

    thread = threading.Thread(target=run, name="edge-redis-site")
    thread.start()
    try:
        UpApp(view.site.result(), view, stop).run()
    finally:
        view.is_closed.set()
        if not view.is_over.is_set():
            stop.request(signal.SIGINT)  # an interruption before the application, or its failure
        thread.join()
    return report.result()


@asynccontextmanager
async def _open_reader(site: RunningSite) -> AsyncIterator[SiteReader]:
    async with AsyncExitStack() as stack:
        client = aio.connect(site.url)
        stack.push_async_callback(client.aclose)
        edge = await stack.enter_async_context(
            WatchedSite(
                client,
                namespace=site.namespace,
                heartbeat_timeout=site.heartbeat_timeout,
                cache_size=site.cache_size,
                pace=site.pace,
            )
        )
        cloud = None
        if site.cloud_url != site.url:
            cloud = aio.connect(site.cloud_url)
            stack.push_async_callback(cloud.aclose)
        reader = SiteReader(edge, cloud)
        stack.push_async_callback(reader.close)
        yield reader
