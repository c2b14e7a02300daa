"""What is written at an edge: versions, deltas, the outbox and its bound, confirmation."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from conftest import Maker

from edge_redis import ConflictStrategy, EdgeNodeStatus, InvalidArgumentError, PendingFullError
from edge_redis._sync import replica
from support.servers import Backend
from support.sync import EDGE, dump, remote


@pytest.fixture
def sync(make: Maker) -> Any:
    return make("EdgeSynchronizer", scope="room")


def test_before_the_first_update(sync: Any) -> None:
    assert sync.local_version == 0
    assert sync.remote_version == 0
    assert sync.pending_count == 0
    assert sync.is_synced is True
    assert sync.get_local_state() is None
    assert sync.get_pending_changes() == []
    assert sync.sync_history() == []
    assert sync.conflicts() == []
    assert sync.confirm_sync(0) == 0
    assert sync.summary() == {
        "local_version": 0,
        "remote_version": 0,
        "pending_changes": 0,
        "is_synced": True,
        "sync_events": 0,
        "conflict_strategy": "remote_wins",
    }


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_node_status_is_a_value_like_any_other(make: Maker, strategy: ConflictStrategy) -> None:
    data = {"status": EdgeNodeStatus.DEGRADED, "before": [(EdgeNodeStatus.ONLINE, {EdgeNodeStatus.OFFLINE})]}
    edge = make("EdgeSynchronizer", strategy, scope="statuses")
    edge.update_local({"status": EdgeNodeStatus.SYNCING})
    edge.update_local(data, is_delta=True)
    for found in (edge.get_local_state().data, edge.get_pending_changes()[-1]["data"]):
        assert found == data
        assert type(found["status"]) is EdgeNodeStatus
    cloud = make("RedisCloudStore")
    cloud.update("statuses", data)
    assert type(cloud.get("statuses").data["status"]) is EdgeNodeStatus


def test_an_update_is_the_next_version_and_one_pending_change(sync: Any) -> None:
    first = sync.update_local({"a": 1, "nested": {"b": [1, 2]}})
    assert (first.version, first.data) == (1, {"a": 1, "nested": {"b": [1, 2]}})
    assert first.verify()
    assert abs(first.updated_at - datetime.now(UTC)) < timedelta(seconds=5)
    assert first.origin
    second = sync.update_local({"c": 2})
    assert (second.version, second.data, second.origin) == (2, {"c": 2}, first.origin)
    assert second.updated_at > first.updated_at
    assert sync.get_local_state() == second
    assert (sync.local_version, sync.remote_version, sync.pending_count, sync.is_synced) == (2, 0, 2, False)


def test_a_delta_merges_into_the_top_level(sync: Any) -> None:
    sync.update_local({"a": {"x": 1}, "b": 2})
    merged = sync.update_local({"a": {"y": 1}, "c": 3}, is_delta=True)
    assert merged.data == {"a": {"y": 1}, "b": 2, "c": 3}
    assert merged.version == 2
    assert sync.get_local_state() == merged


def test_a_delta_on_nothing(sync: Any) -> None:
    assert sync.update_local({"a": 1}, is_delta=True).data == {"a": 1}
    assert sync.local_version == 1


def test_a_delta_on_what_another_synchronizer_wrote(make: Maker) -> None:
    one, two = make("EdgeSynchronizer", scope="room"), make("EdgeSynchronizer", scope="room")
    one.update_local({"a": 1})
    assert two.update_local({"b": 2}, is_delta=True).data == {"a": 1, "b": 2}
    assert one.update_local({"c": 3}, is_delta=True).data == {"a": 1, "b": 2, "c": 3}
    assert two.local_version == 3


def test_pending_changes_are_full_states_oldest_first(sync: Any) -> None:
    states = [sync.update_local({"a": 1}), sync.update_local({"b": 2}, is_delta=True), sync.update_local({"c": 3})]
    assert sync.get_pending_changes() == [
        {
            "type": "update",
            "version": state.version,
            "data": data,
            "timestamp": state.updated_at,
            "is_delta": is_delta,
        }
        for state, data, is_delta in zip(
            states, [{"a": 1}, {"a": 1, "b": 2}, {"c": 3}], [False, True, False], strict=True
        )
    ]


def test_the_stream_ids_carry_the_versions(sync: Any, backend: Backend) -> None:
    for number in range(3):
        sync.update_local({"n": number})
    with backend.client() as client:
        assert [entry for entry, _ in client.xrange(f"{EDGE}:pending:room")] == [b"1-0", b"2-0", b"3-0"]


def test_what_is_returned_is_a_copy(sync: Any) -> None:
    data = {"a": [1]}
    state = sync.update_local(data)
    data["a"].append(2)
    assert state.data == {"a": [1]}
    state.data["a"].append(3)
    assert sync.update_local({"b": 1}, is_delta=True).data == {"a": [1], "b": 1}


def test_values_come_back_as_the_type_they_were(sync: Any) -> None:
    data = {
        "t": (1, 2),
        "s": {1, 2},
        "d": datetime(2026, 1, 1, tzinfo=UTC),
        "n": None,
        "b": b"\xff",
        "f": 1.0,
        "": 1 << 90,
    }
    assert sync.update_local(data).verify()
    assert sync.get_local_state().data == data
    assert type(sync.get_local_state().data["f"]) is float


def test_confirming_removes_up_to_the_version(sync: Any) -> None:
    for number in range(4):
        sync.update_local({"n": number})
    assert sync.confirm_sync(2) == 2
    assert [change["version"] for change in sync.get_pending_changes()] == [3, 4]
    assert (sync.remote_version, sync.is_synced) == (2, False)
    assert sync.confirm_sync(1) == 0
    assert sync.remote_version == 2
    assert sync.confirm_sync(4) == 2
    assert (sync.remote_version, sync.is_synced, sync.pending_count) == (4, True, 0)
    assert [(event.direction, event.version, event.success) for event in sync.sync_history()] == [
        ("push", 2, True),
        ("push", 4, True),
    ]
    assert sync.update_local({"n": 5}).version == 5


def test_a_version_above_the_local_one_confirms_nothing(sync: Any, backend: Backend) -> None:
    sync.update_local({"a": 1})
    before = dump(backend)
    with pytest.raises(InvalidArgumentError, match="above the local version, which is 1"):
        sync.confirm_sync(2)
    assert dump(backend) == before


def test_past_max_pending_the_oldest_coalesce(make: Maker) -> None:
    sync = make("EdgeSynchronizer", max_pending=3)
    for number in range(1, 8):
        sync.update_local({f"k{number}": number}, is_delta=True)
    assert [change["version"] for change in sync.get_pending_changes()] == [5, 6, 7]
    assert sync.get_pending_changes()[0]["data"] == {f"k{number}": number for number in range(1, 6)}
    assert sync.get_pending_changes()[-1]["data"] == sync.get_local_state().data
    assert sync.confirm_sync(4) == 0
    assert sync.confirm_sync(7) == 3


def test_overflow_reject_writes_nothing(make: Maker, backend: Backend) -> None:
    sync = make("EdgeSynchronizer", max_pending=2, overflow="reject")
    sync.update_local({"a": 1})
    sync.update_local({"b": 1}, is_delta=True)
    before = dump(backend)
    for is_delta in (False, True):
        with pytest.raises(PendingFullError):
            sync.update_local({"c": 1}, is_delta)
    assert dump(backend) == before
    sync.confirm_sync(1)
    assert sync.update_local({"c": 1}, is_delta=True).data == {"a": 1, "b": 1, "c": 1}
    assert sync.local_version == 3


def test_scopes_and_namespaces_are_apart(make: Maker) -> None:
    one = make("EdgeSynchronizer", scope="a")
    two = make("EdgeSynchronizer", scope="b")
    three = make("EdgeSynchronizer", scope="a", namespace="other")
    one.update_local({"n": 1})
    assert (two.local_version, three.local_version) == (0, 0)
    assert three.get_local_state() is None


def test_an_origin_given_is_the_one_that_states_carry(make: Maker) -> None:
    assert make("EdgeSynchronizer", origin="gate 7").update_local({}).origin == "gate 7"


def test_all_of_a_store_share_its_random_name(make: Maker) -> None:
    origins = {make("EdgeSynchronizer", scope=scope).update_local({}).origin for scope in "abc"}
    assert len(origins) == 1
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9]{16}", origins.pop())  # who wrote first, and when


def test_clocks_rise_even_where_the_seen_clock_is_far_ahead(sync: Any) -> None:
    ahead = datetime(2999, 12, 31, 23, 59, 59, 999_998, tzinfo=UTC)
    assert sync.apply_remote(remote({"r": 1}, 5, at=ahead))
    states = [sync.update_local({"n": number}) for number in range(3)]
    assert [state.version for state in states] == [6, 7, 8]
    gaps = [later.updated_at - earlier.updated_at for earlier, later in pairwise(states)]
    assert states[0].updated_at == ahead + timedelta(microseconds=1)
    assert gaps == [timedelta(microseconds=1)] * 2


def test_history_is_capped(make: Maker) -> None:
    sync = make("EdgeSynchronizer", max_history=3)
    for number in range(1, 6):
        sync.update_local({"n": number})
        sync.confirm_sync(number)
    assert [event.version for event in sync.sync_history(100)] == [3, 4, 5]
    assert [event.version for event in sync.sync_history(2)] == [4, 5]
    assert sync.summary()["sync_events"] == 3


@pytest.mark.parametrize("page_bytes", [1, 30, 1_000_000])
def test_a_long_outbox_is_read_whole(make: Maker, monkeypatch: pytest.MonkeyPatch, page_bytes: int) -> None:
    monkeypatch.setattr(replica, "PENDING_PAGE", 10)
    monkeypatch.setattr(replica, "PENDING_PAGE_BYTES", page_bytes)
    sync = make("EdgeSynchronizer", max_pending=2000)
    for number in range(1, 31):
        sync.update_local({"n": number})
        if number % 10 in {0, 1, 9}:
            assert [change["version"] for change in sync.get_pending_changes()] == list(range(1, number + 1))


LARGE = {f"sensor-{number:03d}": 0.5 for number in range(100)}


def test_past_max_pending_bytes_the_oldest_coalesce(make: Maker) -> None:
    sync = make("EdgeSynchronizer", max_pending_bytes=5000)
    sync.update_local(LARGE)
    for number in range(40):
        data = sync.update_local({"sensor-000": number}, is_delta=True).data
        assert sync.pending_bytes <= 5000
        assert sync.get_pending_changes()[-1]["data"] == data
    assert 5 < sync.pending_count < 20
    assert [change["version"] for change in sync.get_pending_changes()] == list(range(42 - sync.pending_count, 42))
    sync.update_local({"text": "x" * 10_000})
    assert [change["version"] for change in sync.get_pending_changes()] == [42]
    sync.update_local({"a": 1})
    assert [change["version"] for change in sync.get_pending_changes()] == [43]
    assert sync.pending_bytes < 500
    sync.confirm_sync(43)
    assert sync.pending_bytes == 0


def test_past_max_pending_bytes_a_change_is_refused_before_anything_is_written(make: Maker, backend: Backend) -> None:
    sync = make("EdgeSynchronizer", max_pending_bytes=1000, overflow="reject")
    sync.update_local({"text": "x" * 2000})  # one change is kept whatever its size
    before = dump(backend)
    for _ in range(2):
        with pytest.raises(PendingFullError):
            sync.update_local({"a": 1})
    assert dump(backend) == before
    sync.confirm_sync(1)
    assert sync.update_local({"a": 1}).version == 2


def test_small_changes_of_a_large_state_take_little_more_than_two_states(make: Maker, backend: Backend) -> None:
    sync, worker = make("EdgeSynchronizer", scope="room"), make("CloudWorker", make.cloud())
    body = {f"sensor-{number:04d}": float(number) for number in range(3000)}
    sync.update_local(body)
    for number in range(100):
        sync.update_local({f"sensor-{number * 29:04d}": -1.5}, is_delta=True)
    assert sync.pending_count == 100
    assert sync.pending_bytes == worker.status()["pending_bytes"] < 1.5 * 3000 * 21
    assert [len(change["data"]) for change in sync.get_pending_changes()] == [3000] * 100
    sync.confirm_sync(sync.local_version)
    assert worker.status()["pending_bytes"] == 0
