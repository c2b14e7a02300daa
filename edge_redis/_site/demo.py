"""The demo site: a server, edge processes, a cloud worker and a monitor, started, watched and stopped in order.

Stopping: the edge processes finish their current reading, the cloud worker carries the pending
changes to the cloud, the report is read, the server ends. A second request to stop skips all
waiting.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from edge_redis import embedded
from edge_redis._io.connect import connect
from edge_redis._services.blocking.cloud import RedisCloudStore
from edge_redis._site.cloud_link import CloudLink, can_relay
from edge_redis._site.controls import SiteControls
from edge_redis._site.observer import Observer
from edge_redis._site.recording import Outline, outline
from edge_redis._site.replay import Pace
from edge_redis._site.report import Report
from edge_redis._site.services import open_services
from edge_redis._site.settings import Settings
from edge_redis._site.site_plan import SitePlan, cache_size, plan_site
from edge_redis._site.stop_request import Stop
from edge_redis._site.supervisor import Child, Supervisor
from edge_redis.errors import StoreError

_POLL_SECONDS: Final = 0.1
_REFRESH_SECONDS: Final = 0.5
"""Minimum time between two reports for the view: each costs about fifty round trips."""
_REFRESH_SHARE: Final = 5
"""A report is read at most for one part in this many of the time, so that watching does not slow the site."""
_GRACE_SECONDS: Final = 5.0
"""Time for a process to finish its current work."""
_DOWN_TIMEOUTS: Final = 2.0
"""How many heartbeat timeouts a node stays down that was killed on request."""
_DRAIN_SECONDS: Final = 15.0
"""Time for the cloud worker to carry the pending changes to the cloud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSite:
    """What a view needs to read and control a running site."""

    url: str
    namespace: str
    cloud_url: str
    heartbeat_timeout: float
    cache_size: int
    pace: Pace | None
    """Of a replay; None where the server's time counts."""
    controls: SiteControls
    page_url: str = ""
    """The operator's page; empty where it is not served."""


class View(Protocol):
    """Shows a running site."""

    def attach(self, site: RunningSite) -> AbstractContextManager[object]:
        """Return a context in which the view may read and control the site; it is left before the site ends."""

    def show(self, report: Report) -> None:
        """Show the current figures."""

    def log(self, line: str) -> None:
        """Show an event."""


class DemoSite:
    """One run of the demo site."""

    def __init__(self, settings: Settings, view: View, stop: Stop) -> None:
        self._settings = settings
        self._view = view
        self._stop = stop
        self._recorded: Outline | None = outline(settings.replay) if settings.replay else None
        self._run_id = secrets.token_hex(8)
        self._server: embedded.EmbeddedServer | None = None
        self._run_facts: dict[str, Any] = {
            "namespace": settings.namespace,
            "mode": "replay" if settings.replay else "live",
        }
        self._logged_failures: dict[str, int] = {}

    @property
    def _is_hurried(self) -> bool:
        return self._stop.signal_count > 1

    def run(self) -> Report:
        """Run until the end, and return the final report.

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
            services.health.summary()  # fails here, before any process is started, when the server is unreachable
            cloud_url = self._settings.cloud_url or url
            cloud = stack.enter_context(_open_cloud(cloud_url, self._settings.namespace))
            link = stack.enter_context(CloudLink(cloud_url)) if can_relay(cloud_url) else None
            supervisor = stack.enter_context(Supervisor(self._stop.pause, lambda: self._is_hurried))
            site = plan_site(
                self._settings,
                self._recorded,
                url=url,
                cloud_url=cloud_url if link is None else link.url,
                run_id=self._run_id,
                now=time.time(),
            )
            observer = stack.enter_context(Observer(services, cloud, site.node_ids, run_id=self._run_id))
            others = [supervisor.start(plan) for plan in site.others if not self._stop.is_requested]
            edges = [supervisor.start(plan) for plan in site.edges if not self._stop.is_requested]
            self._begin()
            controls = SiteControls(
                edges, link, cloud, down_seconds=_DOWN_TIMEOUTS * self._real_timeout, log=self._view.log
            )
            with self._view.attach(self._describe(url, cloud_url, site, controls)):
                self._watch(supervisor, observer, edges, controls)
                if link is not None:
                    link.restore()
                self._shut_down(supervisor, observer, edges, others)
                return self._read_report(observer, supervisor.children)

    @property
    def _real_timeout(self) -> float:
        """The heartbeat timeout in real seconds."""
        return self._settings.heartbeat_timeout / (self._settings.speed if self._recorded else 1.0)

    def _describe(self, url: str, cloud_url: str, site: SitePlan, controls: SiteControls) -> RunningSite:
        return RunningSite(
            url=url,
            namespace=self._settings.namespace,
            cloud_url=cloud_url,
            heartbeat_timeout=self._settings.heartbeat_timeout,
            cache_size=cache_size(self._recorded),
            pace=site.edges[0].pace,
            controls=controls,
        )

    def _start_server(self, stack: ExitStack) -> str:
        self._server = stack.enter_context(embedded.start(self._settings.data_dir))
        return self._server.url

    def _begin(self) -> None:
        self._started = time.monotonic()
        if self._server is None:
            self._run_facts["server"] = "given"
        else:
            self._run_facts["server"] = (
                f"{self._server.kind} {self._server.version}, embedded, port {self._server.port}"
            )
        if self._recorded is not None:
            self._run_facts |= {
                "recording": str(self._settings.replay),
                "recorded_readings": self._recorded.total,
                "recorded_seconds": self._recorded.seconds,
                "speed": self._settings.speed,
            }
        self._run_facts["heartbeat_timeout_seconds"] = self._settings.heartbeat_timeout
        self._view.log(f"namespace {self._settings.namespace}, server {self._run_facts['server']}")
        if self._server is not None and self._server.password_file is not None:
            self._view.log(f"the password of the server is in {self._server.password_file}")

    def _watch(
        self, supervisor: Supervisor, observer: Observer, edges: Sequence[Child], controls: SiteControls
    ) -> None:
        next_refresh = 0.0
        while not self._is_over(supervisor, edges):
            controls.run_requested()
            supervisor.poll()
            self._restart_server()
            started = time.monotonic()
            if started >= next_refresh:
                self._refresh_view(observer, supervisor.children)
                spent = time.monotonic() - started
                next_refresh = time.monotonic() + max(_REFRESH_SECONDS, _REFRESH_SHARE * spent)
            self._stop.wait(_POLL_SECONDS)

    def _is_over(self, supervisor: Supervisor, edges: Sequence[Child]) -> bool:
        duration = self._settings.duration
        reasons = (
            (self._stop.is_requested, self._stop.first_signal.name if self._stop.first_signal else "operator"),
            (any(child.is_given_up for child in supervisor.children), "failed process"),
            (all(child.is_finished for child in edges), "end of the recording"),
            (duration is not None and self._elapsed_seconds > duration, "duration"),
        )
        self._run_facts["ended_by"] = next((reason for is_true, reason in reasons if is_true), "")
        return bool(self._run_facts["ended_by"])

    @property
    def _elapsed_seconds(self) -> float:
        return time.monotonic() - self._started

    def _restart_server(self) -> None:
        if self._server is not None and self._server.durable and not self._server.running:
            self._view.log("the server ended: restarting it on its data")
            self._server.restart()

    def _refresh_view(self, observer: Observer, children: Sequence[Child]) -> None:
        self._log_failures(children)
        try:
            self._view.show(self._read_report(observer, children))
        except StoreError as error:
            self._view.log(f"cannot read the report: {error}")

    def _log_failures(self, children: Sequence[Child]) -> None:
        for child in children:
            if child.failures > self._logged_failures.get(child.name, 0):
                self._logged_failures[child.name] = child.failures
                self._view.log(f"{child.name} failed: {child.last_error}")

    def _read_report(self, observer: Observer, children: Sequence[Child]) -> Report:
        self._run_facts["seconds"] = round(self._elapsed_seconds, 1)
        return observer.report(
            dict(self._run_facts),
            {child.name: child.restarts for child in children},
            {child.name: child.last_error for child in children if child.failures},
        )

    def _shut_down(
        self, supervisor: Supervisor, observer: Observer, edges: Sequence[Child], others: Sequence[Child]
    ) -> None:
        self._view.log(f"ending: {self._run_facts['ended_by']}")
        supervisor.stop(edges, grace_seconds=_GRACE_SECONDS)
        deadline = time.monotonic() + _DRAIN_SECONDS
        while others and not self._is_hurried and time.monotonic() < deadline and not observer.is_synced():
            supervisor.poll()
            self._stop.pause(_POLL_SECONDS)
        supervisor.stop(others, grace_seconds=_GRACE_SECONDS)


@contextmanager
def _open_cloud(url: str, namespace: str) -> Iterator[RedisCloudStore]:
    """Open the store of the cloud.

    Raises:
        StoreError: its server cannot be reached; before any process is started.

    """
    with closing(connect(url)) as client, RedisCloudStore(client, namespace=namespace) as store:
        store.changes_since(limit=1)
        yield store
