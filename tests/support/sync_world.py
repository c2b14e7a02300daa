"""Edges and a cloud for the scheduler of ``support.simulation``, and what must hold of them in the end.

Each end is a fakeredis of its own, or the cloud an SQL database; its clock may be ahead or behind. Every
run ends the same way: what was cut is healed, workers run until nothing is left to do, and then the ends must be
equal, with every acknowledged write in the state, written over by one that knew it, or among
the conflicts. ``plant`` puts a mistake into the scripts or the worker, to see it caught.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import pairwise
from typing import Any

import fakeredis

from edge_redis import ConflictStrategy, EdgeSynchronizer, RedisCloudStore
from edge_redis.core.operation import Batch, Call, Flow, Operation, command
from edge_redis.core.script import Script
from edge_redis.errors import EdgeRedisError
from edge_redis.runtime.runner import BlockingRunner
from edge_redis.state.synchronizer import Synchronizer
from edge_redis.state.worker import Worker
from edge_redis.stores.sql import SqlCloudStore
from support.simulation import CRASHES, LOSSES, Actor, Scenario

SCOPE = "room"
FAULTS = (*LOSSES, *CRASHES)
ROUNDS = 200
Rewrites = tuple[tuple[str, str], ...]


@cache
def _rewritten(script: Script, rewrites: Rewrites) -> Script:
    source = script.source
    for old, new in rewrites:
        source = source.replace(old, new)
    return replace(script, source=source, sha=hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class Runner(BlockingRunner):
    """Runs the scripts with some of their text replaced."""

    def __init__(self, client: Any, rewrites: Rewrites) -> None:
        super().__init__(client)
        self._rewrites = rewrites

    def _mine(self, operation: Operation[Any]) -> Operation[Any]:
        if operation.script is None or not self._rewrites:
            return operation
        script = _rewritten(operation.script, self._rewrites)
        return Operation(("EVALSHA", script.sha, *operation.words[2:]), operation.decode, script)

    def _operation(self, operation: Operation[Any]) -> Any:
        return super()._operation(self._mine(operation))

    def _batch(self, batch: Batch[Any]) -> list[Any]:
        return super()._batch(Batch([*map(self._mine, batch.operations)], ordered=batch.ordered))


def skewed(seconds: int) -> Rewrites:
    """Return what makes a server's clock run ahead by so many seconds, or behind."""
    shifted = f"(function() local t = redis.call('TIME') return {{t[1] + {seconds}, t[2]}} end)()"
    return (("redis.call('TIME')", shifted),) if seconds else ()


@dataclass(frozen=True)
class Plant:
    """A mistake: text of the scripts replaced, or another worker."""

    rewrites: Rewrites = ()
    worker: type[Worker] = Worker


@dataclass
class World:
    """Edges and a cloud, each a server of its own."""

    strategy: ConflictStrategy = ConflictStrategy.REMOTE_WINS
    edges: int = 1
    plant: Plant = field(default_factory=Plant)
    skews: Sequence[int] = ()
    named: bool = False
    max_pending: int = 100
    batch_size: int = 10
    claim_idle_seconds: float = 0.001
    sql: bool = False
    servers: list[fakeredis.FakeServer] = field(init=False)
    excused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.servers = [fakeredis.FakeServer() for _ in range(self.edges + 1)]
        self.cloud = self._sql_store() if self.sql else self._redis_store()
        self.syncs = [self._sync(edge) for edge in range(self.edges)]
        self.keys = 0
        self.written: list[list[str]] = [[] for _ in range(self.edges)]

    def _redis_store(self) -> Any:
        store = RedisCloudStore(self.client(-1))
        store._runner = self.runner(-1)
        return store

    def _sql_store(self) -> Any:
        store, ahead = SqlCloudStore("sqlite://"), (self.skews[-1] if self.skews else 0) * 1_000_000
        store._made.now = lambda _: time.time_ns() // 1000 + ahead
        return store

    def client(self, server: int) -> fakeredis.FakeRedis:
        return fakeredis.FakeRedis(server=self.servers[server])

    def runner(self, server: int) -> Runner:
        skew = self.skews[server] if self.skews else 0
        return Runner(self.client(server), (*self.plant.rewrites, *skewed(skew)))

    def _sync(self, edge: int) -> EdgeSynchronizer:
        sync = EdgeSynchronizer(
            self.client(edge), self.strategy, self.max_pending, scope=SCOPE, origin=self.origin(edge)
        )
        sync._runner = self.runner(edge)
        return sync

    def origin(self, edge: int) -> str | None:
        return f"edge-{edge}" if self.named else None

    def room(self, edge: int) -> Synchronizer:
        return Synchronizer(
            self.strategy,
            self.max_pending,
            scope=SCOPE,
            namespace="default",
            origin=self.origin(edge),
            overflow="coalesce",
            max_history=1000,
            max_conflicts=1000,
        )

    def worker(self, name: str) -> Worker:
        return self.plant.worker(
            self.cloud,
            namespace="default",
            group="cloud",
            consumer=name,
            batch_size=self.batch_size,
            claim_idle_seconds=self.claim_idle_seconds,
            max_deliveries=1000,
        )

    def actor(self, name: str, edge: int, start: Callable[[], Any], faults: Sequence[Any] = FAULTS) -> Actor:
        return Actor(name, self.client(edge), start, faults, runner=self.runner(edge))

    def writer(self, edge: int = 0, updates: int = 1, *, faults: Sequence[Any] = FAULTS) -> Actor:
        """Return an actor that merges keys of its own into the scope and returns those acknowledged."""
        keys = [f"k{self.keys + number}" for number in range(updates)]
        self.keys += updates
        room = self.room(edge)

        def write() -> Flow[None]:
            for key in keys:
                yield from room.update_local({key: 1}, is_delta=True)
                self.written[edge].append(key)

        return self.actor(f"writer {keys[0]}", edge, write, faults)

    def delivery(self, name: str, edge: int = 0, rounds: int = 1, *, faults: Sequence[Any] = FAULTS) -> Actor:
        """Return an actor that works as CloudWorker.run does."""
        worker = self.worker(name)

        def work() -> Flow[None]:
            for _ in range(rounds):
                try:
                    yield from worker.run_once()
                except EdgeRedisError:
                    continue

        return self.actor(name, edge, work, faults)

    def pusher(self, name: str, *, faults: Sequence[Any] = FAULTS) -> Actor:
        """Return an actor that goes once through the way up alone."""
        return self.actor(name, 0, self.worker(name)._push, faults)

    def editor(self) -> Actor:
        if self.sql:
            update = partial(self.cloud.update, is_delta=True)
            return self.actor("editor", -1, lambda: Call(update, SCOPE, {"cloud": 1}), ())
        return self.actor("editor", -1, lambda: self.cloud._room.update(SCOPE, {"cloud": 1}, is_delta=True), ())

    def wiper(self, edge: int = 0, updates: int = 1) -> Actor:
        """Return an actor that takes all from an edge, which then begins to write anew."""
        writer = self.writer(edge, updates, faults=())

        def wipe() -> Flow[None]:
            yield from command(bool, "FLUSHALL")
            # What had not gone up is gone, and no service of this package could tell.
            self.excused.update(self.written[edge])
            yield from writer.start()

        return self.actor("wiper", edge, wipe, ())

    def carry(self, edge: int = 0) -> None:
        """Let a worker carry both ways what there is now."""
        self.runner(edge).run(self.worker(f"carrier {edge}").run_once())

    def heal(self) -> None:
        for edge in range(self.edges):
            self._settle(edge)
        for edge in range(self.edges):  # what one edge sent comes down to the others
            self._settle(edge)

    def _settle(self, edge: int) -> None:
        runner, healer = self.runner(edge), self.worker(f"healer {edge}")

        for _ in range(ROUNDS):
            if not runner.run(healer.run_once()) and self.syncs[edge].pending_count == 0:
                return
            time.sleep(0.002)  # for the claim time; the bound is in rounds, so that a busy machine is no failure
        raise AssertionError(f"{self.syncs[edge].pending_count} changes still wait after {ROUNDS} rounds")

    def check(self, _actors: Sequence[Actor] = ()) -> None:
        self.heal()
        final = self.cloud.get(SCOPE)
        states = [sync.get_local_state() for sync in self.syncs]
        assert all(state == final for state in states), f"{states} and the cloud's {final}"
        assert all(sync.is_synced for sync in self.syncs)
        kept = [final.data] if final else []
        for end in [*self.syncs, self.cloud]:
            arguments = (SCOPE, 1000) if end is self.cloud else (1000,)
            kept += [conflict["data"] for conflict in end.conflicts(*arguments)]
        for key in {key for keys in self.written for key in keys} - self.excused:
            assert any(key in data for data in kept), f"{key} was acknowledged and is lost"
        if self.edges == 1:
            versions = [event.version for event in self.cloud.sync_history(SCOPE, 1000) if event.success]
            assert all(earlier < later for earlier, later in pairwise(versions)), f"effects {versions}"
        self.cloud.close()


def crowd(strategy: ConflictStrategy, *, plant: Plant | None = None, sql: bool = False) -> Callable[[], Scenario]:
    """Return the larger scenario: edges an hour apart, two writers, a worker and its heir each, and a cloud edit."""

    def make() -> Scenario:
        edges = 1 if strategy is ConflictStrategy.LOCAL_WINS else 2
        world = World(strategy, edges, plant or Plant(), skews=(*(-3600, 0, 1800)[:edges], 1800), sql=sql)
        actors = [world.editor()]
        for edge in range(edges):
            actors += [world.writer(edge, 2), world.writer(edge, 2)]
            actors += [world.delivery(f"worker {edge}", edge, 3), world.delivery(f"heir {edge}", edge, 3)]
        return Scenario(actors, world.check, max_faults=4)

    return make


def writer_and_worker(strategy: ConflictStrategy) -> Callable[[], Scenario]:
    """Return a small scenario: one more update while a worker pushes the first."""

    def make() -> Scenario:
        world = World(strategy)
        world.syncs[0].update_local({"first": 1})
        return Scenario([world.writer(), world.pusher("worker")], world.check, max_faults=1)

    return make


def puller_and_editor(strategy: ConflictStrategy) -> Callable[[], Scenario]:
    """Return a small scenario: an edit of the cloud while an edge pulls the one before."""

    def make() -> Scenario:
        world = World(strategy)
        world.cloud.update(SCOPE, {"first": 1})
        puller = world.worker("worker")
        return Scenario([world.actor("puller", 0, puller._puller.pull, FAULTS), world.editor()], world.check)

    return make
