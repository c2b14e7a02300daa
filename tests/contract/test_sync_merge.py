"""MERGE: a field changed on one side is kept from that side, one changed on both goes to the later change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import Maker

from edge_redis import ConflictStrategy
from support.servers import Servers
from support.sync import remote

MERGE = ConflictStrategy.MERGE


@pytest.fixture
def sync(make: Maker) -> Any:
    return make("EdgeSynchronizer", MERGE, scope="room")


def carry(*workers: Any) -> None:
    for _ in range(2):
        for worker in workers:
            while worker.run_once():
                pass


def data(end: Any) -> Any:
    state = end.get("room") if hasattr(end, "get") else end.get_local_state()
    return None if state is None else state.data


def test_it_is_written_and_read_as_any_other(sync: Any, make: Maker) -> None:
    state = sync.update_local({"a": 1, "b": {"c": [1.5, None]}})
    assert (state.version, state.data) == (1, {"a": 1, "b": {"c": [1.5, None]}})
    assert state.verify()
    assert sync.get_local_state() == state
    other = make("EdgeSynchronizer", MERGE, scope="room")
    assert other.update_local({"d": 2}, is_delta=True).data == {"a": 1, "b": {"c": [1.5, None]}, "d": 2}
    later = sync.update_local({"a": 3})
    assert (later.version, later.data) == (3, {"a": 3})
    assert later.updated_at > state.updated_at
    assert [(change["type"], change["data"]) for change in sync.get_pending_changes()][-1] == ("update", {"a": 3})


def test_fields_changed_on_one_side_are_kept_from_that_side(sync: Any, cloud: Any, worker: Any) -> None:
    sync.update_local({"a": 1, "b": 1})
    carry(worker)
    sync.update_local({"a": 2}, is_delta=True)
    cloud.update("room", {"b": 2}, is_delta=True)
    carry(worker)
    assert data(sync) == data(cloud) == {"a": 2, "b": 2}
    assert sync.get_local_state() == cloud.get("room")
    assert sync.is_synced
    assert sync.conflicts() == cloud.conflicts("room") == []


@pytest.mark.parametrize("is_behind", [False, True])
def test_a_field_that_the_cloud_deletes_before_it_knows_the_strategy_stays_deleted(
    sync: Any, cloud: Any, worker: Any, is_behind: Any
) -> None:
    cloud.update("room", {"a": 1, "b": 1})
    carry(worker)
    if is_behind:  # what was changed here, in ignorance of the delete, is kept; what was not is not brought back
        sync.update_local({"c": 1}, is_delta=True)
    cloud.delete_fields("room", "b")
    cloud.update("room", {"d": 1}, is_delta=True)
    carry(worker)
    kept = {"c": 1} if is_behind else {}
    assert data(sync) == data(cloud) == {"a": 1, "d": 1, **kept}
    sync.update_local({"b": 2}, is_delta=True)
    carry(worker)
    assert data(sync) == data(cloud) == {"a": 1, "b": 2, "d": 1, **kept}


@pytest.mark.parametrize("origins", [("one", "other"), ("one", "one"), ("", "")])
def test_states_that_users_pass_on_take_nothing_away(sync: Any, origins: Any) -> None:
    for name, origin in zip(("a", "b"), origins, strict=True):
        assert sync.apply_remote(remote({name: 1}, 1, origin=origin))
    assert data(sync) == {"a": 1, "b": 1}


def test_a_field_that_nobody_else_has_survives_states_of_the_cloud_that_a_user_passes_on(
    sync: Any, cloud: Any, worker: Any, make: Maker
) -> None:
    cloud.update("room", {"a": 1})
    carry(worker)
    sync.update_local({"mine": 1}, is_delta=True)
    cloud.update("room", {"a": 2}, is_delta=True)
    sync.apply_remote(cloud.get("room"))
    third = make("EdgeSynchronizer", MERGE, scope="room", namespace="third")
    for state in (sync.get_local_state(), cloud.get("room")):
        third.apply_remote(state)
    cloud.update("room", {"a": 3}, is_delta=True)
    third.apply_remote(cloud.get("room"))
    assert data(third) == {"a": 3, "mine": 1}


def test_a_field_changed_on_both_goes_to_the_later_change(sync: Any, cloud: Any, worker: Any) -> None:
    sync.update_local({"a": 1})
    carry(worker)
    sync.update_local({"a": "edge"}, is_delta=True)
    sync.update_local({"x": 1}, is_delta=True)  # who wrote more often does not matter
    cloud.update("room", {"a": "cloud"}, is_delta=True)
    carry(worker)
    assert data(sync) == data(cloud) == {"a": "cloud", "x": 1}


def test_a_replacement_deletes_what_it_leaves_out_and_keeps_what_it_leaves_as_it_was(
    sync: Any, cloud: Any, worker: Any
) -> None:
    sync.update_local({"a": 1, "b": 1, "c": 1})
    carry(worker)
    cloud.update("room", {"a": 2, "c": 2}, is_delta=True)
    sync.update_local({"a": 1, "d": 1})  # a as it was; b and c go
    carry(worker)
    assert data(sync) == data(cloud) == {"a": 2, "d": 1}


def test_a_deleted_field_stays_deleted_and_a_later_change_brings_it_back(
    make: Maker, servers: Servers, sync: Any, cloud: Any, worker: Any
) -> None:
    far = servers.backend("fakeredis")
    client = far.async_client() if make.api == "awaited" else far.client()
    distant, far_worker = make("EdgeSynchronizer", MERGE, client=client, scope="room"), None
    far_worker = make("CloudWorker", make.cloud(), client=client)
    sync.update_local({"a": 1, "b": 1})
    carry(worker, far_worker)
    distant.update_local({"b": 2}, is_delta=True)
    sync.delete_fields("a")
    carry(far_worker, worker, far_worker)
    assert data(sync) == data(distant) == data(cloud) == {"b": 2}
    distant.update_local({"a": 3}, is_delta=True)
    carry(far_worker, worker)
    assert data(sync) == data(distant) == data(cloud) == {"a": 3, "b": 2}
    assert cloud.delete_fields("room", "b").data == {"a": 3}
    carry(far_worker, worker)
    assert data(sync) == data(distant) == {"a": 3}


def test_a_deleted_scope_takes_what_was_written_before_and_not_what_comes_after(
    sync: Any, cloud: Any, worker: Any
) -> None:
    cloud.update("room", {"a": 1})
    carry(worker)
    sync.update_local({"b": 1}, is_delta=True)
    assert cloud.delete("room") is True
    carry(worker)
    assert data(sync) is None
    assert data(cloud) is None
    assert sync.is_synced
    assert cloud.delete("room") is False
    assert sync.delete() is False
    sync.update_local({"c": 1}, is_delta=True)
    carry(worker)
    assert data(sync) == data(cloud) == {"c": 1}


def test_the_clouds_replacement_keeps_the_stamps_of_a_scope_it_did_not_begin(
    sync: Any, cloud: Any, worker: Any, make: Maker
) -> None:
    sync.update_local({"a": 1})
    carry(worker)
    fresh = make.store()  # which does not know yet that the scope is merged
    assert fresh.update("room", {"a": 1, "b": 2}).data == {"a": 1, "b": 2}
    sync.update_local({"c": 3}, is_delta=True)
    carry(worker)
    assert data(sync) == data(cloud) == {"a": 1, "b": 2, "c": 3}


def test_a_state_that_a_user_gives(sync: Any) -> None:
    mine = sync.update_local({"a": 1})
    past, future = datetime(2020, 1, 1, tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)
    assert sync.apply_remote(remote({"a": 0}, 9, origin="z", at=past)) is False
    assert data(sync) == {"a": 1}
    assert sync.apply_remote(remote({"a": 2, "b": 2}, 3, origin="z", at=future)) is True
    assert data(sync) == {"a": 2, "b": 2}
    assert sync.local_version == 9
    after = sync.update_local({"a": 3}, is_delta=True)
    assert after.updated_at > future > mine.updated_at
    assert [(event.version, event.success) for event in sync.sync_history()] == [(9, False), (3, True)]


def test_an_outbox_that_coalesces_loses_no_field(make: Maker, cloud: Any, worker: Any) -> None:
    sync = make("EdgeSynchronizer", MERGE, 2, scope="room")
    for number in range(9):
        sync.update_local({f"n{number}": number}, is_delta=True)
    sync.delete_fields("n0")
    assert sync.pending_count == 2
    carry(worker)
    assert data(cloud) == {f"n{number}": number for number in range(1, 9)}


def test_an_edge_that_does_not_know_the_strategy_merges_what_are_fields(
    make: Maker, servers: Servers, cloud: Any, worker: Any
) -> None:
    far = servers.backend("fakeredis")
    client = far.async_client() if make.api == "awaited" else far.client()
    distant, far_worker = (
        make("EdgeSynchronizer", MERGE, client=client, scope="room"),
        make("CloudWorker", make.cloud(), client=client),
    )
    cloud.update("room", {"cloud": 1})
    carry(worker)  # a plain state, at an edge where nobody has asked for the scope
    distant.update_local({"edge": 1})
    carry(far_worker, worker)
    sync = make("EdgeSynchronizer", MERGE, scope="room")
    assert data(sync) == data(distant) == data(cloud) == {"cloud": 1, "edge": 1}
    assert sync.get_local_state() == cloud.get("room")
