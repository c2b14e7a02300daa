"""CloudWorker: what is written at an edge comes to the cloud, once and in order; what is written there comes back."""

import hashlib
import logging
import time
from typing import Any

import pytest
from conftest import Maker

from edge_redis import (
    ChecksumMismatchError,
    CloudWorker,
    ConflictStrategy,
    EdgeSynchronizer,
    StoreOutOfMemoryError,
    StoreUnavailableError,
)
from edge_redis._sync import outbox_leases, push
from edge_redis.cloudstores import Change, encode_data
from support.clouds import back_up, wipe
from support.servers import Backend, Servers
from support.sync import CLOUD, EDGE, NOON, FailingStore, dump, remote


def pushed(cloud: Any, scope: Any = "room") -> Any:
    return [(event.version, event.success) for event in cloud.sync_history(scope, 100)]


@pytest.fixture
def sync(make: Maker) -> Any:
    return make("EdgeSynchronizer", scope="room")


def test_nothing_to_do(worker: Any, backend: Backend) -> None:
    assert worker.run_once() == 0
    kept = {key: value for key, value in dump(backend).items() if value}
    cloud = b"edge_redis_stores" if backend.sql else f"{CLOUD}:replica_id".encode()
    layouts = {f"{EDGE}:layout".encode()} if backend.sql else {f"{EDGE}:layout".encode(), f"{CLOUD}:layout".encode()}
    runs = {f"{EDGE}:server".encode()} if backend.is_real else set()  # fakeredis does not name its run
    own = {f"{EDGE}:{name}".encode() for name in ("replica_id", "cursor", "patterns")}
    assert set(kept) == own | {cloud} | layouts | runs


def test_changes_go_up_once_and_in_order(sync: Any, cloud: Any, worker: Any, backend: Backend) -> None:
    states = [sync.update_local({f"k{number}": number}, is_delta=True) for number in range(5)]
    assert worker.run_once() == 5
    assert cloud.get("room") == states[-1]
    assert pushed(cloud) == [(version, True) for version in range(1, 6)]
    assert (sync.pending_count, sync.remote_version, sync.is_synced) == (0, 5, True)
    assert [(event.direction, event.version) for event in sync.sync_history()] == [("push", 5)]
    assert worker.run_once() == 0
    assert pushed(cloud) == [(version, True) for version in range(1, 6)]
    assert sync.conflicts() == cloud.conflicts("room") == []
    kept = set(dump(backend))
    assert f"{EDGE}:pending:room".encode() not in kept
    assert f"{EDGE}:work".encode() not in kept


def test_batches(make: Maker, sync: Any, cloud: Any) -> None:
    worker = make("CloudWorker", make.cloud(), batch_size=2)
    for number in range(5):
        sync.update_local({"n": number})
    assert [worker.run_once() for _ in range(4)] == [2, 2, 1, 0]
    assert pushed(cloud) == [(version, True) for version in range(1, 6)]


def test_many_scopes_in_one_round(make: Maker, cloud: Any, worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCOPES_A_PAGE", "SCOPES_A_CALL"):
        monkeypatch.setattr(push, name, 5)
    for number in range(7):
        make("EdgeSynchronizer", scope=f"s{number}").update_local({"n": number})
    handled = [worker.run_once() for _ in range(3)]
    assert handled == [5, 2, 0]
    assert all(cloud.get(f"s{number}").data == {"n": number} for number in range(7))


def test_updates_of_the_cloud(cloud: Any) -> None:
    first = cloud.update("room", {"a": 1})
    second = cloud.update("room", {"b": 2}, is_delta=True)
    assert (first.version, second.version, second.data, second.origin) == (1, 2, {"a": 1, "b": 2}, "cloud")
    assert cloud.get("room") == second
    assert second.updated_at > first.updated_at
    assert cloud.get("elsewhere") is None


def test_changes_come_down(sync: Any, cloud: Any, worker: Any) -> None:
    state = cloud.update("room", {"a": 1})
    assert worker.run_once() == 1
    assert sync.get_local_state() == state
    assert (sync.local_version, sync.remote_version, sync.is_synced) == (1, 1, True)
    assert [(event.direction, event.version, event.success) for event in sync.sync_history()] == [("pull", 1, True)]
    cloud.update("room", {"b": 2}, is_delta=True)
    assert worker.run_once() == 1
    assert sync.get_local_state().data == {"a": 1, "b": 2}
    assert worker.run_once() == 0
    assert len(sync.sync_history()) == 2


def test_there_and_back_again(sync: Any, cloud: Any, worker: Any) -> None:
    sync.update_local({"a": 1})
    worker.run_once()
    cloud.update("room", {"b": 2}, is_delta=True)
    worker.run_once()
    sync.update_local({"c": 3}, is_delta=True)
    worker.run_once()
    worker.run_once()
    assert sync.get_local_state() == cloud.get("room")
    assert cloud.get("room").data == {"a": 1, "b": 2, "c": 3}
    assert cloud.get("room").version == 3
    assert sync.conflicts() == cloud.conflicts("room") == []


def test_one_edge_hears_of_another(make: Maker, servers: Servers, backend: Backend, cloud: Any) -> None:
    far = servers.backend("fakeredis")
    near_worker = make("CloudWorker", make.cloud())
    far_client = far.async_client() if make.api == "awaited" else far.client()
    far_worker = make("CloudWorker", make.cloud(), client=far_client)
    near, distant = make("EdgeSynchronizer", scope="room"), make("EdgeSynchronizer", client=far_client, scope="room")
    state = near.update_local({"a": 1})
    assert (near_worker.run_once(), far_worker.run_once()) == (1, 1)
    assert distant.get_local_state() == state
    answer = distant.update_local({"b": 2}, is_delta=True)
    assert (far_worker.run_once(), near_worker.run_once()) == (1, 1)
    assert near.get_local_state() == answer == cloud.get("room")
    assert near.conflicts() == distant.conflicts() == cloud.conflicts("room") == []


def test_a_late_joiner_gets_what_there_is(make: Maker, sync: Any, cloud: Any, worker: Any) -> None:
    for number in range(3):
        cloud.update(f"s{number}", {"n": number})
        cloud.update(f"s{number}", {"n": number, "again": True})
    assert worker.run_once() == 3
    for number in range(3):
        assert make("EdgeSynchronizer", scope=f"s{number}").get_local_state() == cloud.get(f"s{number}")


@pytest.mark.parametrize("strategy", [each for each in ConflictStrategy if each is not ConflictStrategy.MERGE])
def test_both_ends_come_to_the_same(make: Maker, cloud: Any, worker: Any, strategy: Any) -> None:
    sync = make("EdgeSynchronizer", strategy, scope="room")
    sync.update_local({"edge": 1})
    cloud.update("room", {"cloud": 1})
    cloud.update("room", {"cloud": 2})
    for _ in range(4):
        worker.run_once()
    assert worker.run_once() == 0
    assert sync.get_local_state() == cloud.get("room")
    assert cloud.get("room").data == ({"edge": 1} if strategy is ConflictStrategy.LOCAL_WINS else {"cloud": 2})
    assert (sync.pending_count, sync.is_synced) == (0, True)
    lost = [conflict["data"] for conflict in [*sync.conflicts(), *cloud.conflicts("room")]]
    assert lost
    assert ({"cloud": 2} if strategy is ConflictStrategy.LOCAL_WINS else {"edge": 1}) in lost


def test_the_side_that_wrote_more_often_wins_by_version(sync: Any, cloud: Any, worker: Any) -> None:
    cloud.update("room", {"cloud": 1})
    for number in range(3):
        sync.update_local({"edge": number})
    worker.run_once()
    assert cloud.get("room").data == sync.get_local_state().data == {"edge": 2}
    assert [conflict["data"] for conflict in cloud.conflicts("room")] == [{"edge": 0}, {"cloud": 1}]


def test_namespaces_are_apart(make: Maker, cloud: Any) -> None:
    sync = make("EdgeSynchronizer", scope="room", namespace="other")
    sync.update_local({"a": 1})
    assert make("CloudWorker", make.cloud()).run_once() == 0
    assert make("CloudWorker", make.cloud(namespace="other"), namespace="other").run_once() == 1
    assert cloud.get("room") is None
    assert make.store(namespace="other").get("room").data == {"a": 1}


def test_a_scope_another_worker_is_at_is_left_to_it(make: Maker, sync: Any, cloud: Any, backend: Backend) -> None:
    for number in range(3):
        sync.update_local({"n": number})
    one = make("CloudWorker", FailingStore(), consumer="one", claim_idle_seconds=60)
    two = make("CloudWorker", make.cloud(), consumer="two", claim_idle_seconds=60)
    assert one.run_once() == 0
    assert two.run_once() == 0
    assert cloud.get("room") is None
    successor = make("CloudWorker", make.cloud(), consumer="one", claim_idle_seconds=60)
    assert successor.run_once() == 3
    assert pushed(cloud) == [(1, True), (2, True), (3, True)]


def test_a_dead_workers_changes_are_taken_over(make: Maker, sync: Any, cloud: Any) -> None:
    for number in range(3):
        sync.update_local({"n": number})
    assert make("CloudWorker", FailingStore(), claim_idle_seconds=60).run_once() == 0
    assert make("CloudWorker", make.cloud(), claim_idle_seconds=0.001).run_once() == 3
    assert pushed(cloud) == [(1, True), (2, True), (3, True)]


def test_work_goes_on_after_the_group_was_lost(
    make: Maker, sync: Any, cloud: Any, worker: Any, backend: Backend
) -> None:
    sync.update_local({"n": 1})
    assert make("CloudWorker", FailingStore(), claim_idle_seconds=60).run_once() == 0
    with backend.client() as client:
        assert client.xgroup_destroy(f"{EDGE}:pending:room", "cloud")
    assert worker.run_once() == 1
    assert pushed(cloud) == [(1, True)]


def test_changes_coalesced_while_under_way(make: Maker, cloud: Any) -> None:
    sync = make("EdgeSynchronizer", max_pending=2, scope="room")
    sync.update_local({"n": 1})
    sync.update_local({"n": 2})
    assert make("CloudWorker", FailingStore(), consumer="one").run_once() == 0
    for number in (3, 4, 5):
        sync.update_local({"n": number})
    worker = make("CloudWorker", make.cloud(), consumer="one")
    assert worker.run_once() == 2
    assert pushed(cloud) == [(4, True), (5, True)]
    assert sync.is_synced


def test_a_change_that_fails_again_and_again_goes_to_the_dead_letters(
    make: Maker, sync: Any, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    store = FailingStore(2)
    worker = make("CloudWorker", store, max_deliveries=3)
    other = make("EdgeSynchronizer", scope="other")
    for number in (1, 2, 3):
        sync.update_local({"n": number})
    other.update_local({"n": 1})
    # The first round finds the culprit: 1 is delivered, and so is the other scope.
    assert worker.run_once() == 2
    assert sync.pending_count == 2
    assert [worker.run_once() for _ in range(3)] == [0, 2, 0]
    versions = [(scope, version) for scope, version, *_ in store.kept]
    assert versions.count(("room", 1)) == versions.count(("room", 3)) == versions.count(("other", 1)) == 1
    assert len(versions) == 3
    assert sync.pending_count == 0
    (letter,) = dump(backend)[f"{EDGE}:dead".encode()]
    assert (letter[1][b"scope"], letter[1][b"version"], letter[1][b"deliveries"]) == (b"room", b"2", b"3")
    assert letter[1][b"error"] == b"RuntimeError: no room"
    failed = [event for event in sync.sync_history() if not event.success]
    assert [(event.direction, event.version, event.error) for event in failed] == [("push", 2, "RuntimeError: no room")]


@pytest.mark.parametrize("error", [OSError("cut"), TimeoutError(), StoreUnavailableError("away")])
def test_an_outage_is_no_fault_of_the_change(make: Maker, sync: Any, cloud: Any, backend: Backend, error: Any) -> None:
    sync.update_local({"n": 1})
    away = make("CloudWorker", FailingStore(error=error), max_deliveries=2, claim_idle_seconds=60)
    for _ in range(6):
        with pytest.raises(StoreUnavailableError):
            away.run_once()
    # And what could not be delivered is free for another worker at once.
    assert make("CloudWorker", make.cloud(), max_deliveries=2, claim_idle_seconds=60).run_once() == 1
    assert cloud.get("room").data == {"n": 1}
    assert f"{EDGE}:dead".encode() not in dump(backend)


def test_a_change_that_kills_its_workers_goes_to_the_dead_letters(
    make: Maker, sync: Any, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    store = FailingStore(2, error=KeyboardInterrupt())
    for number in (1, 2, 3):
        sync.update_local({"n": number})
    deaths = 0
    for _ in range(20):
        worker = make("CloudWorker", store, max_deliveries=3, claim_idle_seconds=0.001)
        try:
            worker.run_once()
        except KeyboardInterrupt:
            deaths += 1
    assert sync.pending_count == 0
    assert [version for _, version, *_ in store.kept] == [1, 3]
    assert deaths <= 4
    (letter,) = dump(backend)[f"{EDGE}:dead".encode()]
    assert letter[1][b"version"] == b"2"


def test_a_damaged_change_goes_to_the_dead_letters_and_holds_up_nothing(
    make: Maker, sync: Any, cloud: Any, worker: Any, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    sync.update_local({"n": 1})
    with backend.client() as client:
        (entry,) = client.xrange(f"{EDGE}:pending:room")
        client.xdel(f"{EDGE}:pending:room", entry[0])
        client.xadd(f"{EDGE}:pending:room", {**entry[1], b"data": b"\x80"}, id="2-0")
        client.hset(f"{EDGE}:doc:room", "version", 2)
    sync.update_local({"n": 3})
    handled = [worker.run_once() for _ in range(6)]
    assert sum(handled) == 2
    assert cloud.get("room").data == {"n": 3}
    (letter,) = dump(backend)[f"{EDGE}:dead".encode()]
    assert b"ChecksumMismatchError" in letter[1][b"error"]


def test_a_scope_that_cannot_be_read_does_not_hold_up_others(
    make: Maker, sync: Any, cloud: Any, worker: Any, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    sync.update_local({"n": 1})
    make("EdgeSynchronizer", scope="other").update_local({"n": 2})
    cloud.update("third", {"n": 3})
    with backend.client() as client:
        client.delete(f"{EDGE}:pending:room")
        client.set(f"{EDGE}:pending:room", "planted")
    assert worker.run_once() == 2
    assert cloud.get("other").data == {"n": 2}
    assert make("EdgeSynchronizer", scope="third").get_local_state().data == {"n": 3}


def test_a_cloud_that_lost_everything_is_read_from_the_beginning(
    make: Maker, sync: Any, cloud: Any, worker: Any, backend: Backend
) -> None:
    cloud.update("room", {"n": 1})
    worker.run_once()
    wipe(backend)
    for _ in range(5):
        cloud.update("other", {"n": 2})
    assert worker.run_once() == 1
    assert make("EdgeSynchronizer", scope="other").get_local_state().data == {"n": 2}


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_cloud_that_lost_everything_gets_it_back(
    make: Maker, cloud: Any, worker: Any, backend: Backend, strategy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    sync = make("EdgeSynchronizer", strategy, scope="room")
    sync.update_local({"n": 1})
    sync.update_local({"n": 2})
    theirs = cloud.update("elsewhere", {"n": 3})
    assert worker.run_once() == 3
    mine = sync.get_local_state()
    wipe(backend)
    worker.run_once()
    assert cloud.get("room") == mine
    assert cloud.get("elsewhere") == theirs
    last = sync.sync_history()[-1]
    assert (last.direction, last.version, last.success) == ("push", 2, True)
    assert last.error == "offered again: the cloud had lost data"
    events = sync.summary()["sync_events"]
    assert [worker.run_once() for _ in range(2)] == [0, 0]
    assert sync.summary()["sync_events"] == events
    assert sync.conflicts() == cloud.conflicts("room") == []


def test_a_cloud_restored_from_a_backup_gets_back_what_came_later(
    make: Maker, sync: Any, cloud: Any, worker: Any, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    sync.update_local({"n": 1})
    worker.run_once()
    restore = back_up(backend)
    later = sync.update_local({"n": 2})
    cloud.update("other", {"n": 3})
    worker.run_once()
    worker.run_once()
    restore()
    assert cloud.get("room").data == {"n": 1}
    worker.run_once()
    assert cloud.get("room") == later
    assert cloud.get("other").data == {"n": 3}
    assert make("EdgeSynchronizer", scope="other").is_synced


def test_an_edge_that_lost_everything_gets_it_back(sync: Any, cloud: Any, worker: Any, backend: Backend) -> None:
    for number in range(3):
        sync.update_local({"n": number})
    worker.run_once()
    with backend.client() as client:
        client.delete(*client.keys(f"{EDGE}:*"))
    assert worker.run_once() == 1
    assert sync.get_local_state() == cloud.get("room")
    assert sync.update_local({"n": 9}).version == 4
    assert worker.run_once() == 1
    assert cloud.get("room").data == {"n": 9}
    assert cloud.conflicts("room") == []


def test_a_new_edge_offers_nothing_again(make: Maker, sync: Any, cloud: Any, worker: Any) -> None:
    worker.run_once()
    sync.update_local({"n": 1})
    assert [worker.run_once() for _ in range(3)] == [1, 0, 0]
    assert [event.error for event in sync.sync_history()] == [""]


def test_the_strategy_of_the_edge_is_sent_to_the_cloud(make: Maker) -> None:
    store = FailingStore(-1)
    worker = make("CloudWorker", store)
    for strategy in ConflictStrategy:
        make("EdgeSynchronizer", strategy, scope=strategy.value).update_local({})
    worker.run_once()
    strategies = {scope: strategy for scope, _, _, strategy in store.kept}
    assert strategies == {
        "remote_wins": ConflictStrategy.REMOTE_WINS,
        "local_wins": ConflictStrategy.LOCAL_WINS,
        "latest_wins": ConflictStrategy.LATEST_WINS,
        "merge": ConflictStrategy.MERGE,
    }


def test_the_feed_stands_for_each_scope_once_at_its_present_state(cloud: Any) -> None:
    for number in range(3):
        cloud.update("a", {"n": number})
        cloud.update("b", {"n": number})
    feed = cloud.changes_since("", 100)
    assert [(scope, change.version, change.data) for scope, change in feed.changes] == [
        ("a", 3, {"n": 2}),
        ("b", 3, {"n": 2}),
    ]
    assert cloud.changes_since(feed.cursor, 100).changes == []
    cloud.update("a", {"n": 9})
    (entry,) = cloud.changes_since(feed.cursor, 100).changes
    assert (entry[0], entry[1].data) == ("a", {"n": 9})
    first = cloud.changes_since("", 1)
    assert [scope for scope, _ in first.changes] == ["b"]
    assert [scope for scope, _ in cloud.changes_since(first.cursor, 1).changes] == ["a"]
    for cursor in ("nonsense", "other:5", feed.cursor + "999", ":", "x:-1", "x:1e3"):
        assert len(cloud.changes_since(cursor, 100).changes) == 2


def test_a_batch_with_a_damaged_change_is_refused_whole(cloud: Any, backend: Backend) -> None:
    good = Change(1, "0" * 18, "x", "", "", b"\x80")
    before = dump(backend)
    with pytest.raises(ChecksumMismatchError):
        cloud.apply("room", [good], ConflictStrategy.REMOTE_WINS)
    assert dump(backend) == before


def test_lag(make: Maker, sync: Any, cloud: Any, worker: Any, backend: Backend) -> None:
    assert worker.lag() == {"scopes_waiting": 0, "oldest_seconds": 0.0}
    sync.update_local({"n": 1})
    make("EdgeSynchronizer", scope="other").update_local({"n": 1})
    with backend.client() as client:
        client.zincrby(f"{EDGE}:work", -60_000, "room")
    lag = worker.lag()
    assert lag["scopes_waiting"] == 2
    assert 60.0 <= lag["oldest_seconds"] < 70.0
    worker.run_once()
    assert worker.lag() == {"scopes_waiting": 0, "oldest_seconds": 0.0}


def test_a_clock_ahead_of_the_time_does_not_put_a_scope_behind_all_others(
    make: Maker, sync: Any, backend: Backend
) -> None:
    sync.apply_remote(remote({"n": 1}, 1, at=NOON.replace(year=2400)))
    for number in range(2):
        sync.update_local({"n": number})
    now = time.time() * 1000
    ((_, since),) = dump(backend)[f"{EDGE}:work".encode()]
    assert abs(since - now) < 10_000
    sync.confirm_sync(2)
    ((_, since),) = dump(backend)[f"{EDGE}:work".encode()]
    assert abs(since - now) < 10_000


def test_what_the_edge_pushed_itself_does_not_stand_before_what_is_new(make: Maker, sync: Any, cloud: Any) -> None:
    worker = make("CloudWorker", make.cloud(), batch_size=2)
    for number in range(9):
        make("EdgeSynchronizer", scope=f"s{number}").update_local({"n": number})
    state = cloud.update("room", {"new": 1})
    assert worker.run_once() == 10
    assert sync.get_local_state() == state


def test_large_states_are_taken_few_at_a_time(
    sync: Any, cloud: Any, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_leases, "MAX_SCOPE_BYTES", 10_400)
    for number in range(4):
        sync.update_local({"n": number, "blob": b"x" * 5_000})
    assert [worker.run_once() for _ in range(3)] == [2, 2, 0]
    sync.update_local({"blob": b"x" * 30_000})
    assert worker.run_once() == 1
    assert cloud.get("room") == sync.get_local_state()


def test_no_round_returns_0_while_a_local_wins_state_is_to_go_up_again(make: Maker, cloud: Any, worker: Any) -> None:
    sync = make("EdgeSynchronizer", ConflictStrategy.LOCAL_WINS, scope="room")
    sync.update_local({"mine": 1})
    for _ in range(3):
        while worker.run_once():
            pass
        assert cloud.get("room").data == {"mine": 1}
        assert sync.is_synced
        cloud.update("room", {"theirs": 1})


@pytest.mark.parametrize("backend", ["valkey", "redis"], indirect=True)
def test_a_full_cloud_still_gives_its_states(make: Maker, backend: Backend) -> None:
    cloud = make("RedisCloudStore")
    state = cloud.update("room", {"n": 1})
    with backend.client() as admin:
        before = admin.config_get("maxmemory")["maxmemory"]
        admin.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreOutOfMemoryError):
                cloud.update("room", {"n": 2})
            feed = cloud.changes_since()
            assert [change.state for _, change in feed.changes] == [state]
            assert cloud.changes_since(feed.cursor).changes == []
        finally:
            admin.config_set("maxmemory", before)


def test_large_states_of_many_scopes_are_taken_few_at_a_time_and_hold_up_no_other(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_leases, "LEASE_BYTES", 2_000)
    for scope in ("bad1", "bad2"):
        make("EdgeSynchronizer", scope=scope).update_local({"blob": b"x" * 3_000})
    scopes = [f"s{number:02}" for number in range(20)]
    for scope in scopes:
        make("EdgeSynchronizer", scope=scope).update_local({"blob": b"x" * 900})

    class Store(FailingStore):
        def apply(self, scope: Any, changes: Any, strategy: Any) -> None:
            if scope.startswith("bad"):
                raise ValueError(scope)
            super().apply(scope, changes, strategy)

    store = Store(0)
    worker = make("CloudWorker", store, max_deliveries=1000)
    handled = [worker.run_once() for _ in range(20)]
    assert max(handled[1:]) <= 3
    assert sorted(scope for scope, *_ in store.kept) == scopes
    assert worker.status()["changes_waiting"] == 2


def test_a_version_that_lost_by_its_clock_is_known_at_every_edge(make: Maker, servers: Servers, cloud: Any) -> None:
    far = servers.backend("fakeredis")
    far_client = far.async_client() if make.api == "awaited" else far.client()
    near_worker, far_worker = make("CloudWorker", make.cloud()), make("CloudWorker", make.cloud(), client=far_client)
    near = make("EdgeSynchronizer", scope="room")
    distant = make("EdgeSynchronizer", ConflictStrategy.LATEST_WINS, client=far_client, scope="room")
    body = encode_data({"winner": True})
    winner = Change(1, f"{2**57:018d}", "w", hashlib.sha256(body).hexdigest(), "", body)
    cloud.apply("room", [winner], ConflictStrategy.LATEST_WINS)
    near_worker.run_once()
    for number in range(3):
        distant.update_local({"n": number})
    far_worker.run_once()
    assert (cloud.get("room").version, cloud.get("room").data) == (3, {"winner": True})
    near_worker.run_once()
    assert near.get_local_state() == distant.get_local_state() == cloud.get("room")
    assert near.is_synced
    assert distant.is_synced


class Slow(FailingStore):
    """A store in whose ``apply`` two scopes wait for each other, and that counts how many are in it."""

    def __init__(self, concurrency: Any) -> None:
        super().__init__(-1)
        self.scopes_at_once = concurrency
        self.inside, self.most = 0, 0

    def apply(self, scope: Any, changes: Any, strategy: Any) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        deadline = time.monotonic() + (0.05 if self.scopes_at_once == 1 else 10)
        while self.most < self.scopes_at_once and time.monotonic() < deadline:
            time.sleep(0.001)
        super().apply(scope, changes, strategy)
        self.inside -= 1


@pytest.mark.parametrize("concurrency", [1, 2])
def test_scopes_go_up_side_by_side_where_the_store_allows_it(servers: Servers, concurrency: Any) -> None:
    with servers.backend("fakeredis").client() as client:
        for number in range(4):
            with EdgeSynchronizer(client, scope=f"s{number}") as sync:
                sync.update_local({"n": number})
        store = Slow(concurrency)
        with CloudWorker(client, store) as worker:
            assert worker.run_once() == 4
        assert store.most == concurrency
        assert sorted(scope for scope, *_ in store.kept) == ["s0", "s1", "s2", "s3"]
