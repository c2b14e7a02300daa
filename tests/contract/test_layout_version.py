"""The layout version of every component: created, checked before the first write, and another one refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Maker

from edge_redis import EdgeNode, InvocationRecord, SyncState
from edge_redis.errors import LayoutVersionError
from support.servers import Backend

Write = Callable[[Maker], Any]


def put(make: Maker) -> None:
    make("EdgeCache").put("k", 1)


def put_many(make: Maker) -> None:
    make("EdgeCache").put_many({"a": 1, "b": 2})


def delete(make: Maker) -> None:
    make("EdgeCache").delete("k")


def register(make: Maker) -> None:
    make("HealthMonitor").register(EdgeNode("n", "n"))


def record(make: Maker) -> None:
    metrics = make("EdgeMetrics", flush_every=1000, flush_interval=3600)
    metrics.record(InvocationRecord("f", "n", 1.0, success=True))
    metrics.flush()


def update_local(make: Maker) -> None:
    make("EdgeSynchronizer").update_local({"a": 1})


def apply_remote(make: Maker) -> None:
    make("EdgeSynchronizer").apply_remote(SyncState.from_data({"a": 1}, 1))


def update_cloud(make: Maker) -> None:
    make("RedisCloudStore").update("s", {"a": 1})


WRITES: dict[str, list[Write]] = {
    "er:{default:cache0}": [put, put_many, delete],
    "er:{default:health0}": [register],
    "er:{default:metrics0}": [record],
    "er:{default:sync0}": [update_local, apply_remote],
    "er:{default:cloud0}": [update_cloud],
}
ONLY_CHANGES = {delete}
CASES = [pytest.param(tag, write, id=write.__name__) for tag, writes in WRITES.items() for write in writes]


@pytest.mark.parametrize(("tag", "write"), CASES)
def test_the_first_write_creates_the_version_unless_it_only_changes_what_is_there(
    make: Maker, backend: Backend, tag: str, write: Write
) -> None:
    write(make)
    with backend.client() as client:
        if write in ONLY_CHANGES:
            assert not client.exists(f"{tag}:layout")
        else:
            assert client.get(f"{tag}:layout") == b"1"
            assert client.ttl(f"{tag}:layout") == -1


@pytest.mark.parametrize(("tag", "write"), CASES)
def test_another_version_is_refused_before_anything_is_written(
    make: Maker, backend: Backend, tag: str, write: Write
) -> None:
    with backend.client() as client:
        client.set(f"{tag}:layout", 2)
        with pytest.raises(LayoutVersionError, match=r"have layout version 2, and this release .* writes version 1"):
            write(make)
        assert client.keys() == [f"{tag}:layout".encode()]
        client.set(f"{tag}:layout", 1)  # so that what is buffered can be flushed when the service closes


def test_the_version_is_checked_once_and_again_after_the_server_lost_its_data(make: Maker, backend: Backend) -> None:
    cache, key = make("EdgeCache"), "er:{default:cache0}:layout"
    with backend.client() as client:
        cache.put("k", 1)
        client.delete(key)
        cache.put("k", 2)
        assert not client.exists(key), "a later write does not look"
        client.flushall()
        client.script_flush()  # as a server that was started anew without its data has none
        client.set(key, 2)
        with pytest.raises(LayoutVersionError):
            cache.put("k", 3)
        assert client.keys() == [key.encode()]
        client.flushall()
        cache.put("k", 4)
        assert client.get(key) == b"1"
        assert cache.get("k") == 4


def test_a_read_creates_no_version(make: Maker, backend: Backend) -> None:
    assert make("EdgeCache").get("k") is None
    assert make("HealthMonitor").nodes() == []
    assert make("EdgeSynchronizer").get_local_state() is None
    with backend.client() as client:
        assert client.keys("*:layout") == []


def test_a_running_worker_stops_where_a_release_has_raised_the_version(
    make: Maker, backend: Backend, worker: Any, cloud: Any
) -> None:
    """A release that raises it flushes the scripts afterwards: so running processes check again. Nothing is lost."""
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"n": 0})
    while worker.run_once():
        pass
    ends = ["sync0"] if backend.sql else ["sync0", "cloud0"]
    with backend.client() as client:
        for n, end in enumerate(ends, 1):
            sync.update_local({"n": n})
            client.set(f"er:{{default:{end}}}:layout", 2)
            client.script_flush()
            for _ in range(10):  # a change has five tries
                with pytest.raises(LayoutVersionError):
                    worker.run_once()
            assert client.xlen("er:{default:sync0}:pending:room") == 1
            assert not client.exists("er:{default:sync0}:dead")
            client.set(f"er:{{default:{end}}}:layout", 1)
            while worker.run_once():
                pass
    assert cloud.get("room").data == {"n": len(ends)}
