"""LOCAL_WINS: known to a worker before anything is written, one edge a scope, within the outbox's bound."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import pytest
from conftest import Maker

from edge_redis import AuthorityConflictError, ConflictStrategy, PendingFullError, StrategyMismatchError
from edge_redis.cloudstores import Change, encode_data
from support.servers import Backend, Servers
from support.sync import dump, remote

LOCAL = ConflictStrategy.LOCAL_WINS


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


@pytest.mark.parametrize("read", ["get_local_state", "summary", "local_version", "pending_count", "is_synced"])
def test_reading_writes_nothing_and_sets_no_strategy(make: Maker, backend: Backend, cloud: Any, read: str) -> None:
    sync, worker = make("EdgeSynchronizer", LOCAL, scope="room"), make("CloudWorker", make.cloud())
    before = dump(backend)
    value = getattr(sync, read)
    if callable(value):
        value()
    assert dump(backend) == before
    for number in (1, 2):
        cloud.update("room", {"n": number})
        while worker.run_once():
            pass
    assert sync.get_local_state().data == {"n": 2}  # nothing was written here that could win


def test_a_changed_strategy_holds_for_states_of_the_cloud(make: Maker, cloud: Any) -> None:
    sync, worker = make("EdgeSynchronizer", scope="room"), make("CloudWorker", make.cloud())
    sync.change_strategy(LOCAL)
    first = cloud.update("room", {"n": 1})
    worker.run_once()
    assert sync.get_local_state() == first  # there was no local state to win
    cloud.update("room", {"n": 2})
    while worker.run_once():
        pass
    worker.run_once()
    assert sync.get_local_state().data == {"n": 1} == cloud.get("room").data
    assert sync.is_synced
    assert sync.summary()["conflict_strategy"] == "local_wins"


@pytest.mark.parametrize("first", ["update_local", "apply_remote"])
def test_the_first_write_sets_the_strategy_and_another_one_is_refused(
    make: Maker, backend: Backend, first: str
) -> None:
    mine, other = make("EdgeSynchronizer", scope="room"), make("EdgeSynchronizer", LOCAL, scope="room")
    if first == "update_local":
        mine.update_local({"n": 1})
    else:
        mine.apply_remote(remote({"n": 1}, 1))
    before = dump(backend)
    writes = [
        lambda: other.update_local({"n": 2}),
        lambda: other.update_local({"n": 2}, is_delta=True),
        lambda: other.delete_fields("n"),
        other.delete,
        lambda: other.apply_remote(remote({"n": 3}, 9, origin="z")),
    ]
    for write in writes:
        with pytest.raises(StrategyMismatchError, match="remote_wins"):
            write()
        assert dump(backend) == before
    other.change_strategy(LOCAL)
    assert other.update_local({"n": 2}).version == 2
    with pytest.raises(StrategyMismatchError, match="local_wins"):
        mine.update_local({"n": 3})


def test_a_worker_sets_no_strategy(make: Maker, cloud: Any) -> None:
    worker = make("CloudWorker", make.cloud())
    cloud.update("room", {"n": 1})
    worker.run_once()
    sync = make("EdgeSynchronizer", LOCAL, scope="room")
    assert sync.update_local({"n": 2}).version == 2
    with pytest.raises(StrategyMismatchError):
        make("EdgeSynchronizer", scope="room").update_local({"n": 3})


def test_the_second_of_two_authorities_is_refused_and_keeps_its_changes(
    make: Maker, servers: Servers, cloud: Any
) -> None:
    far = servers.backend("fakeredis")
    far_client = far.async_client() if make.api == "awaited" else far.client()
    one, two = (
        make("EdgeSynchronizer", LOCAL, scope="room", origin="one"),
        make("EdgeSynchronizer", LOCAL, client=far_client, scope="room", origin="two"),
    )
    store = cloud
    workers = [make("CloudWorker", make.cloud()), make("CloudWorker", make.cloud(), client=far_client)]
    one.update_local({"by": "one"})
    two.update_local({"by": "two"})
    for _ in range(6):
        for worker in workers:
            worker.run_once()
    assert store.get("room").data == one.get_local_state().data == {"by": "one"}
    assert one.is_synced
    assert two.get_local_state().data == {"by": "two"}
    assert two.pending_count >= 1
    assert workers[1].dead_letters() == []
    refused = [event for event in two.sync_history() if "LOCAL_WINS at another edge, 'one'" in event.error]
    assert len(refused) == 1
    assert store.release_authority("room") is True
    assert store.release_authority("room") is False
    for _ in range(4):
        workers[1].run_once()
    assert store.get("room").data == {"by": "two"}
    assert two.is_synced


def test_an_edge_without_a_synchronizer_accepts_each_state_of_the_authority(
    make: Maker, servers: Servers, cloud: Any
) -> None:
    far = servers.backend("fakeredis")
    far_client = far.async_client() if make.api == "awaited" else far.client()
    authority = make("EdgeSynchronizer", LOCAL, scope="room", origin="one")
    workers = [make("CloudWorker", make.cloud()), make("CloudWorker", make.cloud(), client=far_client)]
    for number in (1, 2, 3):
        authority.update_local({"n": number})
        for worker in [*workers, *workers]:
            worker.run_once()
    reader = make("EdgeSynchronizer", LOCAL, client=far_client, scope="room", origin="two")
    assert reader.get_local_state().data == authority.get_local_state().data == cloud.get("room").data == {"n": 3}
    assert (reader.pending_count, reader.conflicts()) == (0, [])


def test_the_cloud_says_who_it_is(cloud: Any) -> None:
    body = encode_data({"n": 1})
    import hashlib  # noqa: PLC0415 -- of this example alone

    def change(origin: Any, version: Any) -> Any:
        return Change(version, "0" * 18, origin, hashlib.sha256(body).hexdigest(), "", body)

    assert cloud.apply("room", [change("one", 1)], LOCAL) == ["accepted"]
    with pytest.raises(AuthorityConflictError, match="'one'"):
        cloud.apply("room", [change("two", 2)], LOCAL)
    assert cloud.apply("room", [change("three", 2)], ConflictStrategy.REMOTE_WINS) == ["accepted"]
    assert cloud.apply("room", [change("one", 3)], LOCAL) == ["accepted"]


def test_a_full_outbox_that_may_drop_nothing_holds_the_state_asserted_again(make: Maker) -> None:
    sync = make("EdgeSynchronizer", LOCAL, 3, scope="room", overflow="reject")
    for number in range(3):
        sync.update_local({"n": number})
    with pytest.raises(PendingFullError):
        sync.update_local({"n": 3})
    assert sync.apply_remote(remote({"theirs": 1}, 7, origin="cloud")) is False
    waiting = [(change["version"], change["data"]) for change in sync.get_pending_changes()]
    assert waiting == [(1, {"n": 0}), (2, {"n": 1}), (8, {"n": 2})]
    assert sync.get_local_state().version == 8


def test_what_the_authority_overrules_is_kept_though_it_was_written_in_knowledge_of_what_stays(
    make: Maker, cloud: Any
) -> None:
    sync, worker = make("EdgeSynchronizer", LOCAL, scope="room"), make("CloudWorker", make.cloud())
    sync.update_local({"n": 1})
    worker.run_once()
    for edit in ({"r": 1}, {"r": 2}):
        cloud.update("room", edit)
        for _ in range(2):  # down, and what is written again above it up
            worker.run_once()
        assert sync.get_local_state() == cloud.get("room")
        assert sync.get_local_state().data == {"n": 1}
    assert [conflict["data"] for conflict in sync.conflicts()] == [{"r": 1}, {"r": 2}]
    assert cloud.conflicts("room") == []


def _written_by(began: int, version: int, clock: int) -> Change:
    """Return a state of the edge "one" that was written by the incarnation that began then."""
    body = encode_data({"n": version})
    checksum = hashlib.sha256(body).hexdigest()
    return Change(version, f"{clock:018d}", f"one\x01abcd-{began:018d}\x02", checksum, "", body)


def test_an_edge_that_began_again_with_its_clock_behind_is_no_clone(cloud: Any) -> None:
    first, again, last = 1000, 500, 2000  # when each incarnation of the edge began, by its own clock
    for began, version in ((first, 1), (again, 2), (again, 3), (last, 4), (last, 5)):
        assert cloud.apply("room", [_written_by(began, version, 5000 + version)], LOCAL) == ["accepted"]
    assert cloud.get("room").version == 5


def test_an_incarnation_that_was_replaced_and_goes_on_writing_is_a_clone(backend: Backend, cloud: Any) -> None:
    original, clone = 1000, 2000
    for began, version in ((original, 1), (clone, 2)):
        assert cloud.apply("room", [_written_by(began, version, 5000 + version)], LOCAL) == ["accepted"]
    before = dump(backend)
    with pytest.raises(AuthorityConflictError, match="clone"):
        cloud.apply("room", [_written_by(original, 3, 5003)], LOCAL)
    assert dump(backend) == before


def test_a_change_that_comes_again_does_not_return_the_scope_to_the_run_before(cloud: Any) -> None:
    before, after = 1000, 500  # the server was started again with its clock behind
    changes = [_written_by(began, n, 5000 + n) for began, n in ((before, 1), (before, 2), (after, 3), (after, 4))]
    cloud.apply("room", changes[:1], LOCAL)
    cloud.apply("room", changes[1:3], LOCAL)
    assert cloud.apply("room", changes[1:2], LOCAL) == ["rejected"]  # the reply was lost
    assert cloud.apply("room", changes[2:], LOCAL) == ["duplicate", "accepted"]


def test_a_change_that_comes_again_after_the_edge_was_wiped_does_not_either(cloud: Any) -> None:
    before, after = 1000, 500  # the edge was wiped, and began again with its clock behind
    former = [_written_by(before, n, 6000 + n) for n in (1, 2)]
    cloud.apply("room", former[:1], LOCAL)
    cloud.apply("room", former[1:], LOCAL)
    assert cloud.apply("room", [_written_by(after, 1, 5001)], LOCAL) == ["rejected"]
    cloud.apply("room", former[1:], LOCAL)  # the reply was lost
    assert cloud.apply("room", [_written_by(after, 3, 6003)], LOCAL) == ["accepted"]
