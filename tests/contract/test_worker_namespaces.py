"""One object carries several namespaces of an edge: each works by itself, on shared connections."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from edge_redis import (
    CloudWorker,
    EdgeSynchronizer,
    InvalidArgumentError,
    InvalidTypeError,
    NamespaceWorkers,
    RedisCloudStore,
    StoreUnavailableError,
)
from edge_redis.cloudstores import Feed
from support.deadline import eventually
from support.servers import Backend
from support.sync import fake

NAMESPACES = ["a", "b", "c"]


class Broken:
    """A store whose calls fail."""

    def get(self, scope: Any) -> None:
        raise StoreUnavailableError("no cloud")

    def apply(self, scope: Any, changes: Any, strategy: Any) -> None:
        raise StoreUnavailableError("no cloud")

    def changes_since(self, cursor: Any, limit: Any) -> Feed:
        raise StoreUnavailableError("no cloud")


def write(make: Any, namespace: str) -> Any:
    edge = make("EdgeSynchronizer", scope="till", namespace=namespace)
    edge.update_local({"of": namespace})
    return edge


@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)
def test_each_namespace_has_a_turn_and_a_status(make: Any) -> None:
    edges = [write(make, namespace) for namespace in NAMESPACES]
    workers = make("NamespaceWorkers", make.client(), NAMESPACES)
    assert [status["changes_waiting"] for status in workers.status().values()] == [1, 1, 1]
    assert workers.run_once() == 3
    assert all(edge.is_synced for edge in edges)
    for namespace in NAMESPACES:
        assert make("RedisCloudStore", namespace=namespace).get("till").data == {"of": namespace}
    assert {name: lag["scopes_waiting"] for name, lag in workers.lag().items()} == dict.fromkeys(NAMESPACES, 0)
    assert [*workers.workers] == NAMESPACES
    assert workers.run_once() == 0


@fake
def test_a_namespace_that_fails_holds_up_no_other(make: Any) -> None:
    edges = {namespace: write(make, namespace) for namespace in NAMESPACES}
    stores = {name: Broken() if name == "b" else make("RedisCloudStore", namespace=name) for name in NAMESPACES}
    workers = make("NamespaceWorkers", stores, NAMESPACES)
    assert workers.run_once() == 2
    with pytest.raises(StoreUnavailableError, match="no cloud"):
        workers.run_once()
    assert {name: edge.is_synced for name, edge in edges.items()} == {"a": True, "b": False, "c": True}
    write(make, "c")
    workers.start()
    eventually(lambda: edges["c"].is_synced)
    assert not edges["b"].is_synced


@fake
@pytest.mark.parametrize(
    ("error", "namespaces"),
    [(InvalidTypeError, "abc"), (InvalidArgumentError, []), (InvalidArgumentError, ["a", "missing"])],
)
def test_namespaces_that_cannot_be_carried_are_refused(make: Any, error: type[Exception], namespaces: Any) -> None:
    with pytest.raises(error):
        make("NamespaceWorkers", {"a": Broken()}, namespaces)


def test_two_connections_wait_for_the_changes_of_all_namespaces(real: Backend) -> None:
    with real.client() as client:
        edges = [EdgeSynchronizer(client, scope="till", namespace=namespace) for namespace in NAMESPACES]
        stores = [RedisCloudStore(client, namespace=namespace) for namespace in NAMESPACES]
        with NamespaceWorkers(client, client, NAMESPACES, max_bytes_per_second=1e6) as workers:
            thread = threading.Thread(target=workers.run)
            thread.start()
            eventually(lambda: len(client.client_list(_type="pubsub")) == 2)
            for number in range(3):
                for edge, store in zip(edges, stores, strict=True):
                    edge.update_local({"up": number})
                    store.update("other", {"down": number})
                eventually(lambda: all(edge.is_synced for edge in edges))
                eventually(lambda: [_down(client, name) for name in NAMESPACES] == [number] * 3)  # noqa: B023 -- now
            assert len(client.client_list(_type="pubsub")) == 2
            workers.stop()
            thread.join()
            eventually(lambda: not client.client_list(_type="pubsub"))
            workers.start()
            edges[0].update_local({"up": "again"})
            eventually(lambda: edges[0].is_synced)


def _down(client: Any, namespace: str) -> Any:
    with EdgeSynchronizer(client, scope="other", namespace=namespace) as other:
        state = other.get_local_state()
        return None if state is None else (state.data or {}).get("down")


def test_a_worker_of_one_namespace_may_be_used_by_itself(real: Backend) -> None:
    with real.client() as client, NamespaceWorkers(client, client, ["a"]) as workers:
        assert isinstance(workers.workers["a"], CloudWorker)
        assert workers.workers["a"].dead_letters() == []
