"""An experiment with one service on one server: load under a nemesis, healing, check; again, until the time is up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from edge_redis import EdgeCache, EdgeMetrics, HealthMonitor, embedded
from support.deadline import eventually
from support.history.actors import LOAD
from support.history.fleet import ProcessGroup
from support.history.log import Call, Logs
from support.history.nemesis import Nemesis
from support.history.proxy import Proxy
from support.service_history import calls as made
from support.service_history.cache_rules import cache_faults
from support.service_history.calls import NAMESPACE, ServicePlan
from support.service_history.health_rules import Change, chain_faults, death_faults, heartbeat_faults, leader_faults
from support.service_history.metrics_rules import metrics_faults

SERVICES: Final = ("cache", "health", "metrics")
NEAR_STALE_SECONDS: Final = 6.0
"""A near cache notices a dead connection within two seconds; a process may be stopped for three."""
DEATH_SECONDS: Final = 4.0
_TARGETS: Final[dict[str, tuple[Any, Any]]] = {
    "cache": (made.use_cache, made.use_cache),
    "health": (made.send_heartbeats, made.watch),
    "metrics": (made.use_metrics, made.use_metrics),
}
_CALM_SECONDS: Final = {"cache": NEAR_STALE_SECONDS + 3.0, "health": made.SPELL_SECONDS + DEATH_SECONDS}
"""Seconds of each round without harm, in which a near cache would be stale for too long, and a silent node found."""


class OneServer(ProcessGroup):
    """A server, the processes that use a service, and those that look at it too."""

    is_busy_at_start = True

    def __init__(self, plan: ServicePlan, service: str, writers: int = 4, workers: int = 3) -> None:
        super().__init__(plan, 1, writers, workers)
        self._service = service
        self._counts = writers, workers

    def open(self, stack: ExitStack) -> None:
        folder = self.plan.folder / "server"
        self.servers = [stack.enter_context(embedded.start(folder, appendfsync="always", timeout=30, password=""))]
        port = self.servers[0].port
        names = ["writers to server", "workers to server"]
        self.proxy = stack.enter_context(Proxy(dict.fromkeys(names, port), self.plan.seed))
        stack.callback(self.end)
        (write, work), (writers, workers) = _TARGETS[self._service], self._counts
        self.start([
            *((write, f"writer-{number}", 0, names[:1]) for number in range(writers)),
            *((work, f"worker-{number}", 0, names[1:]) for number in range(workers)),
        ])  # fmt: skip
        eventually(lambda: len([*self.plan.folder.glob("*-0.log")]) == len(self.members), seconds=60, every=0.05)


@dataclass
class ServiceReport:
    """What an experiment has seen."""

    service: str
    seconds: float = 0.0
    rounds: int = 0
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    harms: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield the report as a person reads it."""
        yield f"{self.service}: {self.seconds:.0f} s of load in {self.rounds} rounds, {self.calls.total():,} calls"
        for kind in sorted({kind for kind, _ in self.calls}):
            outcomes = [(outcome, self.calls[kind, outcome]) for outcome in ("ok", "unknown", "foreign")]
            yield f"  {kind:<12} " + ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes if number)
        yield "harm done     " + ", ".join(
            f"{number:,} {what}" for what, number in sorted(self.harms.items()) if number
        )
        yield f"VIOLATED {len(self.violations)} times" if self.violations else "holds"


def find_changes(client: Any) -> list[Change]:
    """Return all transitions of nodes, by the clock of the logs."""
    offset = time.time() - time.monotonic()
    transitions = HealthMonitor(client, namespace=NAMESPACE).transitions(limit=100_000)
    return [
        Change(each.node_id, each.state, each.previous, each.at.timestamp() - offset)
        for each in transitions
        if each.node_id
    ]


def read_metrics(client: Any) -> tuple[dict[tuple[str, str], Any], list[str]]:
    """Return the series, and the names of the recent records that have one: those that failed."""
    with EdgeMetrics(client, namespace=NAMESPACE, max_recent=100_000) as metrics:
        return dict(metrics.snapshot()), [record.error for record in metrics.recent(100_000) if record.error]


def foreign_faults(calls: Sequence[Call]) -> Iterator[str]:
    """Yield calls that ended in an error which is not this package's."""
    for call in calls:
        if call.outcome == "foreign":
            yield f"{call.op} ({call.strategy} {call.kind}) raised {call.answer['error']}"


class ServiceExperiment:
    """One service on one server, until ``seconds`` of load are over or something is wrong."""

    def __init__(self, plan: ServicePlan, service: str, say: Callable[[str], None] = lambda _: None) -> None:
        self._plan, self._service, self._say = plan, service, say
        self._calls: list[Call] = []
        self.report = ServiceReport(service)

    def run(self, seconds: float, round_seconds: float) -> ServiceReport:
        """Run rounds of load, healing and check."""
        report, logs = self.report, Logs(self._plan.folder)
        with OneServer(self._plan, self._service) as group:
            nemesis = Nemesis(group, self._plan.seed)
            while report.seconds < seconds and not report.violations:
                span = min(round_seconds, max(1.0, seconds - report.seconds))
                group.phase.value = LOAD
                nemesis.harm(span)
                nemesis.finish()
                group.mend()
                time.sleep(_CALM_SECONDS.get(self._service, 0.0))
                group.rest()
                self._calls += logs.new_calls()
                report.rounds, report.seconds = report.rounds + 1, report.seconds + span
                report.harms = nemesis.counts + group.proxy.counts
                report.calls = Counter((call.kind, call.outcome) for call in self._calls)
                with group.client(0) as client:
                    report.violations = [*foreign_faults(self._calls), *self._faults(client)]
                self._say(f"round {report.rounds}: {report.calls.total():,} calls, {len(report.violations)} violations")
        return report

    def _faults(self, client: Any) -> Iterator[str]:
        if self._service == "cache":
            yield from self._cache_faults(client)
        elif self._service == "metrics":
            yield from metrics_faults(self._calls, *read_metrics(client))
        else:
            changes = find_changes(client)
            yield from leader_faults(self._calls)
            yield from chain_faults(changes)
            yield from heartbeat_faults(self._calls, changes, made.TIMEOUT_SECONDS)
            yield from death_faults(self._calls, changes, time.monotonic(), DEATH_SECONDS)

    def _cache_faults(self, client: Any) -> Iterator[str]:
        for name in ("plain", "near", "small"):
            calls = [call for call in self._calls if call.strategy == f"cache-{name}"]
            faults = cache_faults(
                calls,
                stale_seconds=NEAR_STALE_SECONDS if name == "near" else 0.0,
                max_size=made.SMALL_SIZE if name == "small" else None,
            )
            yield from (f"cache-{name}: {fault}" for fault in faults)
        with EdgeCache(client, namespace=f"{NAMESPACE}-small", max_size=made.SMALL_SIZE) as small:
            held = [*small.keys()]
        if len(held) > made.SMALL_SIZE:
            yield f"cache-small: {len(held)} keys, of {made.SMALL_SIZE} at most"
