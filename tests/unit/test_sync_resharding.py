"""The number of an edge's shards changes while its scopes are in use (see ``support.moved_scopes``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from edge_redis._core.operation import Sleep
from support.moved_scopes import MovedScopes, moved_scopes
from support.moved_shards import go, take_over
from support.simulation import Actor, seeds


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, "edge_redis"):
        yield


@pytest.mark.parametrize(("old", "new"), [(1, 3), (3, 2)])
@pytest.mark.parametrize("count", [2, pytest.param(100, marks=pytest.mark.exploration)])
def test_scopes_move_while_they_are_written_read_and_carried(old: int, new: int, count: int) -> None:
    seeds(moved_scopes(old, new, faults=2), count=count)


def begin(*actors: Actor) -> None:
    for actor in actors:
        actor.begin()


@pytest.mark.parametrize("stride", [6, pytest.param(1, marks=pytest.mark.exploration)])
def test_whatever_step_a_change_stops_at_and_goes_on_from_nothing_is_lost(stride: int) -> None:
    steps, is_over = 0, False
    while not is_over:
        moved = MovedScopes(1, 2)
        first, reader, second, writer = moved.mover("first"), moved.reader(), moved.mover("second"), moved.writer("a")
        begin(first, writer)
        is_over = go(first, steps)
        begin(reader)
        assert go(reader), "a reader waits for nobody"
        begin(second)
        take_over(first, second, writer)
        moved.check()
        steps += stride
    assert steps > 30, f"a change has {steps} steps only"


@pytest.mark.parametrize("many", [False, True], ids=["one scope", "many scopes"])
def test_a_writer_waits_for_scopes_that_are_being_moved(*, many: bool) -> None:
    moved = MovedScopes(1, 2)
    mover = moved.mover("mover")
    writer = moved.writer_of_many("a") if many else moved.writer("a")
    begin(mover, writer)
    while not moved.world.client(0).exists("er:{default:sync0}:moved"):
        go(mover, 1)
    while not isinstance(writer._step, Sleep):
        go(writer, 1)
    assert go(mover)
    assert go(writer)
    assert writer.error is None
    moved.check()
