"""Deletes of fields and of whole scopes: versions like any other, which travel, win and lose as updates do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conftest import Maker

from edge_redis import ConflictStrategy, InvalidArgumentError, InvalidTypeError, PendingFullError
from edge_redis._sync.change import from_state
from support.servers import Backend
from support.sync import dump, remote


@pytest.fixture
def sync(make: Maker) -> Any:
    return make("EdgeSynchronizer", scope="room")


def carry(worker: Any) -> None:
    while worker.run_once():
        pass


def test_fields_go_and_stay_gone(sync: Any, cloud: Any, worker: Any) -> None:
    sync.update_local({"a": 1, "b": 2, "c": 3})
    state = sync.delete_fields("a", "c", "never there")
    assert (state.version, state.data) == (2, {"b": 2})
    assert state.verify()
    assert [change["data"] for change in sync.get_pending_changes()] == [{"a": 1, "b": 2, "c": 3}, {"b": 2}]
    carry(worker)
    assert cloud.get("room") == state
    assert cloud.delete_fields("room", "b").data == {}
    carry(worker)
    assert sync.get_local_state().data == {}


def test_a_delete_of_fields_loses_no_update_made_meanwhile(make: Maker, sync: Any) -> None:
    other = make("EdgeSynchronizer", scope="room")
    sync.update_local({"a": 1})
    other.update_local({"b": 2}, is_delta=True)
    assert sync.delete_fields("a").data == {"b": 2}


def test_a_deleted_scope_is_none_everywhere(sync: Any, cloud: Any, worker: Any) -> None:
    assert sync.delete() is False
    sync.update_local({"a": 1})
    carry(worker)
    assert sync.delete() is True
    assert sync.delete() is False
    assert sync.get_local_state() is None
    assert (sync.local_version, sync.is_synced) == (2, False)
    (change,) = sync.get_pending_changes()
    assert (change["type"], change["version"], change["data"]) == ("delete", 2, None)
    carry(worker)
    assert cloud.get("room") is None
    assert sync.is_synced
    assert sync.conflicts() == cloud.conflicts("room") == []


def test_a_scope_created_again_in_the_cloud_was_deleted_once_and_not_for_ever(
    sync: Any, cloud: Any, worker: Any
) -> None:
    cloud.update("room", {"first": 1})
    carry(worker)
    assert cloud.delete("room") is True
    assert cloud.delete("room") is False
    carry(worker)
    assert sync.get_local_state() is None
    state = cloud.update("room", {"second": 2})
    assert state.version == 3
    carry(worker)
    assert sync.get_local_state() == state
    for _ in range(3):  # and no delete comes after it once more
        worker.run_once()
        sync.update_local({"third": 3}, is_delta=True)
        carry(worker)
    assert sync.get_local_state().data == cloud.get("room").data == {"second": 2, "third": 3}


def test_a_scope_deleted_and_created_again_while_the_edge_was_cut_off(sync: Any, cloud: Any, worker: Any) -> None:
    cloud.update("room", {"first": 1})
    carry(worker)
    cloud.delete("room")
    cloud.update("room", {"second": 2})
    carry(worker)
    assert sync.get_local_state().data == {"second": 2}
    assert [event.success for event in sync.sync_history()] == [True, True]


def test_a_delta_on_a_deleted_scope_starts_from_nothing(make: Maker, sync: Any) -> None:
    sync.update_local({"a": 1})
    sync.delete()
    for each in (sync, make("EdgeSynchronizer", scope="room")):
        assert each.update_local({"b": 2}, is_delta=True).data == {"b": 2}
    assert sync.local_version == 4


@pytest.mark.parametrize("strategy", [each for each in ConflictStrategy if each is not ConflictStrategy.MERGE])
def test_a_delete_and_an_update_at_once_come_to_the_same_everywhere(
    make: Maker, cloud: Any, worker: Any, strategy: Any
) -> None:
    sync = make("EdgeSynchronizer", strategy, scope="room")
    sync.update_local({"a": 1})
    carry(worker)
    sync.delete()
    cloud.update("room", {"a": 2})
    for _ in range(4):
        worker.run_once()
    assert sync.get_local_state() == cloud.get("room")
    assert (cloud.get("room") is None) is (strategy is ConflictStrategy.LOCAL_WINS)
    assert sync.is_synced
    kept = [conflict["data"] for conflict in [*sync.conflicts(), *cloud.conflicts("room")]]
    assert ({"a": 2} if strategy is ConflictStrategy.LOCAL_WINS else None) in kept


def test_a_delete_that_lost_is_settled_by_saying_what_is_to_be(sync: Any) -> None:
    sync.update_local({"a": 1})
    sync.delete()
    assert sync.apply_remote(remote({"a": 3}, 3, origin="cloud")) is True
    (conflict,) = sync.conflicts()
    with pytest.raises(InvalidArgumentError, match="delete"):
        sync.resolve(conflict["id"])
    assert sync.resolve(conflict["id"], {"a": 4}).data == {"a": 4}


def test_a_full_outbox_refuses_a_delete_too(make: Maker) -> None:
    sync = make("EdgeSynchronizer", max_pending=1, scope="room", overflow="reject")
    sync.update_local({"a": 1})
    with pytest.raises(PendingFullError):
        sync.delete()
    assert sync.get_local_state().data == {"a": 1}


@pytest.mark.parametrize(("names", "error"), [((), InvalidArgumentError), ((1,), InvalidTypeError)])
def test_bad_names(sync: Any, cloud: Any, names: Any, error: Any) -> None:
    with pytest.raises(error):
        sync.delete_fields(*names)
    with pytest.raises(error):
        cloud.delete_fields("room", *names)


class TestCollecting:
    @pytest.mark.parametrize("strategy", ConflictStrategy)
    def test_a_delete_is_forgotten_at_both_ends_and_nothing_is_kept(
        self, make: Maker, cloud: Any, worker: Any, backend: Backend, strategy: Any
    ) -> None:
        sync = make("EdgeSynchronizer", strategy, scope="room")
        before = set(dump(backend))
        for number in range(3):
            sync.update_local({"n": number})
        carry(worker)
        sync.delete()
        assert worker.purge_tombstones(0) == 0  # it has not gone up
        carry(worker)
        assert (worker.purge_tombstones(3600), cloud.purge_tombstones()) == (0, 0)  # deleted just now
        assert (worker.purge_tombstones(1e308), cloud.purge_tombstones(1e308)) == (0, 0)
        assert (worker.purge_tombstones(0), cloud.purge_tombstones(0)) == (1, 1)
        assert (worker.purge_tombstones(0), cloud.purge_tombstones(0)) == (0, 0)
        assert {key for key in set(dump(backend)) - before if b"room" in key} == set()
        assert worker.status()["scopes"] == 0
        carry(worker)
        assert (sync.get_local_state(), cloud.get("room")) == (None, None)

    @pytest.mark.parametrize("strategy", [each for each in ConflictStrategy if each is not ConflictStrategy.MERGE])
    @pytest.mark.parametrize("collected", ["edge", "cloud"])
    @pytest.mark.parametrize("created", ["edge", "cloud"])
    def test_a_scope_created_again_lives_where_one_end_has_not_forgotten(
        self, make: Maker, cloud: Any, worker: Any, strategy: Any, collected: Any, created: Any
    ) -> None:
        sync = make("EdgeSynchronizer", strategy, scope="room")
        for number in range(3):
            sync.update_local({"n": number})
        sync.delete()
        carry(worker)
        assert (worker if collected == "edge" else cloud).purge_tombstones(0) == 1
        if strategy is ConflictStrategy.LOCAL_WINS and created == "cloud":
            return  # the edge's delete stands, as it did
        state = sync.update_local({"new": 1}) if created == "edge" else cloud.update("room", {"new": 1})
        assert state.version > 4 or (created, collected) in {("edge", "cloud"), ("cloud", "edge")}
        carry(worker)
        assert sync.get_local_state() == cloud.get("room")
        assert cloud.get("room").data == {"new": 1}

    def test_what_lives_is_kept(self, make: Maker, cloud: Any, worker: Any) -> None:
        for number in range(3):
            make("EdgeSynchronizer", scope=f"s{number}").update_local({"n": number})
        make("EdgeSynchronizer", ConflictStrategy.MERGE, scope="merged").update_local({"n": 1})
        carry(worker)
        assert (worker.purge_tombstones(0), cloud.purge_tombstones(0)) == (0, 0)
        assert cloud.get("merged").data == {"n": 1}

    @pytest.mark.parametrize("seconds", [-1, float("nan")])
    def test_a_bad_age_is_refused(self, cloud: Any, worker: Any, seconds: Any) -> None:
        for end in (cloud, worker):
            with pytest.raises(InvalidArgumentError):
                end.purge_tombstones(seconds)


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_change_from_before_a_purged_delete_does_not_bring_the_scope_back(
    make: Maker, cloud: Any, worker: Any, strategy: ConflictStrategy
) -> None:
    sync = make("EdgeSynchronizer", strategy, scope="room", origin="site")
    state = sync.update_local({"a": 1})
    change = from_state(replace(state, origin="site"))
    carry(worker)
    sync.delete()
    carry(worker)
    assert worker.purge_tombstones(0) == cloud.purge_tombstones(0) == 1
    assert cloud.apply("room", [change, change], strategy) == ["rejected", "rejected"]
    assert cloud.get("room") is None
    assert cloud.changes_since("", 10).changes == []
    sync.update_local({"b": 2})  # later than the delete
    carry(worker)
    assert cloud.apply("room", [change], strategy) == ["rejected"]
    assert cloud.get("room").data == sync.get_local_state().data == {"b": 2}
