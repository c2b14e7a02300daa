"""Edges and a cloud, whatever is written, in whatever order and however often what was written arrives: they converge.

On the services' own flows and scripts. States are exchanged by workers, which may stop half way, and any state that
was ever seen on the way, up or down, may come again to either end at any time.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Coroutine, Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from edge_redis import ConflictStrategy, SyncState
from edge_redis._sync import fields as field_maps
from edge_redis._sync import scripts
from edge_redis._sync.clock import from_datetime
from edge_redis._sync.merge import merge_into
from edge_redis._sync.replica import Replica
from edge_redis.cloudstores import Change
from support.sync_world import SCOPE, World
from support.turns import turns

EXAMPLES = int(os.environ.get("EDGE_REDIS_SYNC_EXAMPLES", "15"))
STEPS = 25
EDGE = st.integers(0, 1)
FIELD = st.sampled_from("abc")
LOCAL = ConflictStrategy.LOCAL_WINS


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, "edge_redis"):
        yield


class Replicas(RuleBasedStateMachine):
    """LOCAL_WINS is one edge's; of the others there are two, whose clocks may be apart."""

    strategy: ConflictStrategy

    @initialize(skews=st.tuples(*[st.sampled_from([0, -3600, 1800])] * 3))
    def begin(self, skews: tuple[int, int, int]) -> None:
        self.playing = turns.play()
        self.playing.__enter__()
        edges = 1 if self.strategy is LOCAL else 2
        self.world = World(self.strategy, edges, skews=skews[-edges - 1 :], named=True)
        self.seen: list[Change] = []
        self.marks = 0
        self.moments: dict[str, str] = {}
        for sync in self.world.syncs:  # an edge has recorded its strategy before anything comes to it
            assert sync.get_local_state() is None

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.world.heal()
            self._excuse_deleted()
            self.world.check()
        finally:
            self.playing.__exit__(None, None, None)

    def _edge(self, edge: int) -> int:
        return edge % self.world.edges

    def _mark(self) -> dict[str, int]:
        """Return a field that no other write has, by which this one is known in the end."""
        self.marks += 1
        return {f"mark {self.marks}": self.marks}

    def _written(self, end: int, state: SyncState) -> None:
        mark = f"mark {self.marks}"
        self.world.written[end].append(mark)
        self.moments[mark] = from_datetime(state.updated_at)
        self._note(max(end, 0))

    def _note(self, edge: int) -> None:
        """Keep what is at an edge and in the cloud now, to come again some time."""
        for end in (edge, -1):
            replica = (
                self.world.runner(edge).run(self.world.synchronizer(edge)._settle()).replica
                if end == edge
                else self._cloud_replica()
            )
            found = self.world.runner(end).run(replica.read_document(SCOPE))
            if found is not None and found not in self.seen:
                self.seen.append(found)

    @rule(edge=EDGE, name=FIELD, value=st.integers(0, 2))
    def merge_at_an_edge(self, edge: int, name: str, value: int) -> None:
        edge = self._edge(edge)
        state = self.world.syncs[edge].update_local({name: value, **self._mark()}, is_delta=True)
        self._written(edge, state)

    @rule(edge=EDGE, name=FIELD, value=st.integers(0, 2))
    def write_at_an_edge(self, edge: int, name: str, value: int) -> None:
        """What this replaces it knew."""
        edge = self._edge(edge)
        self._excuse(self.world.syncs[edge].get_local_state())
        self._written(edge, self.world.syncs[edge].update_local({name: value, **self._mark()}))

    @rule(edge=EDGE, name=FIELD)
    def delete_a_field_at_an_edge(self, edge: int, name: str) -> None:
        self.world.syncs[self._edge(edge)].delete_fields(name)
        self._note(self._edge(edge))

    @rule(edge=EDGE)
    def delete_at_an_edge(self, edge: int) -> None:
        edge = self._edge(edge)
        self._excuse(self.world.syncs[edge].get_local_state())
        self.world.syncs[edge].delete()
        self._note(edge)

    @rule(name=FIELD, value=st.integers(0, 2))
    def merge_in_the_cloud(self, name: str, value: int) -> None:
        self._written(-1, self.world.cloud.update(SCOPE, {name: value, **self._mark()}, is_delta=True))

    @rule(name=FIELD, value=st.integers(0, 2))
    def write_in_the_cloud(self, name: str, value: int) -> None:
        """What this replaces it knew."""
        self._excuse(self.world.cloud.get(SCOPE))
        self._written(-1, self.world.cloud.update(SCOPE, {name: value, **self._mark()}))

    @rule()
    def delete_in_the_cloud(self) -> None:
        self._excuse(self.world.cloud.get(SCOPE))
        self.world.cloud.delete(SCOPE)
        self._note(0)

    def _excuse(self, state: SyncState | None) -> None:
        """What a write that knew it takes away need be nowhere in the end."""
        if state is not None:
            self.world.excused.update(key for key in state.data if key.startswith("mark"))

    def _cloud_replica(self) -> Any:
        return self.world.cloud._component.shards.of(1)[0].replica

    def _excuse_deleted(self) -> None:
        """Under MERGE a delete takes every field changed before it by the clocks, known or not."""
        present = self.world.runner(-1).run(self._cloud_replica().read_document(SCOPE))
        if present is not None and field_maps.is_merged(present.body):
            deleted, _ = field_maps.unpack(present.body).deleted
            self.world.excused.update(mark for mark, moment in self.moments.items() if moment <= deleted)

    @rule(edge=EDGE)
    def push(self, edge: int) -> None:
        edge = self._edge(edge)
        self.world.runner(edge).run(self.world.worker("pusher").pusher.push())
        self._note(edge)

    @rule(edge=EDGE)
    def pull(self, edge: int) -> None:
        edge = self._edge(edge)
        self.world.runner(edge).run(self.world.worker("puller").puller.pull())
        self._note(edge)

    @rule(edge=EDGE, steps=st.integers(1, 9))
    def a_worker_dies(self, edge: int, steps: int) -> None:
        edge = self._edge(edge)
        self.world.runner(edge).run(_first(self.world.worker("mortal").run_once(), steps))

    @rule(edge=EDGE)
    def time_passes(self, edge: int) -> None:
        self.world.servers[self._edge(edge)].pass_time(self.world.claim_idle_seconds)

    @rule(edge=EDGE, data=st.data(), up=st.booleans())
    def something_comes_again(self, edge: int, data: st.DataObject, up: bool) -> None:  # noqa: FBT001 -- drawn
        """Any states that were there once, in any order."""
        if not self.seen:
            return
        edge = self._edge(edge)
        again = data.draw(st.lists(st.sampled_from(self.seen), min_size=1, max_size=3))
        if not up:
            for state in again:
                self.world.runner(edge).run(_arrive(self.world.worker("courier")._edge.of(SCOPE), state))
            return
        if self.strategy is LOCAL:  # from such an edge comes what it wrote itself
            again = [state for state in again if state.name != "cloud"]
        self.world.cloud.apply(SCOPE, again, self.strategy)


async def _arrive(edge: Replica, state: Change) -> None:
    """Let a state come to an edge as a puller brings it."""
    if not await scripts.apply(edge, SCOPE, [state], "?"):
        await merge_into(edge, SCOPE, [state], "")


async def _first(flow: Coroutine[Any, Any, int], steps: int) -> None:
    """Perform the first steps of a flow and no more."""
    with contextlib.suppress(StopIteration):
        step = flow.send(None)
        for _ in range(steps):
            step = flow.send(await step)
    flow.close()


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_any_order_repetition_and_interleaving_converges(strategy: ConflictStrategy) -> None:
    machine = type("Replicas" + strategy.name, (Replicas,), {"strategy": strategy})
    chosen = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)
    run_state_machine_as_test(machine, settings=chosen)


@pytest.mark.parametrize("sql", [False, True], ids=["redis", "sql"])
@pytest.mark.parametrize("size", [1, 600], ids=["small", "spliced"])
def test_what_was_written_before_a_delete_stays_deleted_where_the_cloud_wrote_again(sql: bool, size: int) -> None:  # noqa: FBT001 -- a parameter
    """The cloud's new state says nothing of the delete, which only one edge has seen."""
    with turns.play():
        world = World(ConflictStrategy.MERGE, 2, named=True, sql=sql)
        for sync in world.syncs:
            assert sync.get_local_state() is None
        world.servers[-1].pass_time(0.01)
        world.cloud.update(SCOPE, {"first": 1})
        world.cloud.delete(SCOPE)
        state = world.syncs[0].update_local({"late": 1}, is_delta=True)
        world.runner(0).run(world.worker("puller").puller.pull())
        assert world.syncs[0].get_local_state() is None, "the delete is later"
        again = world.cloud.update(SCOPE, {"text": "x" * size})
        assert state.updated_at < again.updated_at
        world.runner(1).run(world.worker("puller").puller.pull())  # the store object knows the new state from here on
        world.heal()
        assert world.cloud.get(SCOPE).data == {"text": "x" * size}
        world.check()
