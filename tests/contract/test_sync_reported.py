"""What users of comparable tools reported does not happen here: one test a report.

(A scope deleted and created again in the cloud: ``test_sync_deletes``.)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_redis import CloudWorker, EdgeSynchronizer, RedisCloudStore, StoreUnavailableError
from edge_redis.cloudstores.sql import SqlCloudStore
from support.deadline import eventually
from support.servers import Backend, Servers


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


class Link:
    """A cloud behind a link that can be cut."""

    def __init__(self, store: Any) -> None:
        self.store, self.cut, self.refused = store, False, 0
        self.during: Callable[[], object] | None = None

    def _pass(self) -> None:
        if self.cut:
            self.refused += 1
            raise StoreUnavailableError("the link is cut")

    def get(self, scope: Any) -> Any:
        self._pass()
        return self.store.get(scope)

    def apply(self, scope: Any, changes: Any, strategy: Any) -> Any:
        self._pass()
        if self.during:
            self.during()
        return self.store.apply(scope, changes, strategy)

    def changes_since(self, cursor: Any, limit: Any) -> Any:
        self._pass()
        return self.store.changes_since(cursor, limit)


@pytest.fixture
def ends(servers: Servers, backend: Backend) -> Iterator[Any]:
    """An edge on every server, and its cloud on a server of its own."""
    far = servers.backend("fakeredis") if backend.name != "fakeredis" else type(backend)("fakeredis")
    with backend.client() as edge, far.client() as client:
        cloud = SqlCloudStore(backend.sql) if backend.sql else RedisCloudStore(client)
        yield EdgeSynchronizer(edge, scope="room"), cloud, edge


def test_after_an_outage_syncing_resumes_by_itself(ends: Any) -> None:
    """No local change is needed to wake it, and what was changed in the cloud meanwhile arrives."""
    sync, store, edge = ends
    link = Link(store)
    sync.update_local({"before": 1})
    with CloudWorker(edge, link) as worker:
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            eventually(lambda: sync.is_synced)
            link.cut = True
            sync.update_local({"cut off": 1}, is_delta=True)
            store.update("elsewhere", {"changed": "meanwhile"})
            elsewhere = EdgeSynchronizer(edge, scope="elsewhere")
            eventually(lambda: link.refused > 2)
            link.cut = False
            eventually(lambda: sync.is_synced and elsewhere.get_local_state() is not None)
        finally:
            worker.stop()
            thread.join()
    assert store.get("room").data == {"before": 1, "cut off": 1}
    assert elsewhere.get_local_state() == store.get("elsewhere")


def test_what_was_changed_in_the_cloud_during_an_outage_comes_without_anything_to_push(ends: Any) -> None:
    sync, store, edge = ends
    link = Link(store)
    with CloudWorker(edge, link) as worker:
        store.update("room", {"n": 1})
        assert worker.run_once() == 1
        link.cut = True
        for number in (2, 3):
            store.update("room", {"n": number})
        for _ in range(3):
            with pytest.raises(StoreUnavailableError):
                worker.run_once()
        link.cut = False
        assert worker.run_once() == 1
    assert sync.get_local_state() == store.get("room")


def once(action: Any) -> Any:
    left = [action]
    return lambda: left and left.pop()()


def test_an_update_whose_scope_changes_while_it_is_under_way_is_not_dropped(ends: Any) -> None:
    """Neither the one under way, nor the one made in the meantime, here or in the cloud."""
    sync, store, edge = ends
    link = Link(store)
    sync.update_local({"first": 1})
    link.during = once(lambda: sync.update_local({"second": 2}, is_delta=True))
    with CloudWorker(edge, link) as worker:
        while worker.run_once():
            pass
        assert store.get("room").data == {"first": 1, "second": 2}
        link.during = once(lambda: store.update("room", {"cloud": 3}, is_delta=True))
        sync.update_local({"third": 3}, is_delta=True)
        while worker.run_once():
            pass
    assert sync.get_local_state() == store.get("room")
    kept = [store.get("room").data, *(each["data"] for each in [*sync.conflicts(), *store.conflicts("room")])]
    for key in ("first", "second", "third", "cloud"):
        assert any(key in data for data in kept), key
