"""The routes of notifications: which transitions go to which addresses, when, and how often."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis.errors import CorruptDataError, InvalidArgumentError, InvalidTypeError
from edge_redis.models import EdgeNode, Transition

DEFAULT_STATES: Final = ("unhealthy", "recovered", "flapping", "mass_outage", "mass_outage_over")

Sink = Callable[[Transition], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where some transitions go."""

    urls: tuple[str, ...] = ()
    states: tuple[str, ...] = DEFAULT_STATES
    locations: tuple[str, ...] = ()
    """Patterns such as ``store-4*``; none: every location."""
    capabilities: tuple[str, ...] = ()
    """The node has at least one of these; none: every node."""
    after_seconds: float = 0.0
    """Send only what is still unhealthy after this time: an escalation. 0: at once."""
    repeat_seconds: float = 0.0
    """Send again at this interval while it is unhealthy. 0: once."""
    title: str = ""
    body: str = ""
    link: str = ""

    def __post_init__(self) -> None:
        if not self.urls:
            raise InvalidArgumentError("a route needs urls")
        for name in ("after_seconds", "repeat_seconds"):
            validation.check_non_negative(name, getattr(self, name))

    @property
    def name(self) -> str:
        """A name that monitors of the same route share, and that holds no secret."""
        rule = [self.urls, self.states, self.locations, self.capabilities, self.after_seconds, self.repeat_seconds]
        return f"notify-{hashlib.sha256(json.dumps(rule).encode()).hexdigest()[:16]}"

    @property
    def has_reminders(self) -> bool:
        """Whether something is sent later than at the transition."""
        return self.after_seconds > 0 or self.repeat_seconds > 0

    def matches(self, monitor: HealthMonitor, change: Transition) -> bool:
        """Return whether the node of a transition is one of this route's. Those of no node match every route."""
        if not change.node_id or not (self.locations or self.capabilities):
            return True
        node = find_node(monitor, change.node_id)
        location = node.location if node is not None else change.location
        capabilities = node.capabilities if node is not None else []
        is_there = not self.locations or any(fnmatchcase(location, pattern) for pattern in self.locations)
        return is_there and (not self.capabilities or any(each in capabilities for each in self.capabilities))


@dataclass(frozen=True, slots=True)
class RoutedSink:
    """Sends the transitions of a route's nodes, and ignores the others."""

    route: Route
    monitor: HealthMonitor
    sink: Sink

    def __call__(self, change: Transition) -> None:
        """Send a transition if its node is one of the route's."""
        if self.route.matches(self.monitor, change):
            self.sink(change)


def find_node(monitor: HealthMonitor, node_id: str) -> EdgeNode | None:
    """Return a registered node; None where there is none, or where its record does not decode."""
    try:
        return monitor.get_node(node_id) if node_id else None
    except CorruptDataError:
        return None


def read_routes(path: Path) -> list[Route]:
    """Return the routes of a TOML file, a table ``[[route]]`` each.

    Raises:
        InvalidArgumentError: the file cannot be read, has no route, or a setting of one is unknown or wrong.

    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgumentError(f"the file of routes {path} cannot be read: {error}") from error
    tables = found.get("route")
    if not isinstance(tables, list) or not tables or set(found) - {"route"}:
        raise InvalidArgumentError(f"{path}: write a table [[route]] for each route, and nothing else")
    return [_to_route(f"{path}: route {number}", table) for number, table in enumerate(tables, 1)]


def _to_route(where: str, table: Mapping[str, Any]) -> Route:
    known = {field.name for field in fields(Route)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise InvalidArgumentError(f"{where}: unknown setting {unknown[0]!r}; there are {', '.join(sorted(known))}")
    try:
        return Route(**{name: _to_setting(name, value) for name, value in table.items()})  # type: ignore[arg-type]
    except (InvalidArgumentError, InvalidTypeError, TypeError) as error:
        raise InvalidArgumentError(f"{where}: {error}") from error


def _to_setting(name: str, value: object) -> object:
    if name in ("urls", "states", "locations", "capabilities"):
        items: Sequence[Any] = [value] if isinstance(value, str) else value if isinstance(value, list) else [None]
        return tuple(validation.check_text(name, item) for item in items)
    if name in ("title", "body", "link"):
        return validation.check_text(name, value)
    return value
