"""The views of syncing: scopes, conflicts and dead letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from edge_redis._site.reader import SiteReader
from edge_redis._site.scope_state import ScopeState, SyncSample
from edge_redis._site.state_rows import compare_fields
from edge_redis.dashboard import _charts as charts
from edge_redis.dashboard._query import Context, Query, make_table, matches

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
        "pushed_a_second": _push_rate(found.samples),
    }


def _push_rate(samples: Sequence[SyncSample]) -> float:
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
