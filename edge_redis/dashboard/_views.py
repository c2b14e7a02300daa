"""The views: what each reads of a site, and the blocks of its template that are kept up to date."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from edge_redis._site.function_state import FunctionState, Minute
from edge_redis._site.node_state import NodeState, Spell
from edge_redis._site.reader import SiteReader
from edge_redis._site.scope_state import ScopeState
from edge_redis._site.state import Event
from edge_redis._site.state_rows import compare_fields, list_spells
from edge_redis.dashboard import _charts as charts
from edge_redis.dashboard._query import Query, make_table, matches
from edge_redis.models import utc_now

Context: TypeAlias = dict[str, Any]
_FEW: Final = 8
_EVENTS: Final = 12
_KEYS: Final = 100
_VERDICTS: Final = {"unhealthy": 0, "maintenance": 1, "healthy": 2}
_BAR_HOURS: Final = 6


@dataclass(frozen=True, slots=True)
class View:
    """A page: its title, the live blocks of its template, and how its data is read (None: there is no such thing)."""

    title: str
    blocks: tuple[str, ...]
    read: Callable[[SiteReader, Query], Awaitable[Context | None]]
    group: str
    """The entry of the navigation that it belongs to."""
    parameter: str = ""
    """The parameter that names what is shown."""


async def read_overview(reader: SiteReader, _: Query) -> Context:
    """Return the figures of all services."""
    state = await reader.state()
    unwell = [node for node in state.fleet.nodes if node.verdict != "healthy" or node.flapping]
    failing = [function for function in state.functions.functions if function.errors]
    waiting = [scope for scope in state.sync.scopes if scope.pending or scope.conflicts]
    return {
        "state": state,
        "unwell": sorted(unwell, key=_urgency)[:_FEW],
        "unwell_count": len(unwell),
        "failing": sorted(failing, key=lambda function: -function.errors)[:_FEW],
        "waiting": sorted(waiting, key=lambda scope: (-scope.lag_seconds, -scope.pending, scope.scope))[:_FEW],
        "events": state.events[:_EVENTS],
        **_minutes(state.minutes),
    }


def _minutes(minutes: Sequence[Minute]) -> Context:
    """Return the chart of invocations, and the rate of the last whole minute."""
    last = minutes[-2] if len(minutes) > 1 else None
    return {
        "minutes": minutes,
        "minutes_chart": charts.bars([each.total for each in minutes], [each.errors for each in minutes]),
        "most_a_minute": max((each.total for each in minutes), default=0),
        "rate": (last.total if last else 0) / 60,
    }


def _urgency(node: NodeState) -> tuple[int, bool, str]:
    return _VERDICTS[node.verdict], not node.flapping, node.id


_NODE_SORTS: Final[Mapping[str, tuple[str, Callable[[NodeState], Any]]]] = {
    "id": ("Node", lambda node: node.id),
    "verdict": ("Verdict", _urgency),
    "age": ("Heartbeat", lambda node: node.heartbeat_age_seconds),
    "location": ("Location", lambda node: node.location),
    "status": ("Reported", lambda node: node.status),
    "cpu": ("CPU", lambda node: node.cpu_percent),
    "memory": ("Memory", lambda node: node.memory_percent),
}


async def read_nodes(reader: SiteReader, query: Query) -> Context:
    """Return one page of nodes."""
    fleet = await reader.fleet()
    verdict, text = query.get("verdict"), query.get("q")
    chosen = [
        node
        for node in fleet.nodes
        if (not verdict or node.verdict == verdict or (verdict == "flapping" and node.flapping))
        and (not text or matches(text, node.id, node.name, node.location, *node.capabilities))
    ]
    table = make_table(chosen, query, _NODE_SORTS, "verdict")
    spells, start, end = await _list_recent_spells(reader, table.rows)
    return {
        "fleet": fleet,
        "table": table,
        "bars": {name: charts.spell_bar(found, start, end) for name, found in spells.items()},
        "availability": {node.id: await reader.availability(node.id) for node in table.rows},
        "bar_hours": _BAR_HOURS,
    }


def _end_of_minute() -> datetime:
    """Return where the bars of states end: they move on once a minute, so that a page changes no more often."""
    return utc_now().replace(second=0, microsecond=0) + timedelta(minutes=1)


async def _list_recent_spells(
    reader: SiteReader, nodes: Sequence[NodeState]
) -> tuple[dict[str, Sequence[Spell]], Any, Any]:
    """Return each node's states of the last hours, and the start and the end of these hours."""
    end = _end_of_minute()
    start = end - timedelta(hours=_BAR_HOURS)
    changes = await reader.transitions()
    spells: dict[str, Sequence[Spell]] = {}
    for node in nodes:
        own = list_spells([change for change in changes if change.node_id == node.id], start, end)
        spells[node.id] = own or [Spell(state=node.verdict, start=start, end=end)]
    return spells, start, end


async def read_node(reader: SiteReader, query: Query) -> Context | None:
    """Return one node."""
    found = await reader.node(query.get("id"))
    if found is None:
        return None
    end = _end_of_minute()
    return {
        "node": found,
        "spell_bar": charts.spell_bar(found.spells, end - timedelta(days=1), end),
        "check_bar": charts.check_bar([check.healthy for check in found.checks]),
        "events": found.transitions,
    }


_FUNCTION_SORTS: Final[Mapping[str, tuple[str, Callable[[FunctionState], Any]]]] = {
    "name": ("Function", lambda function: function.name),
    "total": ("Calls", lambda function: function.total),
    "success": ("Success", lambda function: function.success_rate),
    "errors": ("Errors", lambda function: function.errors),
    "p50": ("p50", lambda function: function.p50_ms),
    "p95": ("p95", lambda function: function.p95_ms),
    "p99": ("p99", lambda function: function.p99_ms),
}


async def read_functions(reader: SiteReader, query: Query) -> Context:
    """Return one page of functions."""
    found = await reader.functions()
    text = query.get("q")
    chosen = [function for function in found.functions if not text or matches(text, function.name)]
    table = make_table(chosen, query, _FUNCTION_SORTS, "-total")
    minutes = {function.name: await reader.minutes(function.name) for function in table.rows}
    return {
        "functions": found,
        "table": table,
        "sparks": {name: charts.sparkline([each.total for each in rows[-31:-1]]) for name, rows in minutes.items()},
        "rates": {name: rows[-2].total for name, rows in minutes.items()},
        **_minutes(await reader.minutes()),
    }


async def read_function(reader: SiteReader, query: Query) -> Context | None:
    """Return one function."""
    found = await reader.function(query.get("name"))
    if found is None:
        return None
    points = found.latencies
    first = points[0].end if points else utc_now()
    span = (points[-1].end - first).total_seconds() or 1.0 if points else 1.0
    xs = [(point.end - first).total_seconds() / span for point in points]
    series = [[point.p50 for point in points], [point.p95 for point in points], [point.p99 for point in points]]
    return {
        "function": found,
        "latency_chart": charts.lines(xs, series),
        "most_ms": max((point.p99 for point in points), default=0.0),
        **_minutes(found.minutes),
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


_SCOPE_SORTS: Final[Mapping[str, tuple[str, Callable[[ScopeState], Any]]]] = {
    "name": ("Scope", lambda scope: scope.scope),
    "version": ("Version", lambda scope: scope.version),
    "lag": ("Lag", lambda scope: (scope.lag_seconds, scope.pending, scope.conflicts)),
    "pending": ("Pending", lambda scope: scope.pending),
    "conflicts": ("Conflicts", lambda scope: scope.conflicts),
}


async def read_sync(reader: SiteReader, query: Query) -> Context:
    """Return one page of scopes, the progress of syncing and the dead letters."""
    found = await reader.sync()
    text = query.get("q")
    chosen = [scope for scope in found.scopes if not text or matches(text, scope.scope)]
    pending = [sample.pending for sample in found.samples]
    count = max(len(pending) - 1, 1)
    return {
        "sync": found,
        "table": make_table(chosen, query, _SCOPE_SORTS, "-lag"),
        "letters": await reader.dead_letters(),
        "pending_chart": charts.lines([at / count for at in range(len(pending))], [pending]),
        "most_pending": max(pending),
        "pushed_a_second": _rate(found.samples),
    }


def _rate(samples: Sequence[Any]) -> float:
    """Return the changes pushed a second over the last samples."""
    recent = samples[-10:]
    seconds = (recent[-1].at - recent[0].at).total_seconds()
    return (recent[-1].pushed_total - recent[0].pushed_total) / seconds if seconds > 0 else 0.0


async def read_scope(reader: SiteReader, query: Query) -> Context | None:
    """Return one scope at both ends."""
    found = await reader.scope(query.get("name"))
    return None if found is None else {"scope": found}


async def read_conflict(reader: SiteReader, query: Query) -> Context | None:
    """Return one conflict of a scope: the losing side and the present state."""
    found = await reader.scope(query.get("name"))
    conflict = next((each for each in found.conflicts if each["id"] == query.get("id")), None) if found else None
    if found is None or conflict is None:
        return None
    return {
        "scope": found,
        "conflict": conflict,
        "fields": compare_fields(found.edge.data if found.edge else None, conflict["data"]),
    }


async def read_letter(reader: SiteReader, query: Query) -> Context | None:
    """Return one dead letter."""
    found = [letter for letter in await reader.dead_letters() if letter["id"] == query.get("id")]
    return {"letter": found[0]} if found else None


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
