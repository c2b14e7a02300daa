"""What a worker survives: clouds that refuse or wait, a second cloud, damaged keys, and letters that always fail."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import fakeredis
import pytest

from edge_redis import (
    CloudMismatchError,
    CloudWorker,
    ConflictStrategy,
    EdgeRedisError,
    EdgeSynchronizer,
    InvalidArgumentError,
    InvalidTypeError,
    RedisCloudStore,
    StoreTimeoutError,
)
from edge_redis._sync import reoffer, scripts
from edge_redis.cloudstores import Change, Feed
from support.sync import CLOUD, EDGE, FailingStore


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


@pytest.fixture
def edge() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


class RefusingStore(FailingStore):
    """A cloud that refuses every call but ``get``, until it is repaired."""

    is_repaired = False

    def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> None:
        if not self.is_repaired:
            raise ValueError("token expired")
        self.kept += [(scope, change.version, change.data, strategy) for change in changes]

    def changes_since(self, cursor: str, limit: int) -> Feed:
        if not self.is_repaired:
            raise ValueError("token expired")
        return Feed(cursor, [])


def run(worker: CloudWorker, rounds: int) -> None:
    for _ in range(rounds):
        try:
            worker.run_once()
        except EdgeRedisError:
            continue


def test_a_cloud_that_refuses_everything_costs_no_change(edge: fakeredis.FakeRedis) -> None:
    for scope in ("one", "two"):
        for number in range(3):
            EdgeSynchronizer(edge, scope=scope).update_local({"n": number})
    store = RefusingStore()
    with CloudWorker(edge, store, max_deliveries=2) as worker:
        run(worker, 20)
        assert worker.status()["dead_letters"] == 0
        assert worker.status()["changes_waiting"] == 6
        store.is_repaired = True
        run(worker, 10)
        assert worker.status()["changes_waiting"] == 0
    assert sorted(version for _, version, *_ in store.kept) == [1, 1, 2, 2, 3, 3]


def test_a_change_that_fails_while_another_scope_succeeds_is_given_up(edge: fakeredis.FakeRedis) -> None:
    class OneBadScope(RefusingStore):
        def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> None:
            self.is_repaired = scope != "bad"
            super().apply(scope, changes, strategy)
            self.is_repaired = False

    EdgeSynchronizer(edge, scope="bad").update_local({"n": 1})
    with CloudWorker(edge, OneBadScope(), max_deliveries=2) as worker:
        for number in range(8):
            EdgeSynchronizer(edge, scope="good").update_local({"n": number})
            run(worker, 1)
        assert [letter["scope"] for letter in worker.dead_letters()] == ["bad"]


def test_letters_that_always_fail_do_not_hold_up_the_others(edge: fakeredis.FakeRedis) -> None:
    store = FailingStore()
    with CloudWorker(edge, store, max_deliveries=1) as worker:
        bad = EdgeSynchronizer(edge, scope="bad")
        for number in range(5):
            bad.update_local({"n": number})
        EdgeSynchronizer(edge, scope="good").update_local({"n": 1})
        run(worker, 20)
        assert worker.status()["dead_letters"] == 6
        store.versions = (2, 3, 4, 5)  # of the bad scope
        assert worker.replay_dead_letters(3) == 2
        assert worker.status()["dead_letters"] == 4


def test_dead_letters_are_discarded_by_their_ids(edge: fakeredis.FakeRedis) -> None:
    with CloudWorker(edge, FailingStore(), max_deliveries=1) as worker:
        for scope in ("a", "b"):
            EdgeSynchronizer(edge, scope=scope).update_local({"n": 1})
        run(worker, 5)
        first, second = worker.dead_letters()
        assert worker.discard_dead_letters([first["id"], "1-1"]) == 1
        assert [letter["id"] for letter in worker.dead_letters()] == [second["id"]]
        with pytest.raises(InvalidArgumentError):
            worker.discard_dead_letters([second["id"], "x"])
        wrong: Any = "1-1"
        with pytest.raises(InvalidTypeError):
            worker.discard_dead_letters(wrong)
        assert worker.status()["dead_letters"] == 1


def test_a_new_cloud_is_offered_every_scope_over_several_rounds(
    edge: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reoffer, "_SCOPES_A_PAGE", 4)
    monkeypatch.setattr(reoffer, "_PAGES", 2)
    monkeypatch.setattr(reoffer, "_OFFER_BYTES", 7)
    for number in range(30):
        EdgeSynchronizer(edge, scope=f"s{number}").update_local({"n": number})
    first, second = RedisCloudStore(fakeredis.FakeRedis()), RedisCloudStore(fakeredis.FakeRedis())
    with CloudWorker(edge, first) as worker:
        while worker.run_once():
            pass
    assert first.get("s29") is not None
    with CloudWorker(edge, second) as worker:
        worker.run_once()
        assert any(second.get(f"s{number}") is None for number in range(30))
        EdgeSynchronizer(edge, scope="urgent").update_local({"alarm": True})
        worker.run_once()
        assert second.get("urgent") is not None  # pushed between the pages
    with CloudWorker(edge, second) as successor:  # goes on where the first one was
        while successor.run_once():
            pass
    assert all(second.get(f"s{number}") is not None for number in range(30))
    assert not edge.exists(f"{EDGE}:reoffer")


def test_a_cloud_that_comes_in_the_middle_of_an_offer_is_offered_every_scope(
    edge: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reoffer, "_SCOPES_A_PAGE", 4)
    monkeypatch.setattr(reoffer, "_PAGES", 2)
    for number in range(30):
        EdgeSynchronizer(edge, scope=f"s{number}").update_local({"n": number})
    first, second, third = (RedisCloudStore(fakeredis.FakeRedis()) for _ in range(3))
    with CloudWorker(edge, first) as worker:
        while worker.run_once():
            pass
    with CloudWorker(edge, second) as worker:
        worker.run_once()
        assert edge.exists(f"{EDGE}:reoffer")
    with CloudWorker(edge, third) as worker:
        while worker.run_once():
            pass
    assert [number for number in range(30) if third.get(f"s{number}") is None] == []


class DyingStore:
    """A cloud that counts what it is offered, and whose worker dies at one of the offers."""

    def __init__(self, dies_at: int) -> None:
        self.offers: Counter[str] = Counter()
        self.dies_at = dies_at

    def get(self, _scope: str) -> None:
        return None

    def apply(self, scope: str, _changes: object, _strategy: object) -> None:
        self.offers[scope] += 1
        if self.offers.total() == self.dies_at:
            raise SystemExit

    def changes_since(self, cursor: str, _limit: int) -> Feed:
        return Feed("new:0", [], restarted=not cursor.startswith("new:"))


def test_an_offer_whose_worker_was_killed_goes_on_where_it_was(
    edge: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reoffer, "_SCOPES_A_PAGE", 4)
    for number in range(40):
        EdgeSynchronizer(edge, scope=f"s{number}").update_local({"n": number})
    with CloudWorker(edge, RedisCloudStore(fakeredis.FakeRedis())) as worker:
        while worker.run_once():
            pass
    store = DyingStore(dies_at=22)
    with CloudWorker(edge, store) as worker, pytest.raises(SystemExit):
        worker.run_once()
    with CloudWorker(edge, store) as successor:
        while successor.run_once():
            pass
    assert len(store.offers) == 40
    again = [scope for scope, offers in store.offers.items() if offers > 1]
    assert len(again) <= 8  # the page under way, and not those before it


def test_a_second_cloud_is_refused(edge: fakeredis.FakeRedis) -> None:
    EdgeSynchronizer(edge, scope="s").update_local({"n": 1})
    with (
        CloudWorker(edge, RedisCloudStore(fakeredis.FakeRedis())) as mine,
        CloudWorker(edge, RedisCloudStore(fakeredis.FakeRedis())) as other,
    ):
        for worker in (mine, other):
            while worker.run_once():
                pass
        with pytest.raises(CloudMismatchError):
            mine.run_once()
        assert other.run_once() == 0


@pytest.mark.parametrize("fails", ["apply", "save_cursor"])
def test_a_failure_of_the_edge_while_a_cloud_that_lost_its_data_is_read_does_not_make_it_a_second_cloud(
    edge: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    EdgeSynchronizer(edge, scope="s").update_local({"n": 1})
    with fakeredis.FakeRedis() as server, CloudWorker(edge, cloud := RedisCloudStore(server)) as worker:
        while worker.run_once():
            pass
        server.flushall()
        cloud.update("other", {"n": 2})

        def fail(*_: Any, **__: Any) -> None:
            monkeypatch.undo()
            raise StoreTimeoutError("the edge is slow")

        monkeypatch.setattr(scripts, fails, fail)
        with pytest.raises(StoreTimeoutError):
            worker.run_once()
        while worker.run_once():
            pass
        assert [cloud.get(scope).version for scope in ("s", "other")] == [1, 1]  # type: ignore[union-attr]


def test_a_worker_that_may_not_change_the_cloud_leaves_the_edge_to_the_right_one(edge: fakeredis.FakeRedis) -> None:
    sync = EdgeSynchronizer(edge, scope="s")
    sync.update_local({"n": 1})
    wrong = RedisCloudStore(fakeredis.FakeRedis())
    with (
        CloudWorker(edge, RedisCloudStore(fakeredis.FakeRedis()), may_change_cloud=False) as mine,
        CloudWorker(edge, wrong, may_change_cloud=False) as other,
        CloudWorker(edge, wrong) as taking,
    ):
        while mine.run_once():
            pass
        sync.update_local({"n": 2})
        for _ in range(2):
            with pytest.raises(CloudMismatchError):
                other.run_once()
        assert wrong.get("s") is None
        while mine.run_once():
            pass
        assert sync.is_synced
        while taking.run_once():
            pass
        assert wrong.get("s") == sync.get_local_state()


def test_consumers_of_former_starts_are_removed(edge: fakeredis.FakeRedis) -> None:
    EdgeSynchronizer(edge, scope="s").update_local({"n": 1})
    for _ in range(10):
        with CloudWorker(edge, FailingStore(error=OSError("away"))) as worker:
            run(worker, 1)
    assert len(edge.xinfo_consumers(f"{EDGE}:pending:s", "cloud")) == 1


DAMAGE = [b"", b"\xff", b"nan", b"-1", b"9" * 40, b"x y z", b"1e5"]


@pytest.mark.parametrize("value", DAMAGE)
@pytest.mark.parametrize("key", [
    *(f"{EDGE}:{name}" for name in ("replica_id", "cursor", "server", "clone", "reoffer")),
    *(f"{CLOUD}:{name}" for name in ("high_water", "feed_number", "replica_id")),
])  # fmt: skip
def test_a_damaged_key_ends_in_an_error_or_is_repaired(edge: fakeredis.FakeRedis, key: str, value: bytes) -> None:
    sync, cloud = EdgeSynchronizer(edge, scope="s"), RedisCloudStore(edge)
    sync.update_local({"a": 1})
    with CloudWorker(edge, cloud) as worker:
        run(worker, 3)
        edge.set(key, value)
        run(worker, 3)
        cloud.update("s", {"b": 2}, is_delta=True)
        run(worker, 6)
    with CloudWorker(edge, cloud) as successor:
        run(successor, 6)
    state = cloud.get("s")
    assert sync.get_local_state() == state
    assert state is not None
    assert state.data == {"a": 1, "b": 2}


@pytest.mark.parametrize("value", [b"\xff", b"9" * 40])
@pytest.mark.parametrize("end", [EDGE, CLOUD])
def test_a_damaged_field_raises_no_raw_error(edge: fakeredis.FakeRedis, end: str, value: bytes) -> None:
    sync, cloud = EdgeSynchronizer(edge, scope="s"), RedisCloudStore(edge)
    sync.update_local({"a": 1})
    worker = CloudWorker(edge, cloud)
    run(worker, 3)
    sync.update_local({"a": 2})
    calls = [
        lambda: sync.local_version, lambda: sync.remote_version, lambda: sync.is_synced, sync.summary,
        sync.get_local_state, sync.get_pending_changes, sync.sync_history, sync.conflicts,
        lambda: sync.update_local({"b": 1}, is_delta=True), lambda: sync.update_local({"c": 1}), sync.delete,
        lambda: sync.confirm_sync(1), lambda: cloud.get("s"), lambda: cloud.update("s", {"d": 1}, is_delta=True),
        lambda: cloud.changes_since("", 10), worker.run_once, worker.status, worker.purge_tombstones,
    ]  # fmt: skip
    contents = {key: edge.dump(key) or b"" for key in edge.keys("*")}
    for field in edge.hkeys(f"{end}:doc:s"):
        for call in calls:
            edge.hset(f"{end}:doc:s", field, value)
            try:
                call()
            except EdgeRedisError:
                continue
            finally:
                edge.flushall()
                for key, body in contents.items():
                    edge.restore(key, 0, body)
