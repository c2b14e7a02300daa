"""The views by their names in URLs; the functions of overview, cache and events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge_redis._site.reader import SiteReader
from edge_redis._site.state import Event
from edge_redis.dashboard import _charts as charts
from edge_redis.dashboard._query import Context, Query, make_table, matches
from edge_redis.dashboard._view_functions import chart_minutes, read_function, read_functions
from edge_redis.dashboard._view_nodes import read_node, read_nodes, urgency
from edge_redis.dashboard._view_scopes import read_conflict, read_letter, read_scope, read_sync

_FEW: Final = 8
_EVENTS: Final = 12
_KEYS: Final = 100


@dataclass(frozen=True, slots=True)
class View:
    """A page: its title, the live blocks of its template, and the function that reads its data.

    ``read`` returns None where the URL names something that does not exist.
    """

    title: str
    blocks: tuple[str, ...]
    read: Callable[[SiteReader, Query], Awaitable[Context | None]]
    group: str
    """The entry of the navigation that it belongs to."""
    parameter: str = ""
    """The parameter with the name of the node, function or scope."""


async def read_overview(reader: SiteReader, _: Query) -> Context:
    """Return the figures of all services."""
    state = await reader.state()
    unwell = [node for node in state.fleet.nodes if node.verdict != "healthy" or node.flapping]
    failing = [function for function in state.functions.functions if function.errors]
    waiting = [scope for scope in state.sync.scopes if scope.pending or scope.conflicts]
    return {
        "state": state,
        "unwell": sorted(unwell, key=urgency)[:_FEW],
        "unwell_count": len(unwell),
        "failing": sorted(failing, key=lambda function: -function.errors)[:_FEW],
        "waiting": sorted(waiting, key=lambda scope: (-scope.lag_seconds, -scope.pending, scope.scope))[:_FEW],
        "events": state.events[:_EVENTS],
        **chart_minutes(state.minutes),
    }


async def read_cache(reader: SiteReader, query: Query) -> Context:
    """Return the cache's statistics, and the entry of a key where one is given."""
    found = await reader.cache()
    rates = [100.0 * sample.stats["hits"] / sample.requests if sample.requests else 0.0 for sample in found.samples]
    sizes = [sample.stats["size"] for sample in found.samples]
    count = max(len(found.samples) - 1, 1)
    xs = [at / count for at in range(len(found.samples))]
    key = query.get("key")
    entry = await reader.cache_entry(key) if key else None
    return {
        "cache": found.now,
        "samples": found.samples,
        "rate_chart": charts.lines(xs, [rates], most=100.0),
        "size_chart": charts.lines(xs, [sizes], most=float(max([*sizes, 1]))),
        "most_entries": max(sizes),
        "keys": await reader.cache_keys(_KEYS),
        "key": key,
        "entry": entry,
    }


_EVENT_SORTS: Final[Mapping[str, tuple[str, Callable[[Event], Any]]]] = {"at": ("Time", lambda event: event.at)}


async def read_events(reader: SiteReader, query: Query) -> Context:
    """Return one page of events."""
    text, kind = query.get("q"), query.get("kind")
    chosen = [
        event
        for event in await reader.events()
        if (not kind or event.kind == kind)
        and (not text or matches(text, event.target, event.name, event.detail, event.operator))
    ]
    return {"table": make_table(chosen, query, _EVENT_SORTS, "-at")}


VIEWS: Final[Mapping[str, View]] = {
    "overview": View(
        "Overview", ("figures", "calls", "unwell", "failing", "waiting", "events"), read_overview, "overview"
    ),
    "nodes": View("Nodes", ("counts", "list"), read_nodes, "nodes"),
    "node": View("Node", ("verdict", "history", "functions", "events"), read_node, "nodes", "id"),
    "functions": View("Functions", ("calls", "list"), read_functions, "functions"),
    "function": View(
        "Function", ("figures", "calls", "latency", "nodes", "errors"), read_function, "functions", "name"
    ),
    "cache": View("Cache", ("figures", "charts", "entry", "keys"), read_cache, "cache"),
    "sync": View("Sync", ("figures", "list", "letters"), read_sync, "sync"),
    "scope": View(
        "Scope", ("figures", "ends", "conflicts", "pending", "letters", "history"), read_scope, "sync", "name"
    ),
    "conflict": View("Conflict", ("sides",), read_conflict, "sync", "id"),
    "letter": View("Dead letter", ("letter",), read_letter, "sync", "id"),
    "events": View("Events", ("list",), read_events, "events"),
}
"""The views by their names in URLs."""
