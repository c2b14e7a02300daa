"""The calls that the processes of an experiment make of each service, and how they write them down.

Every process makes one call at a time. A call is one ``invoke`` line and one of its outcome: ``ok`` with its answer,
``unknown`` with an error of this package, after which nobody knows whether it took effect, or ``foreign`` with an error
that is not this package's. While all rest, each process makes the calls that make its part complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from edge_redis import (
    CloudWorker,
    ConflictStrategy,
    EdgeCache,
    EdgeMetrics,
    EdgeNode,
    EdgeRedisError,
    EdgeSynchronizer,
    HealthMonitor,
    HealthWatch,
    InvocationRecord,
    NearCache,
    RedisCloudStore,
    connect,
)
from support.coherence import COARSE_BUGS
from support.history.actors import LOAD, Plan, Role
from support.history.log import Log
from support.sync_plants import Plant, Runner

NO_PLANT: Final = Plant()
NAMESPACE: Final = "history"
CACHE_KEYS: Final = 16
COUNTERS: Final = 3
SMALL_SIZE: Final = 10
SMALL_KEYS: Final = 60
FUNCTIONS: Final = 3
LARGEST_MS: Final = 200
NODES_A_PROCESS: Final = 3
SPELL_SECONDS: Final = 5.0
"""How long a node that comes and goes sends heartbeats, and then none."""
TIMEOUT_SECONDS: Final = 1.0
ROUND_SECONDS: Final = 0.2
SCOPES: Final = tuple(f"s{number}" for number in range(24))


@dataclass(frozen=True)
class ServicePlan(Plan):
    """What the processes of an experiment with one service know, and those on a cluster."""

    near_bug: str = ""
    """A mistake of its near caches that a process has (``coherence.COARSE_BUGS``)."""
    is_cluster: bool = False


def plan_services(folder: Path, seed: int, *, plant: Plant = NO_PLANT, **options: Any) -> ServicePlan:
    """Return a plan without the strategies and scopes that an experiment of syncing has."""
    return ServicePlan((), 0, plant, folder, options.pop("pause", 0.02), seed, **options)


@dataclass(frozen=True, slots=True)
class Step:
    """One call that is about to be made."""

    service: str
    scope: str
    kind: str
    data: Any
    call: Callable[[], Any]


def plan_of(role: Role) -> ServicePlan:
    """Return the plan of a process."""
    assert isinstance(role.plan, ServicePlan)
    return role.plan


def open_client(role: Role) -> Any:
    """Return a client of the server, or of the cluster where a process has the ports of several."""
    return open_cluster(role.ports) if len(role.ports) > 1 else role.client(role.ports[0])


def open_cluster(ports: Sequence[int]) -> Any:
    """Return a client of a cluster."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return connect(f"redis+cluster://{hosts}", socket_timeout=1.0, socket_connect_timeout=1.0)


def _plant(role: Role, service: Any, client: Any) -> Any:
    """Let a service run the scripts of the plan's plant, where it has one."""
    if role.plan.plant.rewrites:
        service._runner = Runner(client, role.plan.plant.rewrites)
    return service


class CacheCalls:
    """Puts, reads, removals and counts of a cache, of one with a near cache, and of one that is always full."""

    def __init__(self, role: Role) -> None:
        plan = plan_of(role)
        break_near_caches: Callable[[], None] = COARSE_BUGS[plan.near_bug]
        break_near_caches()
        self._pick, self._client = role.pick, open_client(role)
        kinds: dict[str, dict[str, Any]] = {"plain": {}, "near": {"near_cache": NearCache(100, 3600)}}
        if not plan.is_cluster:  # there ``max_size`` is divided among shards
            kinds["small"] = {"max_size": SMALL_SIZE}
        self._caches = {
            name: _plant(
                role,
                EdgeCache(self._client, namespace=f"{NAMESPACE}-{name}", default_ttl=86_400, **options),
                self._client,
            )
            for name, options in kinds.items()
        }

    def choose(self, op: str) -> Step:
        """Return any call."""
        pick, name = self._pick, self._pick.choice([*self._caches])
        cache = self._caches[name]
        key = f"k{pick.randrange(SMALL_KEYS if name == 'small' else CACHE_KEYS)}"
        # A stale entry of a near cache is seen where its key is read again and again, and seldom written.
        kinds = (
            {"get": 90, "put": 8, "delete": 2} if name == "near" else {"get": 50, "put": 20, "delete": 5, "incr": 25}
        )
        kind = pick.choices([*kinds], [*kinds.values()])[0]
        if kind == "incr":
            key = f"c{pick.randrange(COUNTERS)}"
        if name == "small":
            kind = pick.choice(["put", "put", "get", "size"])
        calls: dict[str, Callable[[], Any]] = {
            "get": lambda: cache.get(key),
            "put": lambda: cache.put(key, op),
            "delete": lambda: cache.delete(key),
            "incr": lambda: cache.incr(key),
            "size": lambda: cache.size,
        }
        return Step(f"cache-{name}", key, kind, op if kind == "put" else None, calls[kind])

    def finish(self) -> Iterator[Step]:
        """Read everything once more."""
        for name in ("plain", "near"):
            for number in range(CACHE_KEYS):
                key = f"k{number}"
                yield Step(f"cache-{name}", key, "get", None, partial(self._caches[name].get, key))


class MetricsCalls:
    """Records, each delivered at once or by a flush, and totals. Each life of a process is a node of its own."""

    def __init__(self, role: Role) -> None:
        self._pick, self._client, self._node = role.pick, open_client(role), f"{role.name}.{role.life}"
        self._is_buffered = role.number % 2 == 1
        metrics = EdgeMetrics(
            self._client,
            namespace=NAMESPACE,
            flush_every=1_000_000 if self._is_buffered else 1,
            flush_interval=3600,
            max_recent=100_000,
        )
        self._metrics = _plant(role, metrics, self._client)

    def choose(self, op: str) -> Step:
        """Return any call."""
        kind = self._pick.choices(["record", "flush", "total"], [16, 2 if self._is_buffered else 0, 1])[0]
        if kind == "total":
            return Step("metrics", "", "total", None, self._metrics.total_invocations)
        if kind == "flush":
            return Step("metrics", "", "flush", None, self._metrics.flush)
        function, ms = f"f{self._pick.randrange(FUNCTIONS)}", self._pick.randint(1, LARGEST_MS)
        record = InvocationRecord(function, self._node, float(ms), success=self._pick.random() < 0.8, error=op)
        data = {"node": self._node, "ms": ms, "is_buffered": self._is_buffered, "success": record.success}
        return Step("metrics", function, "record", data, lambda: self._metrics.record(record))

    def finish(self) -> Iterator[Step]:
        """Deliver what is left."""
        yield Step("metrics", "", "flush", None, self._metrics.flush)


class HeartbeatCalls:
    """Heartbeats of a few nodes, one of which comes and goes."""

    def __init__(self, role: Role) -> None:
        self._pick, self._client = role.pick, open_client(role)
        self._nodes = [EdgeNode(f"{role.name}-{number}", "node") for number in range(NODES_A_PROCESS)]
        monitor = HealthMonitor(self._client, TIMEOUT_SECONDS, namespace=NAMESPACE)
        self._monitor = _plant(role, monitor, self._client)
        self._turn = count()

    def choose(self, _: str) -> Step:
        """Return the next node's heartbeat."""
        is_quiet = int(time.monotonic() / SPELL_SECONDS) % 2
        node = self._nodes[next(self._turn) % (NODES_A_PROCESS - is_quiet)]
        return Step("health", node.id, "beat", None, lambda: self._monitor.heartbeat(node))

    def finish(self) -> Iterator[Step]:
        """Do nothing."""
        yield from ()


class WatchCalls:
    """Rounds of a watch."""

    def __init__(self, role: Role) -> None:
        self._client = open_client(role)
        watch = HealthWatch(
            self._client,
            TIMEOUT_SECONDS,
            namespace=NAMESPACE,
            interval_seconds=ROUND_SECONDS,
            max_transitions=100_000,
            flap_rate=None,
        )
        self._watch = _plant(role, watch, self._client)

    def choose(self, _: str) -> Step:
        """Return the next round."""
        return Step("health", "", "round", None, self._round)

    def _round(self) -> dict[str, Any]:
        done = self._watch.run_once()
        return {"leader": done.leader, "term": done.term}

    def finish(self) -> Iterator[Step]:
        """Do nothing."""
        yield from ()


class ScopeCalls:
    """Updates of scopes at the edge, each of a field that only this life of a process writes, with rising numbers."""

    def __init__(self, role: Role) -> None:
        self._pick, self._client, self._field = role.pick, open_client(role), f"{role.name}.{role.life}"
        self._numbers = count(1)
        self._scopes = {scope: open_scope(self._client, scope) for scope in SCOPES}

    def choose(self, _: str) -> Step:
        """Return an update of any scope."""
        scope, number = self._pick.choice(SCOPES), next(self._numbers)
        return Step("sync", scope, "update", {self._field: number}, partial(self._update, scope, number))

    def _update(self, scope: str, number: int) -> int:
        return self._scopes[scope].update_local({self._field: number}, is_delta=True).version

    def finish(self) -> Iterator[Step]:
        """Do nothing."""
        yield from ()


def open_scope(client: Any, scope: str) -> EdgeSynchronizer:
    """Return a scope at the edge."""
    return EdgeSynchronizer(client, ConflictStrategy.MERGE, scope=scope, namespace=NAMESPACE, max_pending=1000)


def perform(role: Role, calls: Any) -> None:
    """Make calls while there is load, and those that complete them in each rest. It is busy until these are made."""
    log = Log(role.plan.folder / f"{role.name}-{role.life}.log")
    numbers, is_finished = count(1), False
    while role.goes_on:
        if role.phase.value == LOAD:
            role.busy[role.slot], is_finished = True, False
            op = f"{role.name}.{role.life}.{next(numbers)}"
            make(log, op, calls.choose(op))
        elif not is_finished:
            outcomes = [make(log, f"{role.name}.{role.life}.{next(numbers)}", step) for step in calls.finish()]
            is_finished = all(outcome == "ok" for outcome in outcomes)
            role.busy[role.slot] = not is_finished
        time.sleep(min(0.2, role.pick.expovariate(1 / role.plan.pause)))


def make(log: Log, op: str, step: Step) -> str:
    """Make one call between its two lines; return its outcome."""
    log.write("invoke", op, end=0, ns=step.service, scope=step.scope, kind=step.kind, data=step.data)
    try:
        answer = step.call()
    except EdgeRedisError as error:
        outcome, facts = "unknown", {"error": repr(error)}
    except Exception as error:  # noqa: BLE001 -- whatever it is, it must not come out of a service
        outcome, facts = "foreign", {"error": repr(error)}
    else:
        outcome, facts = "ok", {"answer": answer}
    log.write(outcome, op, **facts)
    return outcome


def opened(role: Role, kind: Callable[[Role], Any]) -> Any:
    """Return the calls of a process, which may have to wait for its server."""
    while role.goes_on:
        with suppress(EdgeRedisError):
            return kind(role)
        time.sleep(0.05)
    raise SystemExit


def use_cache(role: Role) -> None:
    """Be a process that uses the cache."""
    role.begin()
    perform(role, opened(role, CacheCalls))


def use_metrics(role: Role) -> None:
    """Be a process that records."""
    role.begin()
    perform(role, opened(role, MetricsCalls))


def send_heartbeats(role: Role) -> None:
    """Be a process that sends heartbeats."""
    role.begin()
    perform(role, opened(role, HeartbeatCalls))


def watch(role: Role) -> None:
    """Be a watch."""
    role.begin()
    perform(role, opened(role, WatchCalls))


def update_scopes(role: Role) -> None:
    """Be a process that updates scopes at the edge."""
    role.begin()
    perform(role, opened(role, ScopeCalls))


def carry(role: Role) -> None:
    """Be a worker between the edge, at the first port, and the cloud, a cluster."""
    role.begin()
    role.busy[role.slot] = False
    edge = role.client(role.ports[0])
    cloud = opened(role, lambda role: open_cluster(role.ports[1:]))
    with CloudWorker(edge, open_store(cloud), namespace=NAMESPACE) as worker:
        worker.start()
        while role.goes_on:
            time.sleep(0.05)


def open_store(client: Any) -> RedisCloudStore:
    """Return the cloud of the scopes, in shards."""
    return RedisCloudStore(client, namespace=NAMESPACE, shards=12)
