"""The application: its screen, its keys, and the reading of the site's state."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import ContentSwitcher, Footer, Static

from edge_redis._site.reader import SiteReader
from edge_redis._site.state import SiteState
from edge_redis.cli._top import bars, details, overview, tables
from edge_redis.cli._top.live_table import LiveTable
from edge_redis.cli._top.styles import WARN, line, word
from edge_redis.cli.failures import describe
from edge_redis.errors import EdgeRedisError

VIEWS: Final = ("overview", "nodes", "functions", "sync", "events")
_DETAILS: Final = {"nodes": "node", "functions": "function", "sync": "scope", "events": "node"}
_PANELS: Final = ("fleet", "calls", "cache", "scopes", "news")
_BORDER: Final = 4  # a panel's border and padding, at both sides


class TopApp(App[None]):
    """Shows a site's state and reads it again every ``interval`` seconds.

    Args:
        open_site: opens the reader of the site, on the event loop of the application.
        interval: seconds between two readings.

    """

    TITLE = "edge-redis top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #title, #views { height: 1; padding: 0 1; }
    #title { background: $primary-background; }
    #body { height: 1fr; }
    #overview { layout: grid; grid-size: 2 3; grid-rows: 1fr 6 1fr; }
    .panel {
        height: 100%; padding: 0 1;
        border: round $surface-lighten-2; border-title-color: $text; border-title-style: bold;
    }
    #news { column-span: 2; }
    #detail { padding: 0 1; }
    Static { text-wrap: nowrap; text-overflow: ellipsis; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"show('{name}')", name, show=False) for number, name in enumerate(VIEWS, 1)),
        Binding("tab", "turn(1)", "Next view", priority=True),
        Binding("shift+tab", "turn(-1)", "Previous view", show=False, priority=True),
        Binding("enter", "open", "Open", priority=True),
        Binding("escape,backspace", "back", "Back"),
        Binding("s", "sort", "Sort"),
        Binding("p", "pause", "Pause"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(
        self, open_site: Callable[[], AbstractAsyncContextManager[SiteReader]], *, interval: float = 1.0
    ) -> None:
        super().__init__()
        self._open_site = open_site
        self._interval = interval
        self._stack = AsyncExitStack()
        self._reader: SiteReader | None = None
        self._state: SiteState | None = None
        self._view = VIEWS[0]
        self._opened: tuple[str, str] | None = None
        self._sort = tables.SORTS[0]
        self._problem = ""
        self._is_paused = False
        self._is_reading = False

    def compose(self) -> ComposeResult:
        """Make the widgets: title, views, the view itself, keys."""
        yield Static(id="title")
        yield Static(id="views")
        with ContentSwitcher(initial="overview", id="body"):
            with Container(id="overview"):
                for name, title in zip(_PANELS, ("nodes", "functions", "cache", "sync", "events"), strict=True):
                    panel = Static(id=name, classes="panel")
                    panel.border_title = title
                    yield panel
            for name in VIEWS[1:]:
                yield LiveTable(id=name)
            with VerticalScroll(id="detail"):
                yield Static(id="text")
        yield Footer(show_command_palette=False)

    async def on_mount(self) -> None:
        """Open the site, and read it from now on."""
        self.theme = "textual-dark"
        self._reader = await self._stack.enter_async_context(self._open_site())
        self._show_bars()
        self.set_interval(self._interval, self.refresh_state)
        self.refresh_state()

    async def on_unmount(self) -> None:
        """Close the site."""
        await self._stack.aclose()

    def refresh_state(self) -> None:
        """Read the state in the background, unless a reading is under way or the display is paused."""
        if not self._is_reading and not self._is_paused:
            self._is_reading = True
            self.run_worker(self._read())

    async def _read(self) -> None:
        try:
            self._state = await self._require_reader().state()
            self._problem = ""
            await self._show()
        except EdgeRedisError as error:
            self._problem = describe(error)
        finally:
            self._is_reading = False
        self._show_bars()

    def _write(self, name: str, text: Text) -> None:
        """Show a text in the widget of this name; nowhere once the application ends and has no widgets."""
        for widget in self.query(f"#{name}").results(Static):
            widget.update(text)

    def _require_reader(self) -> SiteReader:
        assert self._reader is not None, "set by on_mount"
        return self._reader

    def _show_bars(self) -> None:
        self._write("title", self._title_line())
        self._write("views", bars.views(VIEWS, self._view, self._opened, self._sort))

    def _title_line(self) -> Text:
        return bars.title(self._state, self._problem, is_paused=self._is_paused)

    async def _show(self) -> None:
        """Show the newest state in the view that is open."""
        state = self._state
        if state is None:
            return
        if self._opened is not None:
            await self._show_detail(*self._opened)
        elif self._view == "overview":
            self._show_overview(state)
        else:
            table = await self._table(state)
            for widget in self.query(f"#{self._view}").results(LiveTable):
                widget.show(table, self.size.width - 2)

    async def _table(self, state: SiteState) -> tables.Table:
        if self._view == "functions":
            found = tables.sort_functions(state, self._sort)
            reader = self._require_reader()
            return tables.functions(found, await reader.minute_totals(each.name for each in found[: tables.SPARKLINES]))
        makers = {"nodes": tables.nodes, "sync": tables.scopes, "events": tables.events}
        return makers[self._view](state)

    def _show_overview(self, state: SiteState) -> None:
        half = self.size.width // 2 - _BORDER
        height = max((panel.size.height for panel in self.query("#news")), default=1)
        texts = (
            overview.fleet(state, height),
            overview.functions(state, half),
            overview.cache(state, half),
            overview.sync(state, half),
            overview.events(state, height),
        )
        for name, text in zip(_PANELS, texts, strict=True):
            self._write(name, text)

    async def _show_detail(self, kind: str, name: str) -> None:
        reader, width = self._require_reader(), self.size.width - _BORDER
        readers: dict[str, tuple[Callable[[str], Any], Callable[[Any, int], Text]]] = {
            "node": (reader.node, details.node),
            "function": (reader.function, details.function),
            "scope": (reader.scope, details.scope),
        }
        read, render = readers[kind]
        found = await read(name)
        gone = line(word(name, "bold"), (f"  this {kind} is not there any more", WARN))
        self._write("text", gone if found is None else render(found, width))

    async def _go(self, view: str, opened: tuple[str, str] | None = None) -> None:
        self._view, self._opened = view, opened
        shown = view if opened is None else "detail"
        self.query_one("#body", ContentSwitcher).current = shown
        self.query_one(f"#{shown}").focus()
        self._show_bars()
        try:
            await self._show()
        except EdgeRedisError as error:
            self._problem = describe(error)
            self._show_bars()

    async def action_show(self, view: str) -> None:
        """Show a view."""
        await self._go(view)

    async def action_turn(self, step: int) -> None:
        """Show the next or the previous view."""
        await self._go(VIEWS[(VIEWS.index(self._view) + step) % len(VIEWS)])

    async def action_open(self) -> None:
        """Open the row under the cursor."""
        if self._view == "overview" or self._opened is not None:
            return
        chosen = self.query_one(f"#{self._view}", LiveTable).chosen
        name = chosen.partition(":")[2] if chosen and self._view == "events" else chosen
        if name:
            await self._go(self._view, (_DETAILS[self._view], name))

    async def action_back(self) -> None:
        """Go back to the list, or from a list to the overview."""
        await self._go(self._view if self._opened is not None else VIEWS[0])

    async def action_sort(self) -> None:
        """Sort the functions by the next figure."""
        self._sort = tables.SORTS[(tables.SORTS.index(self._sort) + 1) % len(tables.SORTS)]
        await self._go("functions")

    def action_pause(self) -> None:
        """Stop reading, or go on."""
        self._is_paused = not self._is_paused
        self._show_bars()

    async def on_resize(self) -> None:
        """Fit the view to the new size."""
        await self._show()
