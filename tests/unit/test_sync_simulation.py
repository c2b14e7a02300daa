"""The protocol's own flows and scripts, interleaved and interrupted at every step (see ``support.sync_world``)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from random import Random

import pytest

from edge_redis import ConflictStrategy, EdgeSynchronizer
from edge_redis._core.operation import Operation, command
from edge_redis._sync import scripts
from support.exploration import survey
from support.simulated import remembering
from support.simulation import LOSSES, Actor, Scenario, explore, replay, seeds
from support.sync_plants import Plant
from support.sync_scenarios import (
    changing_patterns,
    cloned_edge,
    pull_and_edit,
    shards_apart,
    two_writers,
    worker_and_successor,
    writer_and_worker,
)
from support.sync_world import World, crowd

REMOTE, LOCAL, LATEST, MERGE = (
    ConflictStrategy.REMOTE_WINS,
    ConflictStrategy.LOCAL_WINS,
    ConflictStrategy.LATEST_WINS,
    ConflictStrategy.MERGE,
)
# How many sequences there are: every order of the steps, with every fault at every step (two of them for the writers).
TWO_WRITERS = {REMOTE: 122, LOCAL: 122, LATEST: 122, MERGE: 1004}
WRITER_AND_WORKER = {REMOTE: 343, LOCAL: 343, LATEST: 343, MERGE: 1812}
WORKER_AND_SUCCESSOR = {REMOTE: 2123, LOCAL: 2123, LATEST: 2123, MERGE: 2123}
TWO_SIGNED_WRITERS, SIGNED_WRITER_AND_WORKER = 162, 85
PULL_AND_EDIT = {REMOTE: 106, LOCAL: 106, LATEST: 106, MERGE: 741}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, "edge_redis"):
        yield


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_two_writers_of_one_edge_under_every_two_faults(strategy: ConflictStrategy) -> None:
    assert survey(two_writers(strategy)).runs == TWO_WRITERS[strategy]


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_writer_and_a_worker_under_every_fault(strategy: ConflictStrategy) -> None:
    assert survey(writer_and_worker(strategy)).runs == WRITER_AND_WORKER[strategy]


def test_a_signed_writer_under_every_loss_and_a_worker_in_every_order() -> None:
    def make() -> Scenario:
        world = World(signed=True, tick=0)
        synchronizer = world.synchronizer(0)
        world.runner(0).run(synchronizer.update_local({"first": 1}))  # the next write is two steps
        writer = world.actor("writer", 0, lambda: synchronizer.update_local({"k": 1}, is_delta=True), LOSSES)
        return Scenario([writer, world.pusher("worker", faults=())], world.check, 1, world.state)

    assert survey(make).runs == SIGNED_WRITER_AND_WORKER


def test_two_signed_writers_of_one_edge_under_every_fault() -> None:
    assert survey(two_writers(REMOTE, faults=1, signed=True)).runs == TWO_SIGNED_WRITERS


@pytest.mark.exploration
@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_signed_crowd_by_seeds(strategy: ConflictStrategy) -> None:
    seeds(crowd(strategy, signed=True), count=2)


@pytest.mark.exploration
@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_worker_and_its_successor_under_every_fault(strategy: ConflictStrategy) -> None:
    assert survey(worker_and_successor(strategy)).runs == WORKER_AND_SUCCESSOR[strategy]


@pytest.mark.exploration
@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_an_edit_of_the_cloud_on_its_way_down_under_every_fault(strategy: ConflictStrategy) -> None:
    assert survey(pull_and_edit(strategy)).runs == PULL_AND_EDIT[strategy]


def test_shards_that_were_apart_miss_nothing_whatever_the_order_and_the_faults() -> None:
    seeds(shards_apart(faults=2), count=8)


def _ends(run: Callable[[Callable[[], Scenario]], int], make: Callable[[], Scenario]) -> tuple[int, set[object]]:
    """Return how many sequences were gone through, and the states in which they ended."""
    ends = set()

    def watched() -> Scenario:
        scenario = make()
        check, state = scenario.check, scenario.state
        assert state is not None

        def note(actors: Sequence[Actor]) -> None:
            ends.add(state())
            check(actors)

        scenario.check = note
        return scenario

    return run(watched), ends


@pytest.mark.exploration
@pytest.mark.parametrize(
    "make", [two_writers(REMOTE, faults=1), writer_and_worker(LATEST), pull_and_edit(MERGE)], ids=["two", "up", "down"]
)
def test_by_states_the_same_ends_are_found_as_run_by_run(make: Callable[[], Scenario]) -> None:
    with remembering():
        assert _ends(lambda each: survey(each).runs, make) == _ends(explore, make)


def test_what_is_remembered_is_what_is_computed_anew() -> None:
    make = two_writers(REMOTE, faults=1)
    computed = _ends(explore, make)
    with remembering():
        assert _ends(explore, make) == computed


def test_by_states_a_planted_mistake_is_found_and_replays() -> None:
    plant = Plant(
        (("local is_stale = expected ~= '*' and", "local is_stale = false and"),)
    )  # writes what it has not read
    with pytest.raises(AssertionError, match=r"choices \[.*\] lead to") as failure:
        survey(two_writers(REMOTE, plant=plant))
    choices = str(failure.value).partition("[")[2].partition("]")[0]
    with pytest.raises(AssertionError, match="lead to"):
        replay(two_writers(REMOTE, plant=plant), map(int, choices.split(",")))


@pytest.mark.exploration
@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_crowd_by_seeds(strategy: ConflictStrategy) -> None:
    seeds(crowd(strategy), count=15)


@pytest.mark.exploration
@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_crowd_whose_cloud_is_an_sql_database_by_seeds(strategy: ConflictStrategy) -> None:
    seeds(crowd(strategy, sql=True), count=3)


def test_a_seed_is_the_same_run_every_time() -> None:
    def run(seed: int) -> tuple[list[str], object]:
        worlds = []

        def make() -> Scenario:
            scenario = crowd(LATEST)()
            worlds.append(scenario)
            return scenario

        choose = Random(seed)
        widths = replay(make, [], str(seed)).widths
        trace = replay(make, [choose.randrange(width) for width in widths], str(seed)).trace
        state = worlds[-1].state
        assert state is not None
        return trace, state()

    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_patterns_that_change_lose_no_newest_state_by_seeds(strategy: ConflictStrategy) -> None:
    seeds(changing_patterns(strategy), count=3)


@pytest.mark.exploration
@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_patterns_that_change_lose_no_newest_state_under_faults(strategy: ConflictStrategy) -> None:
    seeds(changing_patterns(strategy, faults=4), count=40)


@pytest.mark.parametrize("strategy", [REMOTE, MERGE])
def test_an_outbox_that_is_not_sorted_for_a_new_worker_would_stay_at_the_edge(strategy: ConflictStrategy) -> None:
    plant = Plant((("is_changed = is_changed and state ~= 'sorted'", "is_changed = false"),))
    for present in (Plant(), plant):
        world = World(strategy, plant=present)
        world.runner(0).run(world.worker("narrow", ["other"]).run_once())
        world.syncs[0].update_local({"k": 1}, is_delta=True)
        if present is plant:
            with pytest.raises(AssertionError, match="changes still wait"):
                world.check()
        else:
            world.check()


@pytest.mark.exploration
def test_a_wiped_edge_by_seeds() -> None:
    def make() -> Scenario:
        world = World(named=True)
        actors = [world.writer(0, 3, faults=()), world.wiper(0, 2), world.delivery("worker", 0, 4, faults=())]
        return Scenario(actors, world.check, max_faults=0)

    seeds(make, count=25)


@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize("strategy", [REMOTE, LATEST, MERGE])
def test_a_cloned_edge_and_its_original_lose_nothing_by_seeds(strategy: ConflictStrategy, *, carried: bool) -> None:
    seeds(cloned_edge(strategy, carried=carried), count=3)


@pytest.mark.exploration
@pytest.mark.parametrize("strategy", [REMOTE, LATEST, MERGE])
def test_a_cloned_edge_and_its_original_lose_nothing_under_faults(strategy: ConflictStrategy) -> None:
    seeds(cloned_edge(strategy, faults=2), count=25)


@pytest.mark.parametrize("strategy", [REMOTE, LATEST])
def test_clones_under_one_origin_would_lose_a_write(strategy: ConflictStrategy) -> None:
    with pytest.raises(AssertionError, match=r"acknowledged and is lost|and the cloud's"):
        seeds(cloned_edge(strategy, plant=Plant()), count=60)


@pytest.mark.parametrize("strategy", [REMOTE, LATEST, MERGE])
def test_two_edges_that_write_the_same_at_the_same_moment_come_to_one_origin(strategy: ConflictStrategy) -> None:
    world = World(strategy, 2, named=True, tick=0)
    for edge in range(2):
        world.syncs[edge].update_local({"same": 1})
    world.check()


def test_an_edge_wiped_during_its_first_pull_is_another_edge_though_the_same_process_writes_first_again() -> None:
    world = World()
    world.cloud.update("other", {"cloud": 1})
    world.syncs[0].update_local({"a": 1})  # this process gives the edge its name
    flow, runner = world.worker("running").puller.pull(), world.runner(0)
    step = flow.send(None)
    with suppress(StopIteration):
        while True:
            if isinstance(step, Operation) and step.script is scripts.SAVE_CURSOR:
                runner.run(command(bool, "FLUSHALL"))
                world.syncs[0].update_local({"b": 1})
            step = flow.send(runner.perform(step))
    world.heal()
    assert EdgeSynchronizer(world.client(0), scope="other").get_local_state() == world.cloud.get("other")
