"""The protocol's own flows and scripts, interleaved and interrupted at every step.

Every run ends the same way: what was cut is healed, workers run until nothing is left to do,
and then the ends must be equal, with every acknowledged write in the state, written over by
one that knew it, or among the conflicts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import fakeredis
import pytest

from edge_redis import ConflictStrategy, EdgeSynchronizer, RedisCloudStore
from edge_redis.core.operation import Flow
from edge_redis.errors import EdgeRedisError
from edge_redis.runtime.runner import BlockingRunner
from edge_redis.state.synchronizer import Synchronizer
from edge_redis.state.worker import Worker
from support.deadline import eventually
from support.simulation import CRASHES, LOSSES, Actor, Scenario, explore, seeds

SCOPE = "room"
FAULTS = (*LOSSES, *CRASHES)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, "edge_redis"):
        yield


TWO_WRITERS, WRITER_AND_WORKER, PULLER_AND_EDITOR = 122, 343, 83
"""How many runs there are: every order of the steps, with every fault at every step."""


def room(strategy: ConflictStrategy) -> Synchronizer:
    return Synchronizer(
        strategy,
        100,
        scope=SCOPE,
        namespace="default",
        origin=None,
        overflow="coalesce",
        max_history=1000,
        max_conflicts=1000,
    )


@dataclass
class World:
    """Edges and a cloud, each a server of its own."""

    strategy: ConflictStrategy = ConflictStrategy.REMOTE_WINS
    edges: int = 1
    servers: list[fakeredis.FakeServer] = field(init=False)

    def __post_init__(self) -> None:
        self.servers = [fakeredis.FakeServer() for _ in range(self.edges + 1)]
        self.cloud = RedisCloudStore(self.client(-1))
        self.syncs = [EdgeSynchronizer(self.client(edge), self.strategy, scope=SCOPE) for edge in range(self.edges)]
        self.keys = 0

    def client(self, server: int) -> fakeredis.FakeRedis:
        return fakeredis.FakeRedis(server=self.servers[server])

    def worker(self, name: str) -> Worker:
        return Worker(
            self.cloud,
            namespace="default",
            group="cloud",
            consumer=name,
            batch_size=10,
            claim_idle_seconds=0.001,
            max_deliveries=1000,
        )

    def writer(self, edge: int = 0, updates: int = 1, *, faults: Sequence[Any] = FAULTS) -> Actor:
        """Return an actor that merges keys of its own into the scope and returns those acknowledged."""
        keys = [f"k{self.keys + number}" for number in range(updates)]
        self.keys += updates
        written = room(self.strategy)

        def write() -> Flow[None]:
            for key in keys:
                yield from written.update_local({key: 1}, is_delta=True)
                acknowledged.append(key)

        acknowledged: list[str] = []
        actor = Actor(f"writer {keys[0]}", self.client(edge), write, faults)
        actor.keys = acknowledged  # type: ignore[attr-defined]
        return actor

    def delivery(self, name: str, edge: int = 0, rounds: int = 1, *, faults: Sequence[Any] = FAULTS) -> Actor:
        """Return an actor that works as CloudWorker.run does."""
        worker = self.worker(name)

        def work() -> Flow[None]:
            for _ in range(rounds):
                try:
                    yield from worker.run_once()
                except EdgeRedisError:
                    continue

        return Actor(name, self.client(edge), work, faults)

    def pusher(self, name: str, *, faults: Sequence[Any] = FAULTS) -> Actor:
        """Return an actor that goes once through the way up alone."""
        worker = self.worker(name)
        return Actor(name, self.client(0), worker._push, faults)

    def editor(self) -> Actor:
        return Actor("editor", self.client(-1), lambda: self.cloud._room.update(SCOPE, {"cloud": 1}, is_delta=True))

    def heal(self) -> None:
        for edge in range(self.edges):
            self._settle(edge)
        for edge in range(self.edges):  # what one edge sent comes down to the others
            self._settle(edge)

    def _settle(self, edge: int) -> None:
        runner = BlockingRunner(self.client(edge))
        healer = self.worker(f"healer {edge}")

        def idle() -> bool:
            return not runner.run(healer.run_once()) and self.syncs[edge].pending_count == 0

        eventually(idle, seconds=5, every=0.002)

    def check(self, actors: Sequence[Actor]) -> None:
        self.heal()
        final = self.cloud.get(SCOPE)
        states = [sync.get_local_state() for sync in self.syncs]
        assert all(state == final for state in states), f"{states} and the cloud's {final}"
        assert all(sync.is_synced for sync in self.syncs)
        kept = [final.data] if final else []
        for end in [*self.syncs, self.cloud]:
            arguments = (SCOPE, 1000) if end is self.cloud else (1000,)
            kept += [conflict["data"] for conflict in end.conflicts(*arguments)]
        for actor in actors:
            for key in getattr(actor, "keys", []):
                assert any(key in data for data in kept), f"{key} was acknowledged and is lost"
        if self.edges == 1:
            versions = [event.version for event in self.cloud.sync_history(SCOPE, 1000) if event.success]
            assert all(earlier < later for earlier, later in pairwise(versions)), f"effects {versions}"


def test_two_writers_of_one_edge_under_every_fault() -> None:
    def make() -> Scenario:
        world = World()

        def check(actors: Sequence[Actor]) -> None:
            changes = world.syncs[0].get_pending_changes()
            assert [change["version"] for change in changes] == list(range(1, len(changes) + 1))
            assert [len(change["data"]) for change in changes] == list(range(1, len(changes) + 1))
            for actor in actors:
                assert all(key in changes[-1]["data"] for key in actor.keys)  # type: ignore[attr-defined]

        return Scenario([world.writer(), world.writer()], check, max_faults=2)

    assert explore(make) == TWO_WRITERS


def test_a_writer_and_a_worker_under_every_fault() -> None:
    def make() -> Scenario:
        world = World()
        world.syncs[0].update_local({"first": 1})
        return Scenario([world.writer(), world.pusher("worker")], world.check, max_faults=1)

    assert explore(make) == WRITER_AND_WORKER


def test_a_worker_and_its_heir_in_every_order() -> None:
    def make() -> Scenario:
        world = World()
        world.syncs[0].update_local({"first": 1})
        return Scenario([world.pusher("worker", faults=()), world.pusher("heir", faults=())], world.check)

    # Whether the heir finds the claim time over is up to the clock: hence no exact number.
    assert explore(make) >= 70


def test_an_edit_of_the_cloud_on_its_way_down_under_every_fault() -> None:
    def make() -> Scenario:
        world = World()
        world.cloud.update(SCOPE, {"first": 1})
        puller = world.worker("worker")
        return Scenario([Actor("puller", world.client(0), puller._puller.pull, FAULTS), world.editor()], world.check)

    assert explore(make) == PULLER_AND_EDITOR


def crowd(strategy: ConflictStrategy) -> Callable[[], Scenario]:
    def make() -> Scenario:
        edges = 1 if strategy is ConflictStrategy.LOCAL_WINS else 2
        world = World(strategy, edges)
        actors = [world.editor()]
        for edge in range(edges):
            actors += [world.writer(edge, 2), world.writer(edge, 2)]
            actors += [world.delivery(f"worker {edge}", edge, 3), world.delivery(f"heir {edge}", edge, 3)]
        return Scenario(actors, world.check, max_faults=4)

    return make


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_crowd_by_seeds(strategy: ConflictStrategy) -> None:
    seeds(crowd(strategy), count=15)
