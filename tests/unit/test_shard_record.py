"""The record of a component's shards: what is stored, and where a unit is at each moment of a change."""

from __future__ import annotations

import pytest

from edge_redis._core.shard_record import ShardPlace, ShardRecord, choose_shard, parse
from edge_redis._core.shards import name_shards
from edge_redis._core.slots import SLOTS, hash_slot

NAMES = [f"unit-{number}" for number in range(60)]
RECORDS = {
    "1": ShardRecord("1"),
    "1/12": ShardRecord("1", 12),
    "1/24+12": ShardRecord("1", 24, earlier=(12,)),
    "1/1+12+5": ShardRecord("1", 1, earlier=(12, 5)),
    "1/12>24:3": ShardRecord("1", 12, 24, 3),
    "1/1>12:0": ShardRecord("1", 1, 12, 0),
    "1/24>12.1:2": ShardRecord("1", 24, 12, 2, next_generation=1),
    "1/12.1>1.1:0": ShardRecord("1", 12, 1, 0, generation=1, next_generation=1),
}


@pytest.mark.parametrize("text", RECORDS)
def test_a_record_is_stored_as_text(text: str) -> None:
    assert parse(text.encode()) == RECORDS[text]
    assert str(RECORDS[text]) == text


@pytest.mark.parametrize(
    "text", ["1/", "1/0", "1/12>24", "1/12>24:12", "1/12+", "1/012", "1/x", "1/1", "1/12>24:3+5", "1/12.0"]
)
def test_what_no_release_stores_is_no_record(text: str) -> None:
    assert parse(text.encode()) is None


@pytest.mark.parametrize(("old", "new"), [(1, 3), (3, 1), (3, 5), (4, 2)])
def test_a_unit_is_in_one_shard_at_each_moment_and_changes_it_once(old: int, new: int) -> None:
    record = ShardRecord("1", old).begin_move(new)
    history = {name: [ShardPlace(old, choose_shard(name, old))] for name in NAMES}
    while record.target is not None:
        places = record.list_places()
        assert len(places) == len(set(places))
        for name in NAMES:
            history[name].append(places[record.choose(name)])
        record = record.advance()
    assert record == ShardRecord("1", new)
    for name in NAMES:
        history[name].append(record.list_places()[record.choose(name)])
        assert list(dict.fromkeys(history[name])) == [
            ShardPlace(old, choose_shard(name, old)),
            ShardPlace(new, choose_shard(name, new)),
        ]


def test_a_number_that_comes_back_is_listed_once() -> None:
    record = ShardRecord("1", 12).begin_epoch(24)
    assert record == ShardRecord("1", 24, earlier=(12,))
    assert record.begin_epoch(12) == ShardRecord("1", 12, earlier=(24,))
    assert [record.list_places()[at] for at in record.find("n")] == [
        ShardPlace(24, choose_shard("n", 24)),
        ShardPlace(12, choose_shard("n", 12)),
    ]


def test_the_shards_of_a_number_that_comes_back_have_other_names() -> None:
    record = ShardRecord("1", 3)
    for _ in range(3):
        record = record.advance() if record.target else record.begin_move(1, 1)
    record = record.advance()
    assert str(record) == "1/1.1"
    names = [name_shards("site", "sync", shards, generation) for shards in (1, 3) for generation in range(3)]
    assert len({name for each in names for name in each}) == 3 + 9
    assert all(
        int(hash_slot(f"site:sync{name}") * 3 // SLOTS) == at for each in names[3:] for at, name in enumerate(each)
    )
