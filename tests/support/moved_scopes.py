"""An edge whose number of shards changes while processes write, read and carry its scopes, and what must hold of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_redis import ConflictStrategy
from edge_redis._sync.resharding import SyncResharding
from support.checked import present
from support.simulation import CRASHES, LOSSES, Actor, Scenario
from support.sync_world import SCOPE, World

SCOPES = (SCOPE, "hall 1", "hall 2")
EDITED = ("of the cloud 1", "of the cloud 2", "of the cloud 3")


class MovedScopes:
    """The edge, the actors, and the check at the end."""

    def __init__(self, old: int, new: int) -> None:
        self.new = new
        self.world = World(ConflictStrategy.LATEST_WINS, skews=(0, 0), tick=1, shards=old)
        self.written: dict[str, list[str]] = {scope: ["first"] for scope in SCOPES[:2]}
        for scope in self.written:
            self.world.runner(0).run(self.world.synchronizer(0, scope).update_local({"first": 1}))
        self.world.carry()
        self.old_keys = SyncResharding("default").shards.of(old)

    def mover(self, name: str) -> Actor:
        """Return an actor that changes the number; it may end anywhere."""
        return self.world.actor(name, 0, lambda: SyncResharding("default").change(self.new), CRASHES)

    def writer(self, name: str) -> Actor:
        """Return an actor that writes all scopes as a process that was started before the change."""
        synchronizers = {scope: self.world.synchronizer(0, scope) for scope in SCOPES}

        async def write() -> None:
            for scope, synchronizer in synchronizers.items():
                await synchronizer.update_local({name: 1}, is_delta=True)
                self.written.setdefault(scope, []).append(name)

        return self.world.actor(name, 0, write, LOSSES)

    def writer_of_many(self, name: str) -> Actor:
        """Return an actor that writes all scopes by one call."""
        synchronizer = self.world.synchronizer(0)

        async def write() -> None:
            await synchronizer.update_many({scope: {name: 1} for scope in SCOPES}, is_delta=True)
            for scope in SCOPES:
                self.written.setdefault(scope, []).append(name)

        return self.world.actor(name, 0, write, LOSSES)

    def reader(self) -> Actor:
        """Return an actor that finds all that was acknowledged before it reads, started before the change as well."""
        synchronizer = self.world.synchronizer(0)

        async def read() -> None:
            for _ in range(3):
                before = {*self.written[SCOPE]}
                found = present(await synchronizer.get_local_state()).data
                assert before <= found.keys(), f"{before} were acknowledged, {found} was read"

        return self.world.actor("reader", 0, read, ())

    def editor(self) -> Actor:
        """Return an actor that writes scopes in the cloud."""
        component = self.world.cloud._component

        async def edit() -> None:
            for scope in EDITED:
                await component.update(scope, {"cloud": 1})

        return self.world.actor("editor", -1, edit, ())

    def check(self, _: Sequence[Actor] = ()) -> None:
        """Complete the change; both ends come to have all that was acknowledged, in the new shards alone."""
        world = self.world
        record = world.runner(0).run(SyncResharding("default").change(self.new))
        assert (record.shards, record.target) == (self.new, None)
        left = [key.decode() for keys in self.old_keys for key in world.client(0).scan_iter(f"{keys.tag}:*")]
        kinds = {key.partition("}:")[2].partition(":")[0] for key in left}
        assert kinds - {"layout", "repeats"} == {"moved"}, f"{left} were left behind"
        world.shards = self.new
        world.syncs = [world._sync(0)]
        world.heal()
        for scope in (*SCOPES, *EDITED):
            state, cloud = world.runner(0).run(world.synchronizer(0, scope).get_local_state()), world.cloud.get(scope)
            data = {} if state is None else state.data
            assert data == ({} if cloud is None else cloud.data), f"{scope}: {state} at the edge, {cloud} in the cloud"
            assert {*self.written.get(scope, ())} <= data.keys(), f"{scope} lost what was acknowledged: {state}"
            assert world.runner(0).run(world.synchronizer(0, scope).pending_count()) == 0
        world.cloud.close()


def moved_scopes(old: int, new: int, faults: int = 1) -> Callable[[], Scenario]:
    """Two processes change the number at once; two write, one reads, a worker carries, and the cloud is edited."""

    def make() -> Scenario:
        moved = MovedScopes(old, new)
        actors = [moved.mover("mover"), moved.mover("second mover"), moved.writer("a"), moved.writer("b")]
        actors += [moved.reader(), moved.editor(), moved.world.delivery("worker", 0, 4)]
        return Scenario(actors, moved.check, faults, moved.world.state)

    return make
