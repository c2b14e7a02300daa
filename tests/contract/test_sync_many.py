"""update_many: the next version of many scopes at once, each a write of its own."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from conftest import Maker

from edge_redis import (
    ConflictStrategy,
    EdgeSynchronizer,
    InvalidArgumentError,
    InvalidTypeError,
    PartialUpdateError,
    PendingFullError,
    StrategyMismatchError,
    ValueTooLargeError,
    WrongKeyTypeError,
)
from edge_redis._core.shard_record import choose_shard
from edge_redis._core.shards import name_shards
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._sync import scripts
from edge_redis._sync.config import EndConfig
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.replica import Replica
from edge_redis._sync.replies import Written
from edge_redis._sync.scripts import ScopeWrite
from edge_redis.cloudstores import encode_data

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


MADE_OF_THE_STATE: dict[str, tuple[dict[str, Any], bool]] = {
    "a delta": ({}, True),
    "merged fields": ({"conflict_strategy": ConflictStrategy.MERGE}, False),
    "a delta of merged fields": ({"conflict_strategy": ConflictStrategy.MERGE}, True),
    "a signed state": ({"origin": "till", "signing_key": b"k" * 16}, False),
    "a signed delta": ({"origin": "till", "signing_key": b"k" * 16}, True),
}


@pytest.mark.parametrize("name", MADE_OF_THE_STATE)
def test_writes_that_are_made_of_the_present_states_share_calls_too(
    make: Maker, edge: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (options, is_delta), long = MADE_OF_THE_STATE[name], {"text": "x" * 600}

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a scope was written by a call of its own")

    monkeypatch.setattr(scripts, "update", refuse)
    for number in range(3):
        written = edge.update_many({scope: {**long, "n": number} for scope in DEVICES}, is_delta, **options)
    assert {(state.version, state.data["n"]) for state in written.values()} == {(3, 2)}
    sync = make("EdgeSynchronizer", options.get("conflict_strategy", "remote_wins"), scope="device/7")
    assert sync.get_local_state() == written["device/7"]
    assert [each["is_delta"] for each in sync.get_pending_changes()] == [is_delta] * 3


@pytest.mark.parametrize("devices", [DEVICES, {"device/1": {"number": 1}}], ids=["many", "one"])
@pytest.mark.parametrize("name", ["a delta", "a delta of merged fields", "a signed delta"])
def test_a_write_between_the_read_and_the_write_of_many_is_not_lost(
    make: Maker, edge: Any, monkeypatch: pytest.MonkeyPatch, name: str, devices: dict[str, Any]
) -> None:
    options, _ = MADE_OF_THE_STATE[name]
    edge.update_many(devices, **options)
    update_many = scripts.update_many

    def write_before(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        with make.backend.client() as client, EdgeSynchronizer(client, scope="device/1", **options) as other:
            other.update_local({"other": 1}, is_delta=True)
        return update_many(*args, **kwargs)

    monkeypatch.setattr(scripts, "update_many", write_before)
    written = edge.update_many({scope: {"more": True} for scope in devices}, is_delta=True, **options)
    assert (written["device/1"].version, written["device/1"].data) == (3, {"number": 1, "other": 1, "more": True})
    assert all(state.version == 2 for scope, state in written.items() if scope != "device/1")


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


def test_many_calls_use_one_idempotency_key_again(make: Maker, edge: Any) -> None:
    for _ in range(3):
        edge.update_many(DEVICES)
    with make.backend.client() as client:
        clients = {name for key in client.keys("er:{default:sync0}:repeats:*") for name in client.hkeys(key)}
    assert len(clients) == 1


def test_a_damaged_scope_does_not_stop_the_others(make: Maker, edge: Any) -> None:
    """Three scopes whose document is damaged, or of another type, or whose outbox holds a later version."""
    tag = "er:{default:sync0}"
    with make.backend.client() as client:
        client.hset(f"{tag}:doc:device/3", "version", "many")
        client.set(f"{tag}:doc:device/4", "no hash")
        client.xadd(f"{tag}:pending:device/5", {"data": "x"}, id="9-0")
        with pytest.raises(PartialUpdateError) as caught:
            edge.update_many(DEVICES)
        found = {scope: client.hget(f"{tag}:doc:{scope}", "checksum") for scope in DEVICES if scope != "device/4"}
        assert [scope for scope, checksum in found.items() if checksum is None] == ["device/3", "device/5"]
        assert client.hget(f"{tag}:pending_bytes", "device/5") is None
    assert caught.value.errors.keys() == {"device/3", "device/4", "device/5"}
    assert caught.value.states.keys() == DEVICES.keys() - caught.value.errors.keys()


def test_a_damaged_scope_that_is_alone_in_its_call_does_not_hide_the_others(make: Maker, edge: Any) -> None:
    updates = {**DEVICES, "large": {"text": "x" * 200_000}}
    with make.backend.client() as client:
        client.set("er:{default:sync0}:doc:large", "no hash")
        with pytest.raises(PartialUpdateError) as caught:
            edge.update_many(updates)
    assert {scope: type(error) for scope, error in caught.value.errors.items()} == {"large": WrongKeyTypeError}
    assert caught.value.states.keys() == DEVICES.keys()


def test_a_damaged_shard_does_not_hide_what_the_others_have_written(make: Maker, edge: Any) -> None:
    edge.update_many({"first": {}}, shards=3)
    keys = [SyncKeys("default", "sync", shard=name) for name in name_shards("default", "sync", 3)]
    with make.backend.client() as client:
        client.delete(keys[1].pending_bytes)
        client.set(keys[1].pending_bytes, "no hash")
        with pytest.raises(PartialUpdateError) as caught:
            edge.update_many(DEVICES, shards=3)
    in_shard = {scope for scope in DEVICES if choose_shard(scope, 3) == 1}
    assert caught.value.errors.keys() == in_shard
    assert caught.value.states.keys() == DEVICES.keys() - in_shard


def test_a_call_that_is_sent_again_writes_no_second_version(client: Any) -> None:
    runner = BlockingRunner(client)
    replica = Replica(SyncKeys("default", "sync"), EndConfig("edge", max_pending=1, overflow="reject"))
    body = encode_data({"a": 1})
    writes = [ScopeWrite(scope, body, hashlib.sha256(body).hexdigest()) for scope in ("a", "b", "c")]
    runner.run(scripts.update_many(replica, writes[:1], ("earlier", 1)))
    operation = scripts.update_many(replica, writes, ("client", 1))
    refused, *written = runner.run(operation)
    assert isinstance(refused, PendingFullError)
    assert [result.version for result in written if isinstance(result, Written)] == [1, 1]
    again = runner.run(operation)
    assert again[1:] == written
    assert isinstance(again[0], PendingFullError)
    assert runner.run(scripts.counts(replica, "c"))[0] == 1


def test_scopes_with_merged_fields_and_large_states_are_among_others(make: Maker, edge: Any) -> None:
    make("EdgeSynchronizer", ConflictStrategy.MERGE, scope="merged").update_local({"a": 1})
    make("EdgeSynchronizer", ConflictStrategy.MERGE, scope="merged").change_strategy(ConflictStrategy.REMOTE_WINS)
    for turn in range(3):
        states = {f"large/{number}": {"text": "x" * 1000, "number": number + turn} for number in range(120)}
        edge.update_many({"merged": {"b": 2}, **states}, max_pending=2)
    for scope in ("merged", "large/0", "large/119"):
        sync = make("EdgeSynchronizer", scope=scope, max_pending=2)
        pending = sync.get_pending_changes()
        assert [change["version"] for change in pending] == [sync.local_version - 1, sync.local_version]
        assert pending[-1]["data"] == sync.get_local_state().data
    assert sync.get_local_state().data == {"text": "x" * 1000, "number": 121}
