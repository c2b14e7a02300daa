"""The number of shards of a cloud changes while its scopes are in use (see ``support.moved_cloud``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from edge_redis._sync.cloud_resharding import Range, Source
from support.moved_cloud import MovedCloud, moved_cloud
from support.moved_shards import go, take_over
from support.simulation import seeds


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, "edge_redis"):
        yield


@pytest.mark.parametrize("numbers", [(1, 3), (3, 2), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("count", [1, pytest.param(100, marks=pytest.mark.exploration)])
def test_scopes_move_while_they_are_written_read_and_carried(numbers: tuple[int, ...], count: int) -> None:
    seeds(moved_cloud(*numbers, faults=2), count=count)


@pytest.mark.parametrize("stride", [20, pytest.param(1, marks=pytest.mark.exploration)])
def test_whatever_step_a_change_stops_at_and_goes_on_from_nothing_is_lost(stride: int) -> None:
    steps, is_over = 0, False
    while not is_over:
        moved = MovedCloud(2, 3)
        first, second, reader = moved.mover("first"), moved.mover("second"), moved.reader()
        writer, follower = moved.writer("a"), moved.follower(0)
        for each in (first, reader, second, writer, follower):
            each.begin()
        is_over = go(first, steps)
        assert go(reader), "a reader waits for nobody"
        assert go(follower), "nor does who follows the feed"
        take_over(first, second, writer)
        moved.check()
        steps += stride
    assert steps > 30, f"a change has {steps} steps only"


def test_numbers_are_followed_over_several_changes() -> None:
    source = Source.parse(b"40 0:10:5 20:40:100")
    assert str(source) == "40 0:10:5 20:40:100"
    after = source.then(Source("200", (Range(0, 8, 1000), Range(8, 15, 2000), Range(110, 200, 3000))))
    assert after.ranges == (Range(0, 3, 1005), Range(3, 10, 2000), Range(30, 40, 3000))
    assert Source("-").add(after) == after
    assert Source("40", after.ranges * 30).add(after).ranges == ()
