"""The views of nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from edge_redis._site.node_state import NodeState, Spell
from edge_redis._site.reader import SiteReader
from edge_redis._site.state_rows import list_spells
from edge_redis.dashboard import _charts as charts
from edge_redis.dashboard._query import Context, Query, make_table, matches
from edge_redis.models import utc_now

_VERDICTS: Final = {"unhealthy": 0, "maintenance": 1, "healthy": 2}
_BAR_HOURS: Final = 6


def urgency(node: NodeState) -> tuple[int, bool, str]:
    """Return the order of nodes: unhealthy ones first, and flapping ones first of each verdict."""
    return _VERDICTS[node.verdict], not node.flapping, node.id


_NODE_SORTS: Final[Mapping[str, tuple[str, Callable[[NodeState], Any]]]] = {
    "id": ("Node", lambda node: node.id),
    "verdict": ("Verdict", urgency),
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
