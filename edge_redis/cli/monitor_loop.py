"""The loop of `edge-redis monitor`: rounds in the background, and a line for each transition, until it is stopped."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

from edge_redis.cli.connection import allow_partial_outage
from edge_redis.cli.transition_lines import print_transition
from edge_redis.errors import StoreError

POLL_SECONDS: Final = 0.2
REMIND_SECONDS: Final = 1.0


def log(text: str) -> None:
    """Print a line about the monitor itself on standard error."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def describe_round(done: Any) -> str:
    """Return a line on the monitor's role after a round."""
    if not done.leader:
        differs = "; its timeout or phi threshold differs from this one's" if done.config_differs else ""
        return f"standing by: another monitor leads{differs}"
    about = f"leading, term {done.term}"
    if done.mass_outage:
        return f"{about}: mass outage, verdicts on the nodes without heartbeats are deferred"
    if done.grace:
        return f"{about}: first round after a start or an outage: each node has one timeout to send a heartbeat"
    return f"{about}: {done.checked} nodes checked, {done.unhealthy} unhealthy, {done.suspected} suspected"


class MonitorLoop:
    """Runs a watch in the background, and prints the transitions that the monitors of the namespace find.

    Raises:
        StoreError: the server cannot be reached at the start. Later outages are waited for, and at the start those of
            a part of a cluster.

    """

    def __init__(
        self, monitor: Any, watch: Any, reminders: Any, *, as_json: bool, since: str | None, client: Any = None
    ) -> None:
        self._client = client
        self._monitor, self._watch, self._as_json = monitor, watch, as_json
        self._reminders = reminders
        self._remind_at = 0.0
        self._position = since
        if since is not None:
            monitor.watch(since)  # refuses a text that is not a position
        self._logged_role: object = None
        self._is_unreachable = False

    def run(self, stop: Any, duration: float | None) -> None:
        """Run until a stop is requested, or for ``duration`` seconds."""
        with allow_partial_outage(self._client, log):
            self._find_position()
            self._watch.run_once()  # fails where the server cannot be reached; later rounds run in the background
        self._watch.start()
        end = None if duration is None else time.monotonic() + duration
        self._step()
        while (end is None or time.monotonic() < end) and stop.wait(POLL_SECONDS):
            self._step()

    def _find_position(self) -> str:
        """Return after which transition to go on; the first time, after the newest that there is."""
        if self._position is None:
            newest = self._monitor.transitions(1)
            self._position = newest[0].position if newest else "0"
        return self._position

    def _step(self) -> None:
        try:
            for change in self._monitor.watch(self._find_position(), timeout=0.001, poll_seconds=0.001):
                self._position = change.position
                print_transition(change, as_json=self._as_json)
            self._remind()
        except StoreError as error:
            from edge_redis.cli.failures import describe

            if not self._is_unreachable:
                log(f"continues when the server can be reached again: {describe(error)}")
            self._is_unreachable = True
            return
        if self._is_unreachable:
            log("the server can be reached again")
        self._is_unreachable = False
        self._log_role()

    def _remind(self) -> None:
        if self._reminders is not None and time.monotonic() >= self._remind_at:
            self._reminders.run_once()
            self._remind_at = time.monotonic() + REMIND_SECONDS

    def _log_role(self) -> None:
        done = self._watch.latest
        if done is None:
            return
        counts = () if done.grace or done.mass_outage else (done.checked, done.unhealthy, done.suspected)
        role = (done.leader, done.term, done.grace, done.mass_outage, done.config_differs, *counts)
        if role != self._logged_role:
            log(describe_round(done))
            self._logged_role = role
