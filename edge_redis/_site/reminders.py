"""Notifications that are sent later than at a transition: escalations, and repeats while a node stays unhealthy.

Any number of monitors send the reminders of a route, each once: the one that sets the reminder's key sends it.

| key                                                  | type   | expiry                | holds |
|------------------------------------------------------|--------|-----------------------|-------|
| <tag>:reminder:<route>:<time of the alert>:<n>:<node> | string | 7 days, or 2 intervals | a token of the call |

The tag is ``er:{<namespace>:site0}``. The time is in ms. ``n`` counts the reminders of an alert; ``end`` is that of its
end.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from edge_redis._core.keys import KeySpace
from edge_redis._core.operation import Batch, command, identity
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.clients import BlockingClient
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis._site.notifications import Route, RoutedSink, find_node
from edge_redis.models import Transition, timestamp_ms

_log: Final = logging.getLogger("edge_redis")

_DAY_SECONDS: Final = 86_400.0
_READ_SECONDS: Final = 0.001
_OPENING: Final = ("unhealthy", "mass_outage")
_CLOSING: Final = (
    "recovered",
    "healthy",
    "maintenance",
    "deregistered",
    "removed",
    "mass_outage_over",
)


@dataclass(slots=True)
class _Alert:
    """An alert that is open, and for each route by its name the number of the reminder that this process sent last."""

    change: Transition
    sent: dict[str, int] = field(default_factory=dict)


class Reminders:
    """Sends what is due of the reminders of a namespace.

    Args:
        client: a blocking client.
        monitor: of the namespace.
        sinks: those of the routes that have reminders.

    """

    def __init__(self, client: BlockingClient, monitor: HealthMonitor, sinks: Sequence[RoutedSink]) -> None:
        self._runner = BlockingRunner(client)
        self._monitor = monitor
        self._sinks = sinks
        self._space = KeySpace(monitor.namespace, "site")
        self._position = "0"
        self._open: dict[str, _Alert] = {}
        """By node; a mass outage under the empty id."""

    def run_once(self) -> int:
        """Read the new transitions and send what is due; return how many notifications were sent.

        Raises:
            StoreError: the server cannot be reached; what is due is sent by a later call.

        """
        sent = sum(self._end(before, change) for before, change in self._read_changes())
        now_ms = self._now_ms()
        return sent + sum(self._remind(alert, now_ms) for alert in list(self._open.values()))

    def _read_changes(self) -> list[tuple[Transition, Transition]]:
        """Update the open alerts; return those that were closed, each with the transition that closed it."""
        closed = []
        for change in self._monitor.watch(self._position, timeout=_READ_SECONDS, poll_seconds=_READ_SECONDS):
            self._position = change.position
            if change.state in _OPENING:
                self._open[change.node_id] = _Alert(change)
            elif change.state in _CLOSING and (alert := self._open.pop(change.node_id, None)) is not None:
                closed.append((alert.change, change))
        return closed

    def _now_ms(self) -> int:
        return self._runner.run(_read_time())

    def _remind(self, alert: _Alert, now_ms: int) -> int:
        sent, change = 0, alert.change
        age_seconds = (now_ms - timestamp_ms(change.at)) / 1000
        reason = f"{change.reason}; still {change.state} after {age_seconds / 60:,.0f} min"
        for sink in self._sinks:
            route = sink.route
            number = count_due(route, age_seconds)
            if number == alert.sent.get(route.name, 0) or change.state not in route.states:
                continue
            if route.matches(self._monitor, change):
                was_sent = self._send(sink, replace(change, reason=reason), change, str(number))
                if was_sent:
                    alert.sent[route.name] = number
                sent += was_sent
        return sent

    def _end(self, alert: Transition, change: Transition) -> int:
        """Send the end of an alert to the routes that sent its escalation, which no relay does."""
        sent = 0
        for sink in self._sinks:
            route = sink.route
            is_wanted = route.after_seconds > 0 and change.state in route.states
            if is_wanted and self._runner.run(_exists(self._key(route, alert, "1"))):
                sent += self._send(sink, change, alert, "end")
        return sent

    def _key(self, route: Route, alert: Transition, step: str) -> str:
        return f"{self._space.key('reminder')}:{route.name}:{timestamp_ms(alert.at)}:{step}:{alert.node_id}"

    def _send(self, sink: RoutedSink, change: Transition, alert: Transition, step: str) -> bool:
        key = self._key(sink.route, alert, step)
        seconds = max(7 * _DAY_SECONDS, 2 * sink.route.repeat_seconds)
        if not self._runner.run(claim_reminder(key, secrets.token_hex(8), round(seconds * 1000))):
            return False  # it was sent, or another monitor sends it
        node = find_node(self._monitor, change.node_id)
        labelled = replace(
            change,
            namespace=self._monitor.namespace,
            node_name=node.name if node is not None else "",
            location=node.location if node is not None else "",
        )
        try:
            sink(labelled)
        except Exception as error:  # noqa: BLE001 -- any error of a sink is a failed delivery
            _log.warning("a reminder was not sent and will be tried again: %s", error)
            self._runner.run(_release(key))
            return False
        return True


def count_due(route: Route, age_seconds: float) -> int:
    """Return how many reminders of an alert are due at an age; those that were missed count as sent.

    The escalation is the first; a route without one sends at the transition itself, which does not count.
    """
    if age_seconds < route.after_seconds:
        return 0
    repeats = int((age_seconds - route.after_seconds) // route.repeat_seconds) if route.repeat_seconds else 0
    return repeats + (1 if route.after_seconds else 0)


async def _read_time() -> int:
    seconds, microseconds = await command(tuple[int, int], "TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000


async def claim_reminder(key: str, token: str, ms: int) -> bool:
    """Set the key of a reminder for ``ms``; return whether it holds this call's token, which a resent call finds."""
    set_key = command(identity, "SET", key, token, "NX", "PX", ms)
    _, holder = await Batch([set_key, command(identity, "GET", key)])
    return bool(holder == token.encode())


async def _exists(key: str) -> bool:
    return bool(await command(int, "EXISTS", key))


async def _release(key: str) -> Any:
    return await command(int, "DEL", key)
