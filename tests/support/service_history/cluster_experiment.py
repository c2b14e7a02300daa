"""All services on a cluster of masters with replicas: a master is killed, and slots move, again and again.

Cache, metrics and health are in the cluster, and so is the cloud of synchronization. The edge is a server of its own
that writes each change to its disk before it answers, so that acknowledged updates survive whatever the cloud loses.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from edge_redis import CloudWorker, EdgeRedisError, embedded
from edge_redis._core.shards import name_shards
from edge_redis._core.slots import hash_slot
from support.cluster import Cluster
from support.deadline import eventually
from support.history.actors import LOAD
from support.history.fleet import ProcessGroup
from support.history.log import Call, Logs
from support.service_history import calls as made
from support.service_history.cache_rules import cache_faults
from support.service_history.calls import NAMESPACE, SCOPES, ServicePlan, open_cluster, open_scope, open_store
from support.service_history.experiment import NEAR_STALE_SECONDS, find_changes, foreign_faults, read_metrics
from support.service_history.harm import Harm, error_faults, excuse, longest_error
from support.service_history.health_rules import chain_faults, heartbeat_faults, leader_faults
from support.service_history.metrics_rules import metrics_faults
from support.service_history.scope_rules import scope_faults

MASTERS: Final = 3
ERROR_SECONDS: Final = 5.0
"""For how long after a harm calls may fail: clients read the cluster's layout anew, and give up what they repeated."""
CARRY_SECONDS: Final = 180.0
SHARDED: Final = ("cache", "metrics", "cloud")


class ClusterGroup(ProcessGroup):
    """A cluster, an edge, and processes that use all services."""

    is_busy_at_start = True

    def __init__(self, plan: ServicePlan) -> None:
        super().__init__(plan, 1, writers=7, workers=4)

    def open(self, stack: ExitStack) -> None:
        self.cluster = Cluster(MASTERS, replicas=MASTERS)
        stack.callback(self.cluster.stop)
        self.edge = stack.enter_context(embedded.start(appendfsync="always", password="", timeout=30))
        self.servers = [self.edge, *self.cluster.nodes]
        stack.callback(self.end)
        both, cluster, edge = ["edge", "cluster"], ["cluster"], ["edge"]
        self.start([
            *((made.use_cache, f"cache-{number}", 0, cluster) for number in range(2)),
            *((made.use_metrics, f"metrics-{number}", 0, cluster) for number in range(2)),
            (made.send_heartbeats, "node-0", 0, cluster),
            *((made.update_scopes, f"scopes-{number}", 0, edge) for number in range(2)),
            *((made.watch, f"watch-{number}", 0, cluster) for number in range(2)),
            *((made.carry, f"carrier-{number}", 0, both) for number in range(2)),
        ])  # fmt: skip
        logs = len(self.members) - 2
        eventually(lambda: len([*self.plan.folder.glob("*-0.log")]) == logs, seconds=90, every=0.1)

    def ports(self, links: Sequence[str]) -> tuple[int, ...]:
        found = [self.edge.port] if "edge" in links else []
        return (*found, *(node.port for node in self.cluster.nodes if "cluster" in links))

    def mend(self) -> None:
        self.mend_members()


class ClusterNemesis:
    """Kills a master and moves slots, each once a period, and a process of the users in between."""

    def __init__(self, group: ClusterGroup, seed: int) -> None:
        self.harms: list[Harm] = []
        self._group, self._cluster, self._pick = group, group.cluster, random.Random(seed)

    def harm(self) -> None:
        """Do each harm once; all is well again when this returns."""
        self.kill_master()
        self.kill_process()
        for component in SHARDED:
            self.move_slot(component)

    @contextlib.contextmanager
    def _recorded(self, what: str, *, loses_writes: bool = False) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.harms.append(Harm(what, begun, time.monotonic(), loses_writes))

    def kill_master(self) -> None:
        """Kill a master, wait until its replica serves in its place, and let it come back as a replica."""
        cluster = self._cluster
        victim = self._pick.choice(masters(cluster))
        with self._recorded("a master was killed", loses_writes=True):
            victim.kill()
            eventually(lambda: len(masters(cluster)) == MASTERS, seconds=60, every=0.05)
            cluster.wait_until_ok()
        with self._recorded("a node came back"):
            victim.restart()
            cluster.wait_until_ok()
            with victim.client() as client:
                eventually(lambda: is_replica_in_sync(client), seconds=60, every=0.05)

    def move_slot(self, component: str) -> None:
        """Move the slot of one shard to another master, key by key."""
        namespace = f"{NAMESPACE}-plain" if component == "cache" else NAMESPACE
        slot = hash_slot(f"{namespace}:{component}{self._pick.choice(name_shards(namespace, component, 12))}")
        nodes = masters(self._cluster)
        source = next(node for node in nodes if self._cluster.owner_port(node, slot) == node.port)
        target = self._pick.choice([node for node in nodes if node is not source])
        with self._recorded(f"a slot of {component} moved"):
            for _ in self._cluster.move(slot, source, target):
                pass

    def kill_process(self) -> None:
        """Kill a process that uses the services."""
        member = self._pick.choice(self._group.members)
        with self._recorded("a process was killed"):
            member.signal(signal.SIGKILL)
            member.kill()
            member.start()


def masters(cluster: Cluster) -> list[embedded.EmbeddedServer]:
    """Return the nodes that run and serve slots."""
    return [node for node in cluster.nodes if node.running and _is_master(node)]


def _is_master(node: embedded.EmbeddedServer) -> bool:
    with node.client() as client, contextlib.suppress(Exception):
        return bool(client.info("replication")["role"] == "master")
    return False


def is_replica_in_sync(client: Any) -> bool:
    """Return whether a node is a replica that has caught up with its master."""
    info = client.info("replication")
    return bool(info["role"] == "slave" and info["master_link_status"] == "up")


@dataclass
class ClusterReport:
    """What an experiment has seen."""

    seconds: float = 0.0
    calls: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    excused: int = 0
    harms: list[Harm] = field(default_factory=list)
    late_seconds: float = 0.0
    carry_seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield the report as a person reads it."""
        yield f"{self.seconds:.0f} s of load, {self.calls.total():,} calls"
        for service, kind in sorted({(service, kind) for service, kind, _ in self.calls}):
            outcomes = [(outcome, self.calls[service, kind, outcome]) for outcome in ("ok", "unknown", "foreign")]
            listed = ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes if number)
            yield f"  {service + ' ' + kind:<20} {listed}"
        for what, times in sorted(Counter(harm.what for harm in self.harms).items()):
            longest = max(harm.ended - harm.begun for harm in self.harms if harm.what == what)
            yield f"  {what}: {times} times, {longest:.1f} s at most"
        yield f"calls failed up to {self.late_seconds:.1f} s after a harm had ended"
        yield f"{self.excused:,} acknowledged calls excused: of up to 2 s before a master died, or during it"
        yield f"all updates were in the cloud {self.carry_seconds:.1f} s after the load"
        yield f"VIOLATED {len(self.violations)} times" if self.violations else "holds"


class ClusterExperiment:
    """All services on a cluster, for so many seconds."""

    def __init__(self, plan: ServicePlan, say: Callable[[str], None] = lambda _: None) -> None:
        self._plan, self._say = plan, say
        self.report = ClusterReport()

    def run(self, seconds: float, period: float) -> ClusterReport:
        """Run the load with harm in each period, then check."""
        report, logs = self.report, Logs(self._plan.folder)
        with ClusterGroup(self._plan) as group:
            nemesis = ClusterNemesis(group, self._plan.seed)
            group.phase.value, began = LOAD, time.monotonic()
            while (elapsed := time.monotonic() - began) < seconds:
                nemesis.harm()
                self._say(f"{elapsed:.0f} s: harmed for {time.monotonic() - began - elapsed:.1f} s")
                time.sleep(max(0.0, min(seconds, elapsed + period) - (time.monotonic() - began)))
            group.mend()
            group.rest(60)
            report.seconds, report.harms = time.monotonic() - began, nemesis.harms
            calls = logs.new_calls()
            report.calls = Counter((call.strategy, call.kind, call.outcome) for call in calls)
            report.late_seconds = longest_error(calls, nemesis.harms)
            report.violations = [*self._faults(calls, group)]
        return report

    def _faults(self, calls: Sequence[Call], group: ClusterGroup) -> Iterator[str]:
        yield from foreign_faults(calls)
        yield from error_faults(calls, self.report.harms, ERROR_SECONDS)
        excused = excuse(calls, self.report.harms)
        self.report.excused = sum(
            call.outcome == "excused" and call.strategy != "sync" and call.kind not in ("get", "total")
            for call in excused
        )
        with open_cluster([node.port for node in group.cluster.nodes]) as client:
            for name in ("plain", "near"):
                some = [call for call in excused if call.strategy == f"cache-{name}"]
                faults = cache_faults(some, stale_seconds=NEAR_STALE_SECONDS if name == "near" else 0.0)
                yield from (f"cache-{name}: {fault}" for fault in faults)
            yield from metrics_faults([call for call in excused if call.strategy == "metrics"], *read_metrics(client))
            health = [call for call in excused if call.strategy == "health"]
            changes = find_changes(client)
            yield from leader_faults(health)
            yield from chain_faults(changes)
            yield from heartbeat_faults(health, changes, made.TIMEOUT_SECONDS)
            # The edge loses nothing, so no update is excused.
            yield from self._scope_faults([call for call in calls if call.strategy == "sync"], group, client)

    def _scope_faults(self, calls: Sequence[Call], group: ClusterGroup, client: Any) -> Iterator[str]:
        began = time.monotonic()
        with group.edge.client() as edge, open_store(client) as store:
            syncs = {scope: open_scope(edge, scope) for scope in SCOPES}
            with contextlib.suppress(AssertionError):  # the faults say what is missing
                eventually(lambda: are_carried(syncs, store), seconds=CARRY_SECONDS, every=0.5)
            self.report.carry_seconds = time.monotonic() - began
            at_edge, in_cloud = data_of(syncs, store)
            yield from scope_faults(calls, at_edge, in_cloud)
            with CloudWorker(edge, store, namespace=NAMESPACE) as worker:
                yield from (f"a dead letter: {letter}" for letter in worker.dead_letters())


def data_of(syncs: dict[str, Any], store: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the data of each scope at the edge and in the cloud."""
    states = {scope: (sync.get_local_state(), store.get(scope)) for scope, sync in syncs.items()}
    at_edge = {scope: state.data for scope, (state, _) in states.items() if state}
    return at_edge, {scope: state.data for scope, (_, state) in states.items() if state}


def are_carried(syncs: dict[str, Any], store: Any) -> bool:
    """Return whether nothing waits at the edge and the cloud has the same data."""
    with contextlib.suppress(EdgeRedisError):
        at_edge, in_cloud = data_of(syncs, store)
        return at_edge == in_cloud and not any(sync.pending_count for sync in syncs.values())
    return False
