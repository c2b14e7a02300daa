"""Edges and a cloud for the scheduler of ``support.simulation``, and what must hold of them in the end.

Each end is a simulated server of its own, or the cloud an SQL database; its clock may be ahead or behind. Every
run ends the same way: what was cut is healed, workers run until nothing is left to do, and then the ends must be
equal, with every acknowledged write in the state, written over by one that knew it, or among
the conflicts. ``plant`` puts a mistake into the scripts, to see it caught.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from edge_redis import ConflictStrategy, EdgeSynchronizer, RedisCloudStore
from edge_redis._core.operation import Batch, Invoke, Operation, Sleep, command
from edge_redis._core.shard_record import ShardRecord
from edge_redis._core.shards import KnownRecord, ShardCount
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._sync.edge_keys import count_shards
from edge_redis._sync.synchronizer import Synchronizer
from edge_redis._sync.worker import Worker
from edge_redis.cloudstores.sql import SqlCloudStore
from edge_redis.errors import EdgeRedisError
from support.checked import present
from support.simulated import Client, SimulatedServer
from support.simulation import CRASHES, LOSSES, Actor, Scenario
from support.sync_plants import Plant, Rewrites, rewritten

SCOPE = "room"
FAULTS = (*LOSSES, *CRASHES)
ROUNDS = 200


class Runner(BlockingRunner):
    """Runs the scripts with some of their text replaced, and sends their source, which no server need have."""

    def __init__(self, client: Any, rewrites: Rewrites) -> None:
        super().__init__(client)
        self._rewrites = rewrites

    def _mine(self, operation: Operation[Any]) -> Operation[Any]:
        if operation.script is None:
            return operation
        script = rewritten(operation.script, self._rewrites)
        return Operation(("EVAL", script.source, *operation.args[2:]), operation.decode, script)

    def perform_operation(self, operation: Operation[Any]) -> Any:
        return super().perform_operation(self._mine(operation))

    def perform_batch(self, batch: Batch[Any]) -> list[Any]:
        operations = [*map(self._mine, batch.operations)]
        return super().perform_batch(
            Batch(operations, ordered=batch.ordered, return_exceptions=batch.return_exceptions)
        )


@dataclass
class World:
    """Edges and a cloud, each a server of its own."""

    strategy: ConflictStrategy = ConflictStrategy.REMOTE_WINS
    edges: int = 1
    plant: Plant = field(default_factory=Plant)
    skews: Sequence[float] = ()
    named: bool = False
    signed: bool = False
    max_pending: int = 100
    batch_size: int = 10
    claim_idle_seconds: float = 0.001
    tick: int = 100
    sql: bool = False
    shards: int = 1
    servers: list[SimulatedServer] = field(init=False)
    excused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        skews = self.skews or [0] * (self.edges + 1)
        self.servers = [SimulatedServer(skew, self.tick) for skew in skews]
        self.cloud = self._sql_store() if self.sql else self._redis_store()
        self.syncs = [self._sync(edge) for edge in range(self.edges)]
        self.keys = 0
        # Keys whose write was acknowledged, by edge; those of the cloud come last.
        self.written: list[list[str]] = [[] for _ in range(self.edges + 1)]

    def _redis_store(self) -> Any:
        store = RedisCloudStore(self.client(-1))
        store._runner = self.runner(-1)
        return store

    def _sql_store(self) -> Any:
        store, server = SqlCloudStore("sqlite://"), self.servers[-1]

        def now(_: object) -> int:
            server.now += self.tick
            return server.now

        store._database.now = now  # type: ignore[method-assign, assignment] # the simulation's clock
        return store

    def client(self, server: int) -> Client:
        return Client(self.servers[server])

    def runner(self, server: int) -> Runner:
        return Runner(self.client(server), self.plant.rewrites)

    def state(self) -> Hashable:
        """Return what names all that the actors share."""
        written = tuple(tuple(sorted(keys)) for keys in self.written)
        return tuple(server.state for server in self.servers), written, tuple(sorted(self.excused))

    def _sync(self, edge: int) -> EdgeSynchronizer:
        sync = EdgeSynchronizer(
            self.client(edge),
            self.strategy,
            self.max_pending,
            scope=SCOPE,
            origin=self.origin(edge),
            signing_key=self.key(edge),
            shards=self.shards,
        )
        sync._runner = self.runner(edge)
        return sync

    def shard_count(self) -> ShardCount | None:
        """Return the number of an edge's shards, which is known; None of one."""
        if self.shards == 1:
            return None
        known = KnownRecord()
        known.record = ShardRecord("1", self.shards)
        return count_shards("default", known=known)

    def origin(self, edge: int) -> str | None:
        return f"edge-{edge}" if self.named or self.signed else None

    def key(self, edge: int) -> bytes | None:
        return f"the key of edge {edge}".encode() if self.signed else None

    @property
    def keys_of_all(self) -> dict[str, bytes] | None:
        if not self.signed:
            return None
        keys = {f"edge-{edge}": present(self.key(edge)) for edge in range(self.edges)}
        return {"cloud": b"the key of the cloud", **keys}

    def synchronizer(self, edge: int, scope: str = SCOPE) -> Synchronizer:
        return Synchronizer(
            self.strategy,
            self.max_pending,
            scope=scope,
            namespace="default",
            origin=self.origin(edge),
            overflow="coalesce",
            max_history=1000,
            max_conflicts=1000,
            signing_key=self.key(edge),
            shards=self.shard_count(),
        )

    def worker(self, name: str, push: Sequence[str] = ("*",)) -> Worker:
        return Worker(
            self.cloud,
            namespace="default",
            group="cloud",
            consumer=name,
            batch_size=self.batch_size,
            claim_idle_seconds=self.claim_idle_seconds,
            max_deliveries=1000,
            keys=self.keys_of_all,
            push=push,
            shards=self.shard_count(),
        )

    def actor(self, name: str, edge: int, start: Callable[[], Any], faults: Sequence[Any] = FAULTS) -> Actor:
        return Actor(
            name, self.client(edge), start, faults, runner=self.runner(edge), sleep=self.servers[edge].pass_time
        )

    def writer(self, edge: int = 0, updates: int = 1, *, faults: Sequence[Any] = FAULTS) -> Actor:
        """Return an actor that merges keys of its own into the scope and returns those acknowledged."""
        keys = [f"k{self.keys + number}" for number in range(updates)]
        self.keys += updates
        synchronizer = self.synchronizer(edge)

        async def write() -> None:
            for key in keys:
                await synchronizer.update_local({key: 1}, is_delta=True)
                self.written[edge].append(key)

        return self.actor(f"writer {keys[0]}", edge, write, faults)

    def delivery(
        self,
        name: str,
        edge: int = 0,
        rounds: int = 1,
        *,
        faults: Sequence[Any] = FAULTS,
        after: float = 0,
        push: Sequence[str] = ("*",),
        ends: bool = False,
    ) -> Actor:
        """Return an actor that works as CloudWorker.run does, from so many seconds on; ``ends``: it is closed then."""
        worker = self.worker(name, push)

        async def work() -> None:
            if after:
                await Sleep(after)
            for number in range(rounds):
                if number:
                    await Sleep(self.claim_idle_seconds / 2)
                try:
                    await worker.run_once()
                except EdgeRedisError:
                    continue
            if ends:
                await worker.end()

        return self.actor(name, edge, work, faults)

    def pusher(self, name: str, *, faults: Sequence[Any] = FAULTS) -> Actor:
        """Return an actor that goes once through the way up alone."""
        return self.actor(name, 0, self.worker(name).pusher.push, faults)

    def editor(self, *, faults: Sequence[Any] = ()) -> Actor:
        """Return an actor that merges a key into the scope in the cloud."""
        component = None if self.sql else self.cloud._component

        async def edit() -> None:
            if component is None:
                await Invoke(self.cloud.update, SCOPE, {"cloud": 1}, True)  # noqa: FBT003 -- the contract's signature
            else:
                await component.update(SCOPE, {"cloud": 1}, is_delta=True)
            self.written[-1].append("cloud")

        return self.actor("editor", -1, edit, faults)

    def clone(self, edge: int, original: int = 0) -> None:
        """Start an edge from a copy of another one's data, each on a server of its own."""
        self.client(original).execute_command("SET", "{run}", 1)
        self.servers[edge].copy_from(self.servers[original])
        self.client(edge).execute_command("SET", "{run}", 2)

    def wiper(self, edge: int = 0, updates: int = 1) -> Actor:
        """Return an actor that takes all from an edge, which then begins to write anew."""
        writer = self.writer(edge, updates, faults=())

        async def wipe() -> None:
            await command(bool, "FLUSHALL")
            # What had not gone up is gone, and no service of this package could tell.
            self.excused.update(self.written[edge])
            await writer.start()

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
            self.servers[edge].pass_time(self.claim_idle_seconds)
        raise AssertionError(f"{self.syncs[edge].pending_count} changes still wait after {ROUNDS} rounds")

    def check(self, _actors: Sequence[Actor] = ()) -> None:
        self.heal()
        final = self.cloud.get(SCOPE)
        states = [sync.get_local_state() for sync in self.syncs]
        assert all(state == final for state in states), f"{states} and the cloud's {final}"
        assert all(sync.is_synced for sync in self.syncs)
        for edge in range(self.edges):
            assert not self.client(edge).exists("er:{default:sync0}:dead"), "nothing here is to be given up"
        kept = [final.data] if final else []
        for end in [*self.syncs, self.cloud]:
            arguments = (SCOPE, 1000) if end is self.cloud else (1000,)
            kept += [conflict["data"] or {} for conflict in end.conflicts(*arguments)]
        for key in {key for keys in self.written for key in keys} - self.excused:
            assert any(key in data for data in kept), f"{key} was acknowledged and is lost"
        if self.edges == 1:
            versions = [event.version for event in self.cloud.sync_history(SCOPE, 1000) if event.success]
            assert all(earlier < later for earlier, later in pairwise(versions)), f"effects {versions}"
        self.cloud.close()


def crowd(
    strategy: ConflictStrategy, *, plant: Plant | None = None, signed: bool = False, sql: bool = False
) -> Callable[[], Scenario]:
    """Return the larger scenario: edges an hour apart, each with two writers and two workers, and a cloud edit."""

    def make() -> Scenario:
        edges = 1 if strategy is ConflictStrategy.LOCAL_WINS else 2
        skews = (*(-3600, 0, 1800)[:edges], 1800)
        world = World(strategy, edges, plant or Plant(), skews, signed=signed, sql=sql)
        actors = [world.editor(faults=() if sql else FAULTS)]
        for edge in range(edges):
            actors += [world.writer(edge, 2), world.writer(edge, 2)]
            actors += [world.delivery(f"worker {edge}", edge, 3), world.delivery(f"successor {edge}", edge, 3)]
        return Scenario(actors, world.check, 4, world.state)

    return make
