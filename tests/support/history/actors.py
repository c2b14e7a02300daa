"""The processes of an experiment: those that write at an edge, the cloud's editor, and the workers.

Each is started with a ``Role``, works while the shared phase is LOAD, and can be killed at any
instruction: what it did is in its log. Its own clock (``time.time``) is off by up to an hour;
nothing in the exchange may depend on it.
"""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from edge_redis import CloudWorker, ConflictStrategy, EdgeSynchronizer, RedisCloudStore, connect
from edge_redis._sync import pace
from edge_redis.errors import EdgeRedisError, InvalidArgumentError, PendingFullError
from support.history.kinds import OLDER, SMALL_SPLICES, OlderStore, splice_small_bodies
from support.history.log import TOKEN, Log
from support.sync_plants import Plant, Runner

LOAD, REST, END = range(3)
CLOUD = 2
"""The number of the cloud among the ends; the edges are 0 and 1."""
KEPT = 100_000
CLAIM = 2.5
"""Seconds. Above all that a call may take with its repeats, or an outage looks like one death after another."""
TRIES = 1000
"""A change counts one more try where its worker was so slow that another one took over. Here many are, and not by fault
of a change: none may come among the dead letters."""
FIELDS = [f"f{number}" for number in range(6)]


@dataclass(frozen=True)
class Plan:
    """What all processes of an experiment know."""

    strategies: tuple[ConflictStrategy, ...]
    scopes: int
    plant: Plant
    folder: Path
    pause: float
    """Mean seconds between two calls of a process."""
    seed: int
    mixed: bool = False
    """Whether some processes are older ones (``kinds.py``)."""
    small_splices: bool = False
    """Whether the bodies, which are small, are spliced."""

    def authority(self, scope: int) -> int:
        """Return the edge that is LOCAL_WINS of a scope where that is the strategy."""
        return scope % 2

    def settings(self, strategy: ConflictStrategy, scope: int, edge: int) -> dict[str, Any]:
        """Return a scope's settings: named and unnamed origins, small, large and full outboxes, all mixed."""
        local = strategy is ConflictStrategy.LOCAL_WINS
        pending, overflow = ((3, "coalesce"), (100, "coalesce"), (2, "coalesce"), (8, "reject"))[scope // 2 % 4]
        return {
            "conflict_strategy": strategy if not local or self.authority(scope) == edge else "remote_wins",
            "max_pending": pending,
            "overflow": overflow,
            "origin": f"edge-{edge}" if local or scope // 8 % 2 == 0 else None,
            "scope": f"s{scope}",
            "namespace": strategy.value,
            "max_history": KEPT,
            "max_conflicts": KEPT,
        }


@dataclass
class Role:
    """One process: where it is, what it goes through to get there, and which of its lives this is."""

    plan: Plan
    name: str
    life: int
    end: int
    ports: tuple[int, ...]
    phase: Any
    busy: Any
    slot: int
    skews: Any
    number: int = 0
    pick: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.pick = random.Random(f"{self.plan.seed} {self.name} {self.life}")

    def client(self, port: int) -> redis.Redis:
        """Return a client that gives up soon: half of the processes' send again what was lost, half do not."""
        if self.number % 2:
            client = connect(f"redis://127.0.0.1:{port}", socket_timeout=0.4, socket_connect_timeout=0.4)
            assert isinstance(client, redis.Redis)
            return client
        # redis-py takes None for a retry, and says so nowhere.
        no_retry: Any = None
        return redis.Redis(port=port, retry=no_retry, socket_timeout=0.4, socket_connect_timeout=0.4)

    @property
    def is_older(self) -> bool:
        """Whether this process is an older one; of each kind there are some at each end, and each becomes the other."""
        return self.plan.mixed and self.number // 2 % 2 == 1

    def runner(self, client: redis.Redis, end: int) -> Runner:
        rewrites = self.plan.plant.rewrites
        if self.plan.small_splices:
            rewrites += SMALL_SPLICES
        if self.is_older:
            rewrites += OLDER
        return Runner(client, rewrites, lambda: self.skews[end])

    def begin(self) -> None:
        if self.plan.small_splices:
            splice_small_bodies()
        # What was lost, or failed, is tried again soon: a round is short.
        vars(pace).update(READ_SECONDS=3.0, LONGEST_RETRY_SECONDS=2.0)
        path = self.plan.folder / f"{self.name}-{self.life}.err"
        logger = logging.getLogger("edge_redis")
        logger.propagate = False
        logger.addHandler(logging.FileHandler(path, delay=True))
        logger.handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(threadName)s %(message)s"))
        self._stacks = path.with_suffix(".stacks").open("w")
        faulthandler.register(signal.SIGUSR1, self._stacks, all_threads=True)
        real, off = time.time, self.pick.randint(-3600, 3600)
        time.time = lambda: real() + off

    @property
    def goes_on(self) -> bool:
        """Whether to go on. A process whose parents are gone ends too."""
        parent = multiprocessing.parent_process()
        return self.phase.value != END and parent is not None and parent.is_alive()


Write = Callable[[str, Any], Any]


class Scopes:
    """The scopes as one process sees them: an edge's, through a synchronizer each, or the cloud's."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._client = role.client(role.ports[0])
        self._syncs: dict[tuple[str, int], EdgeSynchronizer] = {}
        self._stores: dict[str, RedisCloudStore] = {}

    def _sync(self, strategy: ConflictStrategy, scope: int) -> EdgeSynchronizer:
        key = (strategy.value, scope)
        if key not in self._syncs:
            sync = EdgeSynchronizer(self._client, **self._role.plan.settings(strategy, scope, self._role.end))
            sync._runner = self._role.runner(self._client, self._role.end)
            self._syncs[key] = sync
        return self._syncs[key]

    def _store(self, strategy: ConflictStrategy) -> RedisCloudStore:
        if strategy.value not in self._stores:
            self._stores[strategy.value] = store_of(self._role, self._client, strategy)
        return self._stores[strategy.value]

    def call(self, strategy: ConflictStrategy, scope: int, kind: str, data: Any) -> Any:
        """Make one call of the public API."""
        if self._role.end == CLOUD:
            store, name = self._store(strategy), f"s{scope}"
            calls: dict[str, Callable[[], object]] = {
                "delta": lambda: store.update(name, data, is_delta=True),
                "replace": lambda: store.update(name, data),
                "fields": lambda: store.delete_fields(name, *data),
                "delete": lambda: store.delete(name),
                "read": lambda: store.get(name),
            }
        else:
            sync = self._sync(strategy, scope)
            calls = {
                "delta": lambda: sync.update_local(data, is_delta=True),
                "replace": lambda: sync.update_local(data),
                "fields": lambda: sync.delete_fields(*data),
                "delete": sync.delete,
                "read": sync.get_local_state,
            }
        return calls[kind]()


def store_of(role: Role, client: redis.Redis, strategy: ConflictStrategy) -> RedisCloudStore:
    store = RedisCloudStore(client, namespace=strategy.value, max_history=KEPT, max_conflicts=KEPT)
    store._runner = role.runner(client, CLOUD)
    return store


def _answer(state: Any) -> dict[str, Any]:
    if isinstance(state, bool) or state is None:
        return {"answer": state}
    clock = f"{round(state.updated_at.timestamp() * 1_000_000):018d}"
    return {"version": state.version, "clock": clock, "checksum": state.checksum, "origin": state.origin}


def _chosen(role: Role, count: int) -> tuple[ConflictStrategy, int, str, Any]:
    pick, plan = role.pick, role.plan
    strategy = pick.choice(plan.strategies)
    # Half of all calls are of a few scopes: those are written to while their former changes are under way.
    scope = pick.randrange(max(1, plan.scopes // 8) if pick.random() < 0.5 else plan.scopes)
    kind = pick.choices(["delta", "replace", "fields", "delete", "read"], [50, 20, 10, 8, 12])[0]
    if strategy is ConflictStrategy.LOCAL_WINS and role.end not in (plan.authority(scope), CLOUD):
        kind = "read"
    op = f"{role.name}.{role.life}.{count}"
    names = pick.sample(FIELDS, pick.randint(1, 3))
    data: Any = None
    if kind in ("delta", "replace"):
        data = {TOKEN: op, **{name: f"{op}/{name}" for name in names}}
    elif kind == "fields":
        data = names
    return strategy, scope, kind, data


def write(role: Role) -> None:
    """Make random calls, and write down each before it is made and after."""
    role.begin()
    log, scopes, count = Log(role.plan.folder / f"{role.name}-{role.life}.log"), Scopes(role), 0
    while role.goes_on:
        role.busy[role.slot] = 1
        if role.phase.value == LOAD:
            count += 1
            strategy, scope, kind, data = _chosen(role, count)
            op = f"{role.name}.{role.life}.{count}"
            log.write("invoke", op, end=role.end, ns=strategy.value, scope=f"s{scope}", kind=kind, data=data)
            try:
                log.write("ok", op, **_answer(scopes.call(strategy, scope, kind, data)))
            except (PendingFullError, InvalidArgumentError) as error:
                log.write("fail", op, error=repr(error))
            except EdgeRedisError as error:
                log.write("unknown", op, error=repr(error))
        role.busy[role.slot] = 0
        time.sleep(min(0.2, role.pick.expovariate(1 / role.plan.pause)))


def work(role: Role) -> None:
    """Serve both edges: a CloudWorker a thread for each edge and strategy, as a service would run them."""
    role.begin()
    workers = []
    clients = [role.client(port) for port in role.ports]
    for strategy in role.plan.strategies:
        for edge in (0, 1):
            store: Any = store_of(role, clients[CLOUD], strategy)
            if role.is_older:
                store = OlderStore(role.runner(clients[CLOUD], CLOUD), strategy.value, KEPT)
            worker = CloudWorker(
                clients[edge],
                store,
                namespace=strategy.value,
                consumer=role.name if role.number else None,
                batch_size=3,
                claim_idle_seconds=CLAIM,
                max_deliveries=TRIES,
            )
            worker._runner = role.runner(clients[edge], edge)
            workers.append(worker)
    for worker in workers:
        threading.Thread(target=worker.run, daemon=True).start()
    while role.goes_on:
        time.sleep(0.05)
    for worker in workers:
        worker.stop()
