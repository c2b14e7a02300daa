"""The smallest scenarios of syncing, to be gone through in every order with every fault at every step.

Clocks stand still in them, and move by the claim time where a successor waits for it: so numbers are exact, and every
two writes meet at the same microsecond unless the cloud's clock is ``ahead`` of the edge's, or behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_redis import ConflictStrategy
from edge_redis._core.operation import Sleep
from edge_redis._core.shard_record import choose_shard
from edge_redis._core.shards import name_shards
from support.checked import present
from support.simulation import Actor, Scenario
from support.sync_plants import RUNS, Plant
from support.sync_world import FAULTS, SCOPE, World

Make = Callable[[], Scenario]
NONE = Plant()


def _world(strategy: ConflictStrategy, ahead: float, plant: Plant) -> World:
    return World(strategy, plant=plant, skews=(0, ahead), tick=0)


def _scenario(world: World, actors: Sequence[Actor], max_faults: int) -> Scenario:
    return Scenario(actors, world.check, max_faults, world.state)


def _write(world: World, key: str) -> None:
    world.syncs[0].update_local({key: 1}, is_delta=True)
    world.written[0].append(key)


def _successor(world: World) -> Actor:
    """Return a worker that waits for the claim time and then pushes."""
    successor = world.worker("successor")

    async def wait_and_push() -> int:
        await Sleep(world.claim_idle_seconds)
        return await successor.pusher.push()

    return world.actor("successor", 0, wait_and_push)


def cloned_edge(
    strategy: ConflictStrategy, faults: int = 0, plant: Plant | None = None, *, carried: bool = True
) -> Make:
    """An edge and its clone, started from one disk image, write and push at once.

    ``carried``: the state in the image had gone up; else both find it in their outbox.
    """

    def make() -> Scenario:
        world = World(strategy, 2, plant or Plant(RUNS))
        world.client(0).execute_command("SET", "{run}", 1)
        _write(world, "first")
        if carried:
            world.carry()
        world.clone(1)
        actors = [actor for edge in range(2) for actor in (world.writer(edge, 2 - edge), _carrier(world, edge))]
        return _scenario(world, actors, faults)

    return make


def _carrier(world: World, edge: int) -> Actor:
    return world.delivery(f"worker {edge}", edge, 2)


def two_writers(
    strategy: ConflictStrategy, ahead: float = 0, faults: int = 2, plant: Plant = NONE, *, signed: bool = False
) -> Make:
    """Two processes of one edge write at once."""

    def make() -> Scenario:
        world = World(strategy, plant=plant, skews=(0, ahead), tick=0, signed=signed)

        def check(actors: Sequence[Actor]) -> None:
            changes = world.syncs[0].get_pending_changes()
            assert [change["version"] for change in changes] == list(range(1, len(changes) + 1))
            assert [len(present(change["data"])) for change in changes] == list(range(1, len(changes) + 1))
            assert all(key in present(changes[-1]["data"]) for key in world.written[0])
            world.check(actors)

        return Scenario([world.writer(), world.writer()], check, faults, world.state)

    return make


def writer_and_worker(strategy: ConflictStrategy, ahead: float = 0, faults: int = 1, plant: Plant = NONE) -> Make:
    """One more update while a worker pushes the first."""

    def make() -> Scenario:
        world = _world(strategy, ahead, plant)
        _write(world, "first")
        return _scenario(world, [world.writer(), world.pusher("worker")], faults)

    return make


def worker_and_successor(strategy: ConflictStrategy, ahead: float = 0, faults: int = 1, plant: Plant = NONE) -> Make:
    """Two changes wait, a worker pushes them, and another one takes over after the claim time."""

    def make() -> Scenario:
        world = _world(strategy, ahead, plant)
        _write(world, "first")
        _write(world, "second")
        return _scenario(world, [world.pusher("worker"), _successor(world)], faults)

    return make


def shards_apart(faults: int = 1) -> Make:
    """Two workers pull at once for an edge one shard of which came back empty, while the cloud goes on."""

    def make() -> Scenario:
        world = World(ConflictStrategy.LATEST_WINS, skews=(0, 0), tick=0, batch_size=2, shards=2)
        scopes = [SCOPE, *(f"hall {number}" for number in range(5))]
        for scope in scopes:
            world.runner(0).run(world.synchronizer(0, scope).update_local({"first": 1}))
        world.carry()
        world.carry()
        [lost] = {choose_shard(scope, 2) for scope in scopes} - {choose_shard(SCOPE, 2)}
        client = world.client(0)
        tag = f"er:{{default:sync{name_shards('default', 'sync', 2)[lost]}}}"
        client.execute_command("DEL", *(f"{tag}:{name}" for name in ("cursor", "replica_id", "scopes", "server")))
        client.execute_command("DEL", *(f"{tag}:doc:{scope}" for scope in scopes))
        for scope in scopes[:3]:
            world.cloud.update(scope, {"second": 1}, is_delta=True)
        component = world.cloud._component

        async def edit() -> None:
            for scope in reversed(scopes):
                await component.update(scope, {"third": 1}, is_delta=True)

        def check(actors: Sequence[Actor]) -> None:
            world.heal()
            for scope in scopes:
                state = world.runner(0).run(world.synchronizer(0, scope).get_local_state())
                assert present(state).data == world.cloud.get(scope).data, f"{scope} at the edge: {state}"
            assert len({client.execute_command("GET", f"{tag}:cursor") for tag in tags}) == 1
            world.cloud.close()

        tags = [f"er:{{default:sync{name}}}" for name in name_shards("default", "sync", 2)]
        workers = [world.delivery(f"worker {number}", 0, 3) for number in range(2)]
        return Scenario([*workers, world.actor("editor", -1, edit, ())], check, faults, world.state)

    return make


def pull_and_edit(strategy: ConflictStrategy, ahead: float = 0, faults: int = 1, plant: Plant = NONE) -> Make:
    """An edit of the cloud while an edge, which has a change of its own, pulls the one before."""

    def make() -> Scenario:
        world = _world(strategy, ahead, plant)
        _write(world, "first")
        world.carry()
        world.cloud.update(SCOPE, {"before": 1}, is_delta=True)
        world.written[-1].append("before")
        _write(world, "edge")
        puller = world.worker("worker")
        actors = [world.actor("puller", 0, puller.puller.pull), world.editor(faults=FAULTS)]
        return _scenario(world, actors, faults)

    return make


def everybody(strategy: ConflictStrategy, ahead: float = 0, faults: int = 0, plant: Plant = NONE) -> Make:
    """Two writers, a worker, its successor, and an edit of the cloud, of a scope that both ends know.

    Without faults by default, for there are many million orders.
    """

    def make() -> Scenario:
        world = _world(strategy, ahead, plant)
        _write(world, "first")
        world.carry()
        _write(world, "second")
        actors = [
            world.writer(),
            world.writer(),
            world.pusher("worker"),
            _successor(world),
            world.editor(faults=FAULTS),
        ]
        return _scenario(world, actors, faults)

    return make


def both_ways(strategy: ConflictStrategy, ahead: float = 0, faults: int = 1, plant: Plant = NONE) -> Make:
    """A writer and an edit of the cloud while a worker pulls and pushes, of a scope that both ends know."""

    def make() -> Scenario:
        world = _world(strategy, ahead, plant)
        _write(world, "first")
        world.carry()
        _write(world, "second")
        actors = [world.writer(), world.delivery("worker"), world.editor(faults=FAULTS)]
        return _scenario(world, actors, faults)

    return make


def changing_patterns(strategy: ConflictStrategy, faults: int = 1, plant: Plant = NONE) -> Make:
    """Writers, while a worker that pushes the scope gives way to one that does not, and another one begins to."""

    def make() -> Scenario:
        world = World(strategy, plant=plant, skews=(0, 0))
        _write(world, "first")
        actors = [
            world.writer(0, 2),
            world.writer(0, 2),
            world.delivery("wide", rounds=2, ends=True),
            world.delivery("narrow", rounds=2, push=("other",)),
            world.delivery("exact", rounds=2, push=(SCOPE,)),
        ]
        return _scenario(world, actors, faults)

    return make


SMALLEST = (two_writers, writer_and_worker, worker_and_successor, pull_and_edit)
LARGER = (both_ways, everybody)
