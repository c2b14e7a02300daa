"""Mistakes that others made in such a protocol, planted one by one: the simulation finds each in seconds.

A simulation that finds nothing shows nothing unless it finds what is there.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_redis import ConflictStrategy
from edge_redis._core.operation import Invoke
from edge_redis._core.script import Script
from edge_redis._sync import scripts
from support.simulation import CRASHES, Scenario, explore, seeds
from support.sync_plants import PLANTS, Plant
from support.sync_world import World

LATEST = ConflictStrategy.LATEST_WINS
MakeScenario = Callable[[Plant], Scenario]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, "edge_redis"):
        yield


def a_worker_that_dies(plant: Plant) -> Scenario:
    world = World(plant=plant)
    world.syncs[0].update_local({"k": 1})
    world.written[0].append("k")
    return Scenario([world.pusher("worker", faults=CRASHES)], world.check)


def two_edges_that_write_at_once(plant: Plant) -> Scenario:
    world = World(edges=2, plant=plant)
    actors = [world.writer(edge, faults=()) for edge in range(2)]
    return Scenario([*actors, *(world.delivery(f"worker {edge}", edge, faults=()) for edge in range(2))], world.check)


def an_edge_an_hour_behind(plant: Plant) -> Scenario:
    world = World(LATEST, 2, plant, skews=(0, -3600, 0))
    world.syncs[0].update_local({"k": 1})
    for edge in range(2):
        world.carry(edge)
    return Scenario([world.writer(1, faults=()), world.delivery("worker", 1, faults=())], world.check)


def a_worker_and_its_successor(plant: Plant) -> Scenario:
    world = World(plant=plant, batch_size=1, claim_idle_seconds=0.0001)
    for number in range(2):
        world.syncs[0].update_local({f"k{number}": 1}, is_delta=True)
    successor = world.worker("successor")

    async def one_and_the_next_half() -> None:
        await successor.pusher.push()
        again = successor.pusher.push()
        with contextlib.suppress(StopIteration):
            step = again.send(None)
            while not isinstance(step, Invoke):  # what it is given it does not live to deliver
                step = again.send(await step)

    actors = [world.pusher("worker", faults=()), world.actor("successor", 0, one_and_the_next_half, ())]
    return Scenario(actors, world.check)


def a_batch_that_is_folded_under_way(plant: Plant) -> Scenario:
    world = World(plant=plant, max_pending=1, batch_size=1)
    world.syncs[0].update_local({"k": 1})
    return Scenario([world.pusher("worker", faults=CRASHES), world.writer(0, 2, faults=())], world.check)


def an_edge_that_is_wiped(plant: Plant) -> Scenario:
    world = World(plant=plant, named=True)
    for number in range(3):
        world.syncs[0].update_local({f"before{number}": 1})
    world.carry()
    actors = [world.delivery("worker", 0, 2, faults=()), world.wiper(0, 2)]
    return Scenario(actors, world.check)


SEEDED: dict[str, tuple[MakeScenario, Any]] = {
    "acknowledge before apply": (a_worker_that_dies, explore),
    "no tie-break": (two_edges_that_write_at_once, seeds),
    "wall clocks": (an_edge_an_hour_behind, seeds),
    "trim by delivered id": (a_worker_and_its_successor, seeds),
    "stop on an empty claim page": (a_batch_that_is_folded_under_way, explore),
    "deduplicate by sequence after a wipe": (an_edge_that_is_wiped, seeds),
}


def look(make: Callable[[], Scenario], how: Any) -> None:
    if how is explore:
        explore(make)
    else:
        seeds(make, count=300)


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_mistake_is_found(name: str) -> None:
    plant, (make, how) = PLANTS[name], SEEDED[name]
    for old, _ in plant.rewrites:
        assert any(old in script.source for script in vars(scripts).values() if isinstance(script, Script))
    with pytest.raises(AssertionError):
        look(lambda: make(plant), how)


@pytest.mark.parametrize("name", SEEDED)
def test_and_nothing_is_found_where_there_is_none(name: str) -> None:
    make, _ = SEEDED[name]
    seeds(lambda: make(Plant()), count=20)
