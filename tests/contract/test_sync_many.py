"""update_many: the next version of many scopes at once, each a write of its own."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Maker

from edge_redis import (
    ConflictStrategy,
    InvalidArgumentError,
    InvalidTypeError,
    PartialUpdateError,
    PendingFullError,
    StrategyMismatchError,
    ValueTooLargeError,
)

DEVICES = {f"device/{number}": {"number": number} for number in range(30)}


@pytest.fixture
def edge(make: Maker) -> Any:
    """The services of a namespace."""
    return make("EdgeRedis")


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_every_scope_gets_its_next_version(make: Maker, edge: Any, strategy: ConflictStrategy) -> None:
    first = edge.update_many(DEVICES, conflict_strategy=strategy)
    assert {scope: (state.version, state.data) for scope, state in first.items()} == {
        scope: (1, data) for scope, data in DEVICES.items()
    }
    second = edge.update_many({scope: {"more": True} for scope in DEVICES}, is_delta=True, conflict_strategy=strategy)
    for scope, data in DEVICES.items():
        sync = make("EdgeSynchronizer", strategy, scope=scope)
        assert sync.get_local_state() == second[scope]
        assert (second[scope].version, second[scope].data) == (2, {**data, "more": True})
        assert [change["version"] for change in sync.get_pending_changes()] == [1, 2]


def test_a_scope_that_is_refused_does_not_stop_the_others(make: Maker, edge: Any) -> None:
    full, other = "device/1", "device/2"
    make("EdgeSynchronizer", max_pending=1, scope=full, overflow="reject").update_local({})
    make("EdgeSynchronizer", ConflictStrategy.LATEST_WINS, scope=other).update_local({})
    with pytest.raises(PartialUpdateError, match=r"2 of 30 scopes were not written; 'device/1'") as caught:
        edge.update_many(DEVICES, max_pending=1, overflow="reject")
    assert {scope: type(error) for scope, error in caught.value.errors.items()} == {
        full: PendingFullError,
        other: StrategyMismatchError,
    }
    assert caught.value.states.keys() == DEVICES.keys() - {full, other}
    assert {each["scope"]: each["version"] for each in edge.scopes()} == dict.fromkeys(sorted(DEVICES), 1)


@pytest.mark.parametrize(
    ("updates", "options", "error"),
    [
        ([], {}, InvalidTypeError),
        ({"a": {}, "b": 1}, {}, InvalidTypeError),
        ({"a": {}, "b": {"x": object()}}, {}, InvalidTypeError),
        ({"a": {}, "b": {"x": "y" * 100}}, {"max_bytes": 50}, ValueTooLargeError),
        ({"a": {}, "": {}}, {}, InvalidArgumentError),
        ({"a": {}, 3: {}}, {}, InvalidTypeError),
        ({"a": {}}, {"max_pending": 0}, InvalidArgumentError),
        ({"a": {}}, {"conflict_strategy": []}, InvalidTypeError),
    ],
)
def test_nothing_is_written_where_an_argument_is_wrong(edge: Any, updates: Any, options: Any, error: Any) -> None:
    with pytest.raises(error):
        edge.update_many(updates, **options)
    assert edge.scopes() == []


def test_no_scope_is_nothing_to_do(edge: Any) -> None:
    assert edge.update_many({}) == {}


def test_many_calls_use_few_idempotency_keys(make: Maker, edge: Any) -> None:
    for _ in range(3):
        edge.update_many(DEVICES)
    with make.backend.client() as client:
        clients = {name for key in client.keys("er:{default:sync0}:repeats:*") for name in client.hkeys(key)}
    assert len(clients) == len(DEVICES)
