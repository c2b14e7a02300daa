"""The actions of operators. Each is recorded with the operator's name before it is performed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from edge_redis._site.operator_input import parse_duration, parse_object
from edge_redis._site.reader import SiteReader
from edge_redis._site.scope_settings import read_settings
from edge_redis.dashboard._visitors import Visitor
from edge_redis.errors import InvalidArgumentError

_MAX_REASON: Final = 200
_MAX_LETTERS: Final = 100


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The page to show after an action, and the notice on it."""

    page: str
    notice: str


NOTICES: Final[Mapping[str, str]] = {
    "maintenance": "The node is in maintenance.",
    "ended": "The maintenance is over.",
    "not-ended": "The node was not in maintenance.",
    "replayed": "The dead letters were tried once more; those that failed again are below.",
    "discarded": "The dead letter was discarded.",
    "gone": "The dead letter was not there any more.",
    "resolved": "The conflict is resolved by a new version.",
}
"""The notices after actions, by their names in URLs: no text comes from the URL itself."""


async def begin_maintenance(reader: SiteReader, form: Mapping[str, str], visitor: Visitor) -> ActionResult:
    """Put a node in maintenance."""
    node = form.get("node", "")
    given, reason = form.get("duration", "").strip(), form.get("reason", "").strip()[:_MAX_REASON]
    seconds = parse_duration(given) if given else None
    await reader.actions.record(visitor.name, "maintenance", node, f"for {given or 'an open time'}: {reason}")
    await reader.edge.health.set_maintenance(node, seconds, f"{reason} (by {visitor.name})".strip())
    return ActionResult(f"node?{urlencode({'id': node})}", "maintenance")


async def end_maintenance(reader: SiteReader, form: Mapping[str, str], visitor: Visitor) -> ActionResult:
    """End a node's maintenance."""
    node = form.get("node", "")
    await reader.actions.record(visitor.name, "end maintenance", node)
    was_in_one = await reader.edge.health.end_maintenance(node)
    return ActionResult(f"node?{urlencode({'id': node})}", "ended" if was_in_one else "not-ended")


async def replay(reader: SiteReader, _: Mapping[str, str], visitor: Visitor) -> ActionResult:
    """Try the oldest dead letters once more."""
    await reader.actions.record(visitor.name, "replay", "dead letters", f"the oldest {_MAX_LETTERS}")
    await reader.worker.replay_dead_letters(_MAX_LETTERS)
    return ActionResult("sync", "replayed")


async def discard(reader: SiteReader, form: Mapping[str, str], visitor: Visitor) -> ActionResult:
    """Discard a dead letter."""
    given = form.get("id", "")
    letter = next((each for each in await reader.worker.dead_letters(_MAX_LETTERS) if each["id"] == given), None)
    if letter is None:
        return ActionResult("sync", "gone")
    await reader.actions.record(visitor.name, "discard", letter["scope"], f"version {letter['version']}, {given}")
    removed = await reader.worker.discard_dead_letters([given])
    return ActionResult("sync", "discarded" if removed else "gone")


async def resolve(reader: SiteReader, form: Mapping[str, str], visitor: Visitor) -> ActionResult:
    """Resolve a conflict by a new version of its scope."""
    scope, conflict, choice = form.get("scope", ""), form.get("conflict", ""), form.get("choice", "")
    settings = await reader.runner.run(read_settings(reader.edge.namespace, scope))
    async with reader.edge.synchronizer(scope, **settings) as synchronizer:
        data: dict[str, Any] | None = None  # the losing side
        if choice == "data":
            data = parse_object("the data", form.get("data", ""))
        elif choice == "present":
            state = await synchronizer.get_local_state()
            data = state.data if state else {}
        elif choice != "lost":
            raise InvalidArgumentError("the form does not say which side to keep")
        await reader.actions.record(visitor.name, "resolve", scope, f"conflict {conflict}: keep {choice}")
        await synchronizer.resolve(conflict, data)
    return ActionResult(f"scope?{urlencode({'name': scope})}", "resolved")


ACTIONS: Final[Mapping[str, Callable[[SiteReader, Mapping[str, str], Visitor], Awaitable[ActionResult]]]] = {
    "maintenance": begin_maintenance,
    "end-maintenance": end_maintenance,
    "replay": replay,
    "discard": discard,
    "resolve": resolve,
}
"""The actions by their names in URLs."""
