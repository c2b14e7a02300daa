"""A cloud whose number of shards changes while processes write, read and carry its scopes, and what must hold of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from edge_redis import ConflictStrategy, RedisCloudStore
from edge_redis._core.operation import Sleep, Step
from edge_redis._sync.change import Change, encode_data
from edge_redis._sync.cloud import Cloud
from edge_redis._sync.cloud_resharding import CloudResharding
from edge_redis.errors import EdgeRedisError
from support.checked import present
from support.simulation import CRASHES, LOSSES, Actor, Scenario
from support.sync_world import SCOPE, Runner, World

SCOPES = ("gate", "hall 1", "hall/2", "hall/3", "yard")
PUSHED = "pushed"
PAGE = 2


class CloudRunner(Runner):
    """Runs the cloud's calls that are one step of an actor. Their pauses take no time of ours."""

    sleep: Callable[[float], None]

    def perform(self, step: Step) -> Any:
        return self.sleep(step.seconds) if isinstance(step, Sleep) else super().perform(step)


class Follower:
    """A reader of the feed with what it has had of it."""

    def __init__(self, cloud: Cloud, cursor: str = "") -> None:
        self.cloud = cloud
        self.cursor = cursor
        self.had: dict[str, Change] = {}
        self.count = 0
        """States that it was given."""

    async def follow(self) -> None:
        """Read to the end."""
        has_more = True
        while has_more:
            page = await self.cloud.changes_since(self.cursor, PAGE)
            assert not page.restarted, f"{self.cursor} is no position any more"
            assert not page.damaged
            for scope, change in page.changes:
                before = self.had.get(scope)
                assert before is None or before.version <= change.version, f"{scope} went back"
                self.had[scope] = change
                self.count += 1
            self.cursor, has_more = page.cursor, page.has_more


class MovedCloud:
    """The cloud, the actors, and the check at the end."""

    def __init__(self, first: int, *numbers: int) -> None:
        """Make a cloud whose number becomes the last of these, and the ones between before, while nobody reads."""
        *earlier, self.new = numbers
        self.world = World(ConflictStrategy.LATEST_WINS, skews=(0, 0), tick=1)
        self.world.cloud = RedisCloudStore(self.world.client(-1), shards=first)
        runner = CloudRunner(self.world.client(-1), self.world.plant.rewrites)
        runner.sleep = self.world.servers[-1].pass_time
        self.world.cloud._runner = self.runner = runner
        self.written: dict[str, list[str]] = {scope: ["first"] for scope in SCOPES[:3]}
        for scope in self.written:
            self.world.cloud.update(scope, {"first": 1})
        self.world.runner(0).run(self.world.synchronizer(0).update_local({"first": 1}))
        self.world.carry()
        self.followers = [Follower(self.known_cloud()), Follower(self.known_cloud())]
        for each in self.followers:  # the first is at the end, the second in between
            self.runner.run(each.follow())
            self.world.cloud.update(SCOPES[1], {"first": 2})
        self.old_keys = [*CloudResharding("default").shards.of(first)]
        for shards in earlier:
            self.runner.run(CloudResharding("default").change(shards))
            self.old_keys += CloudResharding("default").shards.of(shards)

    def new_cloud(self) -> Cloud:
        """Return a cloud as a process has it that begins now."""
        return Cloud(namespace="default", max_history=100, max_conflicts=100)

    def known_cloud(self) -> Cloud:
        """Return a cloud as a process has it that was started before the change."""
        cloud = self.new_cloud()
        self.runner.run(cloud.get(SCOPES[0]))
        return cloud

    def actor(self, name: str, start: Callable[[], Any], faults: Sequence[Any] = ()) -> Actor:
        return self.world.actor(name, -1, start, faults)

    def mover(self, name: str) -> Actor:
        """Return an actor that changes the number; it may end anywhere."""
        return self.actor(name, lambda: CloudResharding("default").change(self.new), CRASHES)

    def writer(self, name: str) -> Actor:
        """Return an actor that writes in the cloud, new scopes as well."""
        cloud = self.known_cloud()

        async def write() -> None:
            for scope in SCOPES:
                await cloud.update(scope, {name: 1}, is_delta=True)
                self.written.setdefault(scope, []).append(name)

        return self.actor(name, write, LOSSES)

    def pusher(self) -> Actor:
        """Return an actor that brings changes of an edge up, several scopes together."""
        cloud, body = self.known_cloud(), encode_data({"n": 1})
        change = Change(1, f"{1_700_000_000_000_000:018d}", "edge", hashlib.sha256(body).hexdigest(), "", body)

        async def push() -> None:
            scopes = [f"{PUSHED} {number}" for number in range(3)]
            found = await cloud.apply_many({scope: ([change], ConflictStrategy.LATEST_WINS) for scope in scopes})
            self.written |= {scope: ["n"] for scope, each in found.items() if not isinstance(each, EdgeRedisError)}

        return self.actor("pusher", push, LOSSES)

    def reader(self) -> Actor:
        """Return an actor that finds all that was acknowledged before it reads."""
        cloud = self.known_cloud()

        async def read() -> None:
            for _ in range(3):
                before = {*self.written[SCOPES[0]]}
                found = present(await cloud.get(SCOPES[0])).data
                assert before <= found.keys(), f"{before} were acknowledged, {found} was read"

        return self.actor("reader", read)

    def follower(self, number: int) -> Actor:
        """Return an actor that follows the feed; its replies may be lost."""

        async def follow() -> None:
            for _ in range(2):
                await self.followers[number].follow()

        return self.actor(f"follower {number}", follow, LOSSES)

    def joined(self) -> Actor:
        """Return an actor that begins to follow the feed."""
        self.followers.append(Follower(self.new_cloud()))
        return self.follower(len(self.followers) - 1)

    def check(self, _: Sequence[Actor] = ()) -> None:
        """Complete the change; everything acknowledged is in the new shards alone, and everybody comes to have it."""
        run, client = self.runner.run, self.world.client(-1)
        record = run(CloudResharding("default").change(self.new))
        assert (record.shards, record.target) == (self.new, None)
        left = [key.decode() for keys in self.old_keys for key in client.scan_iter(f"{keys.tag}:*")]
        kinds = {key.partition("}:")[2].partition(":")[0] for key in left}
        assert kinds - {"layout", "repeats"} == {"moved", "replica_id"}, f"{left} were left behind"
        cloud = self.new_cloud()
        states = {scope: present(run(cloud.get(scope))) for scope in self.written}
        for scope, names in self.written.items():
            assert {*names} <= states[scope].data.keys(), f"{scope} lost what was acknowledged: {states[scope]}"
        for each in [*self.followers, Follower(cloud)]:
            for reader in (each, Follower(self.new_cloud(), each.cursor)):  # and a worker that begins at its cursor
                reader.had = {**each.had}
                run(reader.follow())
                for scope, state in states.items():
                    assert reader.had[scope].checksum == state.checksum, f"{scope} was not read, or {state} was not"
        for each in self.followers:
            count = each.count
            run(each.follow())
            assert each.count == count, "nothing is read twice in the end"
        self.world.heal()
        for scope in (SCOPE, *self.written):
            found = self.world.runner(0).run(self.world.synchronizer(0, scope).get_local_state())
            assert found == present(self.world.cloud.get(scope)), f"the edge has {found} of {scope}"
        self.world.check()


def moved_cloud(*numbers: int, faults: int = 1) -> Callable[[], Scenario]:
    """Two processes change the number at once; others write, push, read, follow the feed, and carry an edge."""

    def make() -> Scenario:
        moved = MovedCloud(*numbers)
        actors = [moved.mover("mover"), moved.mover("second mover"), moved.writer("a"), moved.pusher()]
        actors += [moved.reader(), moved.follower(0), moved.follower(1), moved.joined()]
        actors += [moved.world.writer(), moved.world.delivery("worker", 0, 3)]
        return Scenario(actors, moved.check, faults, moved.world.state)

    return make
