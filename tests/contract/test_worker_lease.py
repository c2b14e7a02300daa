"""A worker keeps its lease while the cloud applies its changes, however long that takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from edge_redis import CloudWorker, ConflictStrategy, EdgeSynchronizer, aio
from edge_redis._sync import outbox_leases
from edge_redis.cloudstores import Change, Feed
from support.servers import Backend

CLAIM_SECONDS = 0.25
UNRENEWED_SECONDS = 0.2
"""Shorter claim times than CLAIM_SECONDS are not renewed here."""

PAUSE = 0.02
"""Seconds between two tries of another worker to claim the changes."""


class KeepingStore:
    """A cloud that keeps every change that it gets, and takes ``most`` in one call."""

    def __init__(self, most: int = 100) -> None:
        self.kept: list[tuple[str, int]] = []
        self._most = most

    def check_size(self, changes: Sequence[Change]) -> None:
        if len(changes) > self._most:
            raise ValueError("too many changes")

    def get(self, _scope: str) -> Any:
        return None

    def apply(self, scope: str, changes: Sequence[Change], _strategy: ConflictStrategy) -> Any:
        self.kept += [(scope, change.version) for change in changes]

    def changes_since(self, cursor: str, _limit: int) -> Any:
        return Feed(cursor, [])


class SlowStore(KeepingStore):
    """A cloud whose first call takes until ``other`` has tried for two claim times to claim the changes."""

    def __init__(self, other: CloudWorker, seconds: float, most: int) -> None:
        super().__init__(most)
        self.seconds = seconds
        self._other = other

    def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> None:
        self.check_size(changes)
        end = time.monotonic() + 2 * self.seconds
        while not self.kept and time.monotonic() < end:
            self._other.run_once()
            time.sleep(PAUSE)
        super().apply(scope, changes, strategy)


class AsyncSlowStore(KeepingStore):
    """SlowStore for asyncio."""

    def __init__(self, other: aio.CloudWorker, seconds: float, most: int) -> None:
        super().__init__(most)
        self.seconds = seconds
        self._other = other

    async def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> None:
        self.check_size(changes)
        end = time.monotonic() + 2 * self.seconds
        while not self.kept and time.monotonic() < end:
            await self._other.run_once()
            await asyncio.sleep(PAUSE)
        super().apply(scope, changes, strategy)


Deliver = Callable[[float, int], tuple[KeepingStore, KeepingStore]]


def deliver_blocking(backend: Backend, seconds: float, most: int) -> tuple[KeepingStore, KeepingStore]:
    """Deliver to a slow cloud by a worker with this claim time; return its cloud and that of the other worker."""
    with (
        backend.client() as client,
        backend.client() as other_client,
        CloudWorker(other_client, other := KeepingStore(), claim_idle_seconds=seconds) as rival,
        CloudWorker(client, store := SlowStore(rival, seconds, most), claim_idle_seconds=seconds) as worker,
    ):
        worker.run_once()
    return store, other


async def deliver_awaited(backend: Backend, seconds: float, most: int) -> tuple[KeepingStore, KeepingStore]:
    """Do the same in asyncio."""
    async with (
        backend.async_client() as client,
        backend.async_client() as other_client,
        aio.CloudWorker(other_client, other := KeepingStore(), claim_idle_seconds=seconds) as rival,
        aio.CloudWorker(client, store := AsyncSlowStore(rival, seconds, most), claim_idle_seconds=seconds) as worker,
    ):
        await worker.run_once()
    return store, other


SERVERS = pytest.mark.parametrize("backend", ["fakeredis", "valkey"], indirect=True)
"""The renewal of one entry shows what servers do differently; these tests show what a worker renews."""


@pytest.fixture(params=["blocking", "awaited"])
def deliver(request: pytest.FixtureRequest, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> Deliver:
    """Deliver in both APIs, with half of the shortest claim time that is renewed."""
    monkeypatch.setattr(outbox_leases, "MIN_RENEWED_MS", CLAIM_SECONDS * 1000)
    if request.param == "blocking":
        return lambda seconds, most: deliver_blocking(backend, seconds, most)
    return lambda seconds, most: asyncio.run(deliver_awaited(backend, seconds, most))


def write(backend: Backend, *scopes: str) -> None:
    with backend.client() as client:
        for scope in scopes:
            for number in range(2):
                EdgeSynchronizer(client, scope=scope).update_local({"n": number})


def test_no_other_worker_gets_changes_that_a_slow_cloud_applies(backend: Backend, deliver: Deliver) -> None:
    write(backend, "kitchen")
    store, other = deliver(CLAIM_SECONDS, 100)
    assert store.kept == [("kitchen", 1), ("kitchen", 2)]
    assert other.kept == []


@SERVERS
def test_scopes_that_wait_for_a_slow_cloud_stay_leased(backend: Backend, deliver: Deliver) -> None:
    write(backend, "kitchen", "hall")
    store, other = deliver(CLAIM_SECONDS, 100)
    assert sorted(store.kept) == [("hall", 1), ("hall", 2), ("kitchen", 1), ("kitchen", 2)]
    assert other.kept == []


@SERVERS
def test_a_change_that_is_tried_alone_stays_leased(backend: Backend, deliver: Deliver) -> None:
    write(backend, "kitchen")
    store, other = deliver(CLAIM_SECONDS, 1)
    assert store.kept == [("kitchen", 1), ("kitchen", 2)]
    assert other.kept == []


@SERVERS
def test_a_claim_time_below_half_a_second_is_not_renewed(backend: Backend, deliver: Deliver) -> None:
    write(backend, "kitchen")
    _, other = deliver(UNRENEWED_SECONDS, 100)
    assert other.kept == [("kitchen", 1), ("kitchen", 2)]
