"""The main job: a server, edge processes, a cloud worker, a monitor; started, watched, ended in order, reported.

Order of the end: the edge processes finish the reading they are at, the cloud worker hands over
what waits, the report is read, the server ends. Whoever asks for the end a second time is not
kept waiting for any of it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final, Protocol

from edge_redis import embedded
from edge_redis._site.observer import Observer
from edge_redis._site.opening import open_services
from edge_redis._site.recording import Outline, outline
from edge_redis._site.report import Report
from edge_redis._site.settings import Settings
from edge_redis._site.site import cache_size, plan_site
from edge_redis._site.stopping import Stop
from edge_redis._site.supervisor import Child, Supervisor
from edge_redis.errors import StoreError

_TICK_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 0.5
"""Between two looks for the view: each costs some fifty round trips."""
_LOOK_SHARE: Final = 5
"""At least so many times as long as a look took: watching must not become the main job."""
_GRACE_SECONDS: Final = 5.0
"""For a process to finish what it has begun."""
_SETTLE_SECONDS: Final = 15.0
"""For the cloud worker to hand over what waits."""


class View(Protocol):
    """Whoever shows the job while it runs."""

    def show(self, report: Report) -> None:
        """Show how things stand."""

    def say(self, line: str) -> None:
        """Tell of one event."""


class Job:
    """One run of the main job."""

    def __init__(self, settings: Settings, view: View, stop: Stop) -> None:
        self._settings = settings
        self._view = view
        self._stop = stop
        self._recorded: Outline | None = outline(settings.replay) if settings.replay else None
        self._id = secrets.token_hex(8)
        self._server: embedded.EmbeddedServer | None = None
        self._facts: dict[str, Any] = {"namespace": settings.namespace, "mode": "replay" if settings.replay else "live"}
        self._told: dict[str, int] = {}

    @property
    def _is_hurried(self) -> bool:
        return self._stop.count > 1

    def run(self) -> Report:
        """Run to the end, and return what was done.

        Raises:
            StoreError: no server could be started or reached.

        """
        with ExitStack() as stack:
            url = self._settings.url or self._start_server(stack)
            services = stack.enter_context(
                open_services(
                    url,
                    self._settings.namespace,
                    timeout_seconds=self._settings.heartbeat_timeout,
                    cache_size=cache_size(self._recorded),
                )
            )
            services.health.summary()  # a server that cannot be reached is an error now, before anything is started
            supervisor = stack.enter_context(Supervisor(self._stop.pause, lambda: self._is_hurried))
            site = plan_site(self._settings, self._recorded, url=url, run=self._id, now=time.time())
            observer = stack.enter_context(Observer(services, site.node_ids, run=self._id))
            others = [supervisor.start(plan) for plan in site.others if not self._stop.asked]
            edges = [supervisor.start(plan) for plan in site.edges if not self._stop.asked]
            self._begin()
            self._watch(supervisor, observer, edges)
            self._end(supervisor, observer, edges, others)
            return self._report(observer, supervisor.children)

    def _start_server(self, stack: ExitStack) -> str:
        self._server = stack.enter_context(embedded.start(self._settings.data_dir))
        return self._server.url

    def _begin(self) -> None:
        self._begun = time.monotonic()
        if self._server is None:
            self._facts["server"] = "given"
        else:
            self._facts["server"] = f"{self._server.kind} {self._server.version}, embedded, port {self._server.port}"
        if self._recorded is not None:
            self._facts |= {
                "recording": str(self._settings.replay),
                "recorded_readings": self._recorded.total,
                "recorded_seconds": self._recorded.seconds,
                "speed": self._settings.speed,
            }
        self._facts["heartbeat_timeout_seconds"] = self._settings.heartbeat_timeout
        self._view.say(f"namespace {self._settings.namespace}, server {self._facts['server']}")

    def _watch(self, supervisor: Supervisor, observer: Observer, edges: Sequence[Child]) -> None:
        next_look = 0.0
        while not self._is_over(supervisor, edges):
            supervisor.tend()
            self._revive_server()
            begun = time.monotonic()
            if begun >= next_look:
                self._look(observer, supervisor.children)
                next_look = time.monotonic() + max(_LOOK_SECONDS, _LOOK_SHARE * (time.monotonic() - begun))
            self._stop.wait(_TICK_SECONDS)

    def _is_over(self, supervisor: Supervisor, edges: Sequence[Child]) -> bool:
        ends = (
            (self._stop.asked, str(self._stop.first and self._stop.first.name)),
            (any(child.is_given_up for child in supervisor.children), "trouble"),
            (all(child.is_done for child in edges), "end of the recording"),
            (self._settings.duration is not None and self._seconds > self._settings.duration, "duration"),
        )
        self._facts["ended_by"] = next((why for is_so, why in ends if is_so), "")
        return bool(self._facts["ended_by"])

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._begun

    def _revive_server(self) -> None:
        if self._server is not None and self._server.durable and not self._server.running:
            self._view.say("the server ended: starting it again on its data")
            self._server.restart()

    def _look(self, observer: Observer, children: Sequence[Child]) -> None:
        self._tell_of_failures(children)
        try:
            self._view.show(self._report(observer, children))
        except StoreError as error:
            self._view.say(f"cannot look: {error}")

    def _tell_of_failures(self, children: Sequence[Child]) -> None:
        for child in children:
            if child.failures > self._told.get(child.name, 0):
                self._told[child.name] = child.failures
                self._view.say(f"{child.name} failed: {child.last_words}")

    def _report(self, observer: Observer, children: Sequence[Child]) -> Report:
        self._facts["seconds"] = round(self._seconds, 1)
        return observer.report(
            dict(self._facts),
            {child.name: child.restarts for child in children},
            {child.name: child.last_words for child in children if child.failures},
        )

    def _end(self, supervisor: Supervisor, observer: Observer, edges: Sequence[Child], others: Sequence[Child]) -> None:
        self._view.say(f"ending: {self._facts['ended_by']}")
        supervisor.end(edges, grace_seconds=_GRACE_SECONDS)
        deadline = time.monotonic() + _SETTLE_SECONDS
        while others and not self._is_hurried and time.monotonic() < deadline and not observer.is_settled():
            supervisor.tend()
            self._stop.pause(_TICK_SECONDS)
        supervisor.end(others, grace_seconds=_GRACE_SECONDS)
