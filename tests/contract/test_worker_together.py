"""Changes of several scopes go to the cloud in one call, where its store has one, each with its own outcome."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from conftest import Maker

from edge_redis import (
    AuthorityConflictError,
    ChecksumMismatchError,
    ConflictStrategy,
    RedisCloudStore,
    StoreUnavailableError,
)
from edge_redis._core.operation import Step
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._sync import outbox_leases, transfer
from edge_redis._sync import worker as worker_module
from edge_redis._sync.cloud import Cloud
from edge_redis._sync.cloud_store_calls import find_apply_many
from edge_redis.cloudstores import Change
from support.clouds import change
from support.deadline import eventually
from support.sync import FailingStore, fake

SCOPES = [f"s{number}" for number in range(5)]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


class ManyStore(FailingStore):
    """A cloud that applies many scopes at once, but for those for which it has an error."""

    def __init__(self, errors: dict[str, Exception] | None = None, *, result: Any = None) -> None:
        super().__init__(0)
        self.errors, self.result = errors or {}, result
        self.batches: list[list[str]] = []

    def apply(self, scope: Any, changes: Any, strategy: Any) -> None:
        if scope in self.errors:
            raise self.errors[scope]
        super().apply(scope, changes, strategy)

    def apply_many(self, batches: Any) -> Any:
        self.batches.append(sorted(batches))
        if isinstance(self.result, Exception):
            raise self.result
        for scope in batches.keys() - self.errors.keys():
            super().apply(scope, *batches[scope])
        return self.errors if self.result is None else self.result


def write(make: Maker, updates: int = 2) -> None:
    for scope in SCOPES:
        sync = make("EdgeSynchronizer", scope=scope)
        for number in range(updates):
            sync.update_local({"n": number})


def versions(store: FailingStore) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for scope, version, *_ in store.kept:
        found.setdefault(scope, []).append(version)
    return found


@fake
def test_all_waiting_scopes_go_in_one_call(make: Maker) -> None:
    write(make)
    store = ManyStore()
    assert make("CloudWorker", store).run_once() == 10
    assert store.batches == [SCOPES]
    assert versions(store) == {scope: [1, 2] for scope in SCOPES}
    assert {strategy for *_, strategy in store.kept} == {ConflictStrategy.REMOTE_WINS}


@fake
def test_a_scope_that_fails_is_tried_alone_and_the_others_are_confirmed(make: Maker) -> None:
    write(make)
    store = ManyStore({"s1": ValueError("no room"), "s2": AuthorityConflictError("another edge's")})
    worker = make("CloudWorker", store, max_deliveries=3)
    assert worker.run_once() == 6
    assert versions(store) == {scope: [1, 2] for scope in ("s0", "s3", "s4")}
    assert worker.status()["changes_waiting"] == 4
    assert "another edge's" in make("EdgeSynchronizer", scope="s2").sync_history()[-1].error
    write(make, 1)  # successes of others show that the cloud works
    worker.run_once()
    worker.run_once()
    assert {letter["scope"] for letter in worker.dead_letters()} == {"s1"}


@fake
def test_an_outage_of_the_call_counts_against_no_change(make: Maker) -> None:
    write(make)
    store = ManyStore(result=ConnectionError("gone"))
    worker = make("CloudWorker", store, max_deliveries=1)
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="gone"):
            worker.run_once()
    store.result = None
    assert worker.run_once() == 10
    assert worker.dead_letters() == []


@fake
@pytest.mark.parametrize("result", [ValueError("broken"), ["none"]], ids=["raises", "returns no dict"])
def test_a_call_that_fails_as_a_whole_is_followed_by_single_tries(make: Maker, result: Any) -> None:
    write(make)
    store = ManyStore(result=result)
    assert make("CloudWorker", store).run_once() == 10
    assert versions(store) == {scope: [1, 2] for scope in SCOPES} or len(store.kept) == 20


class WatchingStore(ManyStore):
    """A cloud whose second call waits until the edge has leased the changes of the third, which may fail."""

    def __init__(self, client: Any, *, fails: bool) -> None:
        super().__init__()
        self.client, self.fails, self.number = client, fails, 0

    def apply_many(self, batches: Any) -> Any:
        self.number += 1
        if self.number == 2:
            eventually(lambda: self.count_leased() > len(batches), seconds=5, every=0.001)
        if self.number == 3 and self.fails:
            raise ConnectionError("gone")
        return super().apply_many(batches)

    def count_leased(self) -> int:
        groups = [self.client.xinfo_groups(key) for key in self.client.keys("*:pending:*")]
        return sum(group["pending"] > 0 for found in groups for group in found)


@fake
@pytest.mark.parametrize("fails", [False, True], ids=["works", "fails"])
def test_over_a_fast_link_changes_are_leased_and_confirmed_while_the_cloud_applies_others(
    make: Maker, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    monkeypatch.setattr(worker_module, "FIRST_BYTES", 1)
    monkeypatch.setattr(worker_module, "CALL_BYTES", 1)
    monkeypatch.setattr(outbox_leases, "_FIRST_SCOPES", 2)
    monkeypatch.setattr(outbox_leases, "_adapt", lambda *_: 2)
    monkeypatch.setattr(transfer, "_FAST_SECONDS", 60.0)
    write(make, 4)
    client = make.client()
    store = WatchingStore(client, fails=fails)
    worker = make("CloudWorker", store, max_deliveries=1, claim_idle_seconds=60, batch_size=2)
    assert worker.run_once() == 4  # one call: the link is not known to be fast yet
    if fails:
        with pytest.raises(StoreUnavailableError, match="gone"):
            worker.run_once()
        assert len(store.kept) == 8
        assert store.count_leased() == 3  # those of the call that failed, and of the next
    while worker.run_once():
        pass
    assert versions(store) == {scope: [1, 2, 3, 4] for scope in SCOPES}
    status = worker.status()
    assert (status["changes_waiting"], status["dead_letters"], status["pushed_total"]) == (0, 0, 20)


def test_a_store_whose_apply_alone_is_overridden_is_asked_for_that() -> None:
    class Counting(RedisCloudStore):
        def apply(self, scope: str, changes: Any, strategy: Any) -> Any:
            return super().apply(scope, changes, strategy)

    class Many(Counting):
        def apply_many(self, batches: Any) -> Any:
            return super().apply_many(batches)

    assert find_apply_many(object.__new__(RedisCloudStore)) is not None
    assert find_apply_many(object.__new__(Counting)) is None
    assert find_apply_many(object.__new__(Many)) is not None
    assert find_apply_many(FailingStore()) is None
    patched = ManyStore()
    patched.apply = patched.apply  # type: ignore[method-assign] # as a test patches it
    assert find_apply_many(patched) is None


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_redis_store_returns_for_each_scope_what_apply_does(make: Maker, strategy: ConflictStrategy) -> None:
    store, damaged = make("RedisCloudStore"), change(2)
    batches: dict[str, Any] = {scope: ([change(1), change(2), change(2)], strategy) for scope in SCOPES}
    batches["s1"] = ([Change(2, damaged.clock, "till", "0" * 64, "", damaged.body)], strategy)
    batches["s2"] = ([change(3, {"text": "x" * 2_000_000}), change(4, {"text": "y" * 2_000_000})], strategy)
    found = store.apply_many(batches)
    assert list(found) == SCOPES
    assert found["s0"] == found["s3"] == found["s4"] == ["accepted", "accepted", "duplicate"]
    assert isinstance(found["s1"], ChecksumMismatchError)
    assert found["s2"] == ["accepted", "accepted"]
    assert [getattr(store.get(scope), "version", None) for scope in SCOPES] == [2, None, 4, 2, 2]


class CountingRunner(BlockingRunner):
    """Counts round trips."""

    count = 0

    def perform(self, step: Step) -> Any:
        self.count += 1
        return super().perform(step)


@fake
@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_many_scopes_take_the_round_trips_of_one(backend: Any, make: Maker, strategy: ConflictStrategy) -> None:
    with backend.client() as client:
        runner = CountingRunner(client)
        cloud = Cloud(namespace="default", max_history=10, max_conflicts=10)
        runner.run(cloud.shards.settle())
        for version, trips in ((1, 2 if strategy is ConflictStrategy.MERGE else 1), (2, 1)):
            data = {f"field {number}": version for number in range(60)}
            batches = {f"s{number}": ([change(version, data)], strategy) for number in range(40)}
            runner.count = 0
            assert all(found == ["accepted"] for found in runner.run(cloud.apply_many(batches)).values())
            assert runner.count == trips
        assert cloud.link.describe()["splices_up"] == 0 or strategy is ConflictStrategy.MERGE
