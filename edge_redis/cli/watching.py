"""What `edge-redis monitor` does until it is stopped: rounds in the background, and lines of what changes."""

from __future__ import annotations

import json
import sys
import time
from typing import Final

from edge_redis._io.sinks import as_json
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis._services.blocking.health_watch import HealthWatch
from edge_redis._site.stop_request import StopRequest
from edge_redis.errors import StoreError
from edge_redis.models import Transition, WatchRound

POLL_SECONDS: Final = 0.2
FLEET: Final = "(fleet)"


def shown(word: str) -> str:
    """Return a node's id as it can be printed: on one line, and as no command to a terminal."""
    return word if word.isprintable() else json.dumps(word)


def line(change: Transition) -> str:
    """Return a change as a line."""
    who = shown(change.node_id) if change.node_id else FLEET
    return f"{change.at:%Y-%m-%d %H:%M:%S}Z  {who}  {change.state}  (was {change.previous})  {shown(change.reason)}"


def round_line(done: WatchRound) -> str:
    """Return the result of a round as a line."""
    if not done.leader:
        return "standing by: another monitor leads"
    about = f"leading, term {done.term}"
    if done.mass_outage:
        return f"{about}: mass outage, verdicts on the nodes without heartbeats are deferred"
    if done.grace:
        return f"{about}: the server was away or no monitor ran, every node has a timeout to send a heartbeat"
    return f"{about}: {done.checked} nodes checked, {done.unhealthy} unhealthy, {done.suspected} suspected"


class Console:
    """Changes on standard output, everything else on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def tell(self, change: Transition) -> None:
        """Print a change."""
        print(as_json(change).decode() if self._as_json else line(change), flush=True)

    def say(self, text: str) -> None:
        """Print what the monitor says of itself."""
        print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


class Watching:
    """A watch in the background, and what it and others of the namespace find.

    Raises:
        StoreError: the server is not there at the beginning. Later its absences are waited out.

    """

    def __init__(self, monitor: HealthMonitor, watch: HealthWatch, console: Console, *, since: str | None) -> None:
        self._monitor, self._watch, self._console = monitor, watch, console
        self._position = since
        if since is not None:
            monitor.watch(since)  # which refuses what is no position
        self._said: object = None
        self._is_away = False

    def run(self, stop: StopRequest, duration: float | None) -> None:
        """Go on until asked to stop, or for so long in seconds."""
        if self._position is None:
            newest = self._monitor.transitions(1)
            self._position = newest[0].position if newest else "0"
        self._watch.run_once()  # the first tells whether the server is there; the others are in the background
        self._watch.start()
        end = None if duration is None else time.monotonic() + duration
        self._step()
        while (end is None or time.monotonic() < end) and stop.wait(POLL_SECONDS):
            self._step()

    def _step(self) -> None:
        try:
            for change in self._monitor.watch(self._position, timeout=0.001, poll_seconds=0.001):
                self._position = change.position
                self._console.tell(change)
        except StoreError as error:
            if not self._is_away:
                self._console.say(f"will go on when the server is back: {error}")
            self._is_away = True
            return
        if self._is_away:
            self._console.say("the server is back")
        self._is_away = False
        self._say_round()

    def _say_round(self) -> None:
        done = self._watch.latest
        if done is None:
            return
        counts = () if done.grace or done.mass_outage else (done.checked, done.unhealthy, done.suspected)
        facts = (done.leader, done.term, done.grace, done.mass_outage, *counts)
        if facts != self._said:
            self._console.say(round_line(done))
            self._said = facts
