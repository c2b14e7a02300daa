"""The notifications of `edge-redis monitor`: a relay for each route, and reminders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_redis._site.notifications import DEFAULT_STATES, Route, RoutedSink, read_routes
from edge_redis._site.reminders import Reminders


def list_routes(urls: Sequence[str], path: Path | None, states: str | None) -> list[Route]:
    """Return the routes of a file, and one for the addresses of the command line."""
    routes = [] if path is None else read_routes(path)
    if urls:
        chosen = DEFAULT_STATES if states is None else tuple(state.strip() for state in states.split(","))
        routes.append(Route(urls=tuple(urls), states=chosen))
    return routes


class Notifier:
    """Sends messages along routes: a relay for each route that sends at once, and reminders.

    Raises:
        InvalidArgumentError: an address that Apprise does not know, or a wrong template.
        MissingExtraError: there are routes, and Apprise is not installed.

    """

    def __init__(self, client: Any, monitor: Any, routes: Sequence[Route]) -> None:
        self._client = client
        self._monitor = monitor
        self._sinks = [RoutedSink(route, monitor, _open_sink(route)) for route in routes]

    def relays(self) -> Iterator[Any]:
        """Yield a relay for each route that sends at once."""
        from edge_redis import TransitionRelay

        for sink in self._sinks:
            if not sink.route.after_seconds:
                yield TransitionRelay(
                    self._client,
                    sink,
                    name=sink.route.name,
                    namespace=self._monitor.namespace,
                    states=sink.route.states,
                    once_while_flapping=True,
                )

    def reminders(self) -> Reminders | None:
        """Return what sends later messages; None where no route has any."""
        chosen = [sink for sink in self._sinks if sink.route.has_reminders]
        return Reminders(self._client, self._monitor, chosen) if chosen else None


def _open_sink(route: Route) -> Any:
    from edge_redis.integrations.apprise import AppriseSink

    templates = {name: text for name in ("title", "body", "link") if (text := getattr(route, name))}
    return AppriseSink(route.urls, **templates)
