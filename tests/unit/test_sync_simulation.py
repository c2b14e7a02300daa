"""The protocol's own flows and scripts, interleaved and interrupted at every step (see ``support.sync_world``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import pytest

from edge_redis import ConflictStrategy
from support.simulation import Actor, Scenario, explore, seeds
from support.sync_world import World, crowd, puller_and_editor, writer_and_worker

TWO_WRITERS, WRITER_AND_WORKER, PULLER_AND_EDITOR = 122, 343, 83
"""How many runs there are: every order of the steps, with every fault at every step."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, "edge_redis"):
        yield


def test_two_writers_of_one_edge_under_every_fault() -> None:
    def make() -> Scenario:
        world = World()

        def check(_actors: Sequence[Actor]) -> None:
            changes = world.syncs[0].get_pending_changes()
            assert [change["version"] for change in changes] == list(range(1, len(changes) + 1))
            assert [len(change["data"]) for change in changes] == list(range(1, len(changes) + 1))
            assert all(key in changes[-1]["data"] for key in world.written[0])

        return Scenario([world.writer(), world.writer()], check, max_faults=2)

    assert explore(make) == TWO_WRITERS


def test_a_writer_and_a_worker_under_every_fault() -> None:
    assert explore(writer_and_worker(ConflictStrategy.REMOTE_WINS)) == WRITER_AND_WORKER


def test_a_worker_and_its_heir_in_every_order() -> None:
    def make() -> Scenario:
        world = World()
        world.syncs[0].update_local({"first": 1})
        return Scenario([world.pusher("worker", faults=()), world.pusher("heir", faults=())], world.check)

    # Whether the heir finds the claim time over is up to the clock: hence no exact number.
    assert explore(make) >= 70


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_an_edit_of_the_cloud_on_its_way_down_under_every_fault(strategy: ConflictStrategy) -> None:
    assert explore(puller_and_editor(strategy)) == PULLER_AND_EDITOR


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_crowd_by_seeds(strategy: ConflictStrategy) -> None:
    seeds(crowd(strategy), count=15)


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_crowd_whose_cloud_is_an_sql_database_by_seeds(strategy: ConflictStrategy) -> None:
    seeds(crowd(strategy, sql=True), count=3)


def test_a_wiped_edge_by_seeds() -> None:
    def make() -> Scenario:
        world = World(named=True)
        actors = [world.writer(0, 3, faults=()), world.wiper(0, 2), world.delivery("worker", 0, 4, faults=())]
        return Scenario(actors, world.check, max_faults=0)

    seeds(make, count=30)
