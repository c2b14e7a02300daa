"""EdgeRedis: its worker and watch, the list of scopes, dropping a namespace, and what it keeps alive."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from typing import Any

import pytest
import redis
import redis.asyncio

import edge_redis
from edge_redis import (
    ClientConfigurationError,
    EdgeNode,
    EdgeRedis,
    EdgeRedisError,
    EdgeSynchronizer,
    HealthWatch,
    InvalidTypeError,
    InvocationRecord,
    MissingExtraError,
    RedisCloudStore,
    SyncState,
)
from edge_redis.aio import EdgeRedis as AsyncEdgeRedis
from support.servers import Backend


def fill(make: Any, namespace: str) -> None:
    """Write with every service of ``namespace``."""
    with make("EdgeCache", namespace=namespace) as cache:
        cache.put_many({f"k{number}": number for number in range(30)}, tags=["t"])
    make("HealthMonitor", namespace=namespace).register(EdgeNode("n", "N"))
    with make("EdgeMetrics", namespace=namespace) as metrics:
        metrics.record(InvocationRecord("f", "n", 1.0, success=True))
    make("EdgeSynchronizer", scope="a", namespace=namespace).update_local({"x": 1})


def keys_of(backend: Backend) -> set[bytes]:
    with backend.client() as client:
        found: Any = client.keys("*")
        return set(found)


def test_the_worker_and_the_watch_are_of_its_namespace(backend: Backend) -> None:
    with (
        backend.client() as client,
        EdgeRedis(client, namespace="n", health={"heartbeat_timeout_seconds": 7.0}) as edge,
    ):
        edge.synchronizer("s").update_local({"x": 1})
        assert edge.worker(client).run_once() >= 1
        state = RedisCloudStore(client, namespace="n").get("s")
        assert state is not None
        assert state.data == {"x": 1}
        edge.health.register(EdgeNode("node", "N"))
        assert edge.watch().run_once().checked == 1


def test_the_watch_shares_the_options_of_the_monitor_unless_it_is_given_others(backend: Backend) -> None:
    with backend.client() as client:
        edge = EdgeRedis(client, health={"heartbeat_timeout_seconds": -1.0, "max_history": 10})
        with pytest.raises(edge_redis.InvalidArgumentError, match="heartbeat_timeout_seconds"):
            edge.watch()
        assert isinstance(edge.watch(heartbeat_timeout_seconds=5.0), HealthWatch)


def test_scopes_lists_each_with_its_version_and_what_is_pending_or_in_conflict(make: Any) -> None:
    edge = make("EdgeRedis", namespace="here")
    assert edge.scopes() == []
    first = make("EdgeSynchronizer", scope="tills/1", namespace="here")
    first.update_local({"x": 1})
    first.update_local({"x": 2})
    second = make("EdgeSynchronizer", scope="tills/2", namespace="here")
    second.update_local({"x": 1})
    second.apply_remote(SyncState.from_data({"x": 9}, 5))
    make("EdgeSynchronizer", scope="elsewhere", namespace="there").update_local({"x": 1})
    assert edge.scopes() == [
        {"scope": "tills/1", "version": 2, "pending": 2, "conflicts": 0},
        {"scope": "tills/2", "version": 5, "pending": 1, "conflicts": 1},
    ]


def test_scopes_lists_more_than_fit_into_one_step(client: Any) -> None:
    for number in range(230):
        with EdgeSynchronizer(client, scope=f"s{number:03}") as sync:
            sync.update_local({"n": number})
    found = EdgeRedis(client).scopes()
    assert [row["scope"] for row in found] == [f"s{number:03}" for number in range(230)]
    assert {row["version"] for row in found} == {1}


@pytest.mark.parametrize("other", ["b", "a:b", "a*", "b:a"])
def test_dropping_a_namespace_removes_all_of_its_keys_and_no_others(make: Any, backend: Backend, other: str) -> None:
    fill(make, other)
    before = keys_of(backend)
    fill(make, "a")
    count = len(keys_of(backend) - before)
    dropped = make("EdgeRedis", namespace="a")
    assert dropped.drop_namespace() == count > 30
    assert keys_of(backend) == before
    assert dropped.drop_namespace() == 0
    fill(make, "a")
    assert len(keys_of(backend) - before) == count


def test_what_the_bundle_has_buffered_is_not_written_after_the_namespace_was_dropped(backend: Backend) -> None:
    with backend.client() as client:
        with EdgeRedis(client, namespace="a", metrics={"flush_interval": 60.0}) as edge:
            edge.cache.put("k", 1)
            edge.cache.get("k")
            edge.metrics.record(InvocationRecord("f", "n", 1.0, success=True))
            assert edge.drop_namespace() > 0
        assert keys_of(backend) == set()


def test_dropping_a_namespace_takes_many_small_steps(valkey: Backend) -> None:
    with valkey.client() as client, EdgeRedis(client, namespace="large") as edge:
        edge.cache.put_many({f"k{number}": number for number in range(900)})
        before: Any = client.info("commandstats")
        keys = len(keys_of(valkey))
        assert edge.drop_namespace() == keys > 900
        after: Any = client.info("commandstats")
        assert after["cmdstat_scan"]["calls"] - before.get("cmdstat_scan", {"calls": 0})["calls"] >= 2
        assert after["cmdstat_unlink"]["calls"] - before.get("cmdstat_unlink", {"calls": 0})["calls"] >= 2


def test_a_synchronizer_that_is_dropped_does_not_live_on_in_the_bundle(valkey: Backend) -> None:
    with redis.Redis.from_url(str(valkey.url)) as client, EdgeRedis(client) as edge:
        dropped = weakref.ref(edge.synchronizer("till"))
        gc.collect()
        assert dropped() is None
        kept = edge.synchronizer("till")
    with pytest.raises(edge_redis.ServiceClosedError):
        kept.update_local({})


MODULES = {
    "sqlalchemy": "edge_redis.cloudstores.sql",
    "prometheus_client": "edge_redis.exporters.prometheus",
    "opentelemetry": "edge_redis.exporters.opentelemetry",
    "psutil": "edge_redis._site.telemetry",
}


@pytest.mark.parametrize("library", MODULES)
def test_a_missing_extra_says_how_to_install_it(library: str) -> None:
    program = f"""
import json, sys
sys.modules[{library!r}] = None
try:
    import {MODULES[library]}
except ImportError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    name, text = json.loads(done.stdout)
    assert name == "MissingExtraError"
    assert "pip install 'edge-redis[" in text


def test_a_missing_extra_is_an_error_of_this_package_and_an_import_error() -> None:
    assert issubclass(MissingExtraError, EdgeRedisError)
    assert issubclass(MissingExtraError, ImportError)


@pytest.mark.parametrize(
    ("client", "message"),
    [
        pytest.param("redis://store:6379/0", "not str", id="url"),
        pytest.param(redis.Redis(decode_responses=True), "decode_responses", id="decoding"),
        pytest.param(redis.asyncio.Redis(), "edge_redis.aio", id="asyncio"),
    ],
)
def test_a_client_that_no_service_can_use_is_refused_at_once(client: Any, message: str) -> None:
    with pytest.raises((InvalidTypeError, ClientConfigurationError), match=message):
        EdgeRedis(client)


@pytest.mark.parametrize("made", [EdgeRedis, AsyncEdgeRedis])
def test_an_option_that_does_not_exist_is_refused_at_once(made: Any) -> None:
    with pytest.raises(InvalidTypeError, match="cache has no option 'maxsize'; did you mean 'max_size'"):
        made.from_url(cache={"maxsize": 3})
    with pytest.raises(InvalidTypeError, match="health has no option 'x': it has heartbeat_timeout_seconds"):
        made.from_url(health={"x": 3})
    with pytest.raises(InvalidTypeError, match="no option 'strategy'; did you mean 'conflict_strategy'"):
        made.from_url().synchronizer("s", strategy="latest_wins")


@pytest.mark.parametrize("made", [EdgeRedis, AsyncEdgeRedis])
def test_a_bundle_shows_its_namespace_and_no_secret(made: Any) -> None:
    shown = repr(made.from_url("redis://:secret@store:6379/0", namespace="store-7"))
    assert "EdgeRedis namespace='store-7'" in shown
    assert "secret" not in shown
