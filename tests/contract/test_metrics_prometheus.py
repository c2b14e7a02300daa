"""The exposition: parsed by the official parsers, and equal to what the services say themselves."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import fakeredis
import pytest
from conftest import Maker

import edge_redis
from edge_redis import (
    CloudWorker,
    EdgeNode,
    EdgeNodeStatus,
    EdgeRedis,
    EdgeRedisError,
    HealthWatch,
    InvalidArgumentError,
    InvalidTypeError,
    TransitionRelay,
    aio,
)
from support.deadline import eventually
from support.metrics import TAG, exact_percentile, made, spans
from support.servers import Backend

pytest.importorskip("prometheus_client", reason="the exporter is an extra: edge-redis[prometheus]")

from itertools import islice

from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from edge_redis.exporters.opentelemetry import EdgeExporter
from edge_redis.exporters.prometheus import EdgeCollector, Endpoint

FORMATS: dict[str, tuple[Callable[[CollectorRegistry], bytes], Callable[[str], Any]]] = {
    "text": (generate_latest, parse),
    "openmetrics": (generate_openmetrics, parse_openmetrics),
}
NAMESPACE = (("namespace", "default"),)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def make(backend: Backend) -> Iterator[Maker]:
    """The exporter reads the blocking services."""
    maker = Maker(backend, "blocking")
    yield maker
    maker.close()


def samples(families: Any) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def exposed(collector: EdgeCollector, form: str = "text") -> Samples:
    registry = CollectorRegistry()
    registry.register(collector)
    generate, parser = FORMATS[form]
    return samples(parser(generate(registry).decode()))


@pytest.mark.parametrize("form", FORMATS)
def test_invocations_are_what_the_metrics_say(make: Maker, form: str) -> None:
    metrics = make("EdgeMetrics")
    pick = random.Random(3)
    records = [
        made(f'f{pick.randrange(3)}"\\\n', f"n{pick.randrange(2)}", pick.lognormvariate(2, 2), ok=pick.random() > 0.2)
        for _ in range(500)
    ]
    metrics.record_many(records)
    found = exposed(EdgeCollector(metrics=metrics), form)
    for function_id, node_id in metrics.series():
        labels = (("function", function_id), ("namespace", "default"), ("node", node_id))
        of = [record for record in records if (record.function_id, record.node_id) == (function_id, node_id)]
        assert found["edge_invocations_total", labels] == metrics.total_invocations(function_id, node_id) == len(of)
        assert found["edge_invocation_errors_total", labels] == metrics.error_count(node_id, function_id)
        name = "edge_invocation_duration_seconds"
        assert found[f"{name}_count", labels] == len(of)
        assert found[f"{name}_sum", labels] == pytest.approx(sum(record.duration_ms for record in of) / 1000)
        for power in range(-3, 23):
            bound = (*labels[:1], ("le", repr(2.0**power / 1000)), *labels[1:])
            assert found[f"{name}_bucket", bound] == sum(record.duration_ms <= 2.0**power for record in of)
        for quarter in range(56):
            bound = (*labels[:1], ("le", repr(float(f"{2.0 ** (quarter / 4) / 1000:.6g}"))), *labels[1:])
            assert found[f"{name}_bucket", bound] == sum(record.duration_ms <= 2.0 ** (quarter / 4) for record in of)
        assert found[f"{name}_bucket", (*labels[:1], ("le", "+Inf"), *labels[1:])] == len(of)
    assert found["edge_redis_up", ()] == 1
    assert found["edge_invocation_series", NAMESPACE] == len(metrics.series())
    assert found["edge_invocations_overflow_total", NAMESPACE] == 0


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_recorded_parses_too(make: Maker, form: str) -> None:
    found = exposed(EdgeCollector(metrics=make("EdgeMetrics")), form)
    assert found == {
        ("edge_redis_up", ()): 1.0,
        ("edge_invocations_overflow_total", NAMESPACE): 0.0,
        ("edge_invocation_series", NAMESPACE): 0.0,
    }


def test_cache_health_and_sync(make: Maker) -> None:
    cache, health = make("EdgeCache", max_size=10), make("HealthMonitor")
    synchronizer = make("EdgeSynchronizer", scope="room")
    cache.put("k", 1)
    cache.get("k")
    cache.get("none")
    health.register(EdgeNode("a", "a"))
    health.register(EdgeNode("b", "b", status=EdgeNodeStatus.OFFLINE))
    synchronizer.update_local({"x": 1})
    found = exposed(EdgeCollector(cache=cache, health=health, synchronizers={"room": synchronizer}))
    of_cache = {"hits_total": 1, "misses_total": 1, "evictions_total": 0, "size": 1, "max_size": 10}
    assert {name: found[f"edge_cache_{name}", NAMESPACE] for name in of_cache} == of_cache
    by_status = {"online": 1, "offline": 1, "maintenance": 0}
    assert {status: found["edge_nodes", (*NAMESPACE, ("status", status))] for status in by_status} == by_status
    assert [found["edge_node_up", (*NAMESPACE, ("node", name))] for name in "ab"] == [1, 0]
    assert 0 <= found["edge_node_heartbeat_age_seconds", (*NAMESPACE, ("node", "a"))] < 60
    of_sync = {"local_version": 1, "remote_version": 0, "pending_changes": 1, "synced": 0}
    assert {name: found[f"edge_sync_{name}", (*NAMESPACE, ("scope", "room"))] for name in of_sync} == of_sync


def test_a_scrape_checks_no_node(make: Maker) -> None:
    health = make("HealthMonitor")
    health.register(EdgeNode("a", "a"))
    exposed(EdgeCollector(health=health))
    assert health.get_history("a") == []


def test_a_store_that_is_away_is_down_and_no_error(servers: Any) -> None:
    maker = Maker(servers.backend("fakeredis"), "blocking")
    metrics = maker("EdgeMetrics")
    maker.backend.fake.connected = False
    assert exposed(EdgeCollector(metrics=metrics)) == {("edge_redis_up", ()): 0.0}
    maker.backend.fake.connected = True
    assert exposed(EdgeCollector(metrics=metrics))["edge_redis_up", ()] == 1.0
    maker.close()


def test_the_endpoint_of_a_live_run_over_http(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    metrics.record_many(islice(spans(), 500))
    with Endpoint(EdgeCollector(metrics=metrics), port=0) as endpoint:
        for accept, parser in (
            ("text/plain", parse),
            ("application/openmetrics-text; version=1.0.0", parse_openmetrics),
        ):
            request = urllib.request.Request(f"http://127.0.0.1:{endpoint.port}/metrics", headers={"Accept": accept})
            with urllib.request.urlopen(request, timeout=10) as response:
                found = samples(parser(response.read().decode()))
            total = sum(value for (name, _), value in found.items() if name == "edge_invocations_total")
            assert total == metrics.total_invocations() == 500
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=1)


def quantile(found: Samples, q: float) -> float:
    """Return what Prometheus' histogram_quantile makes of the buckets of the only series, in seconds."""
    buckets = sorted(
        (float(dict(labels)["le"]), count)
        for (name, labels), count in found.items()
        if name == "edge_invocation_duration_seconds_bucket"
    )
    rank = q * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            return lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    raise AssertionError


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_of_prometheus_are_close_to_the_truth(make: Maker, seed: int) -> None:
    metrics = make("EdgeMetrics")
    pick = random.Random(seed)
    durations = [pick.lognormvariate(2.5, 0.8) for _ in range(3000)]
    metrics.record_many(made(ms=ms) for ms in durations)
    found = exposed(EdgeCollector(metrics=metrics))
    for q in (0.5, 0.95, 0.99):
        exact = exact_percentile(100 * q, durations) / 1000
        assert quantile(found, q) == pytest.approx(exact, rel=0.06)


def test_bounds_can_be_chosen(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    metrics.record_many(made(ms=ms) for ms in (1.0, 99.0, 103.0, 900.0))
    found = exposed(EdgeCollector(metrics=metrics, bounds_seconds=(0.05, 0.1, 1)))
    name = "edge_invocation_duration_seconds_bucket"
    counts = {dict(labels)["le"]: count for (found_name, labels), count in found.items() if found_name == name}
    assert counts == {"0.05": 1, "0.1": 2, "1.0": 4, "+Inf": 4}


@pytest.mark.parametrize("bounds", [(), "12", 5, (0.0,), (-1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (float("inf"),), ("1",)])
def test_bounds_that_cannot_be_used_are_refused(bounds: Any) -> None:
    with pytest.raises((InvalidArgumentError, InvalidTypeError)):
        EdgeCollector(bounds_seconds=bounds)


def test_asyncio_services_are_refused_at_once() -> None:
    client = fakeredis.FakeAsyncRedis()
    services: list[tuple[str, Any]] = [
        ("metrics", aio.EdgeMetrics(client)),
        ("cache", aio.EdgeCache(client)),
        ("health", aio.HealthMonitor(client)),
    ]
    for name, service in services:
        with pytest.raises(InvalidTypeError, match="blocking"):
            EdgeCollector(**{name: service})
        with pytest.raises(InvalidTypeError, match="blocking"):
            EdgeExporter(ConsoleMetricExporter(), **{name: service})
    with pytest.raises(InvalidTypeError, match="blocking"):
        EdgeCollector(synchronizers={"s": aio.EdgeSynchronizer(client, scope="s")})  # type: ignore[dict-item] # bad input


def test_dead_nodes_are_down_however_many_there_are(make: Maker) -> None:
    health = make("HealthMonitor", heartbeat_timeout_seconds=0.05)
    health.heartbeat_many([EdgeNode(f"n{at:04}", "n") for at in range(1200)])
    collector = EdgeCollector(health=health, timeout_seconds=60.0)

    def all_are_down() -> bool:
        states = [up for (name, _), up in exposed(collector).items() if name == "edge_node_up"]
        return len(states) == 1200 and not any(states)

    eventually(all_are_down, seconds=60)


def test_ages_are_by_the_server_s_clock(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    health = make("HealthMonitor")
    health.register(EdgeNode("a", "a"))
    monkeypatch.setattr(edge_redis.models, "utc_now", lambda: datetime(2000, 1, 1, tzinfo=UTC))
    age = exposed(EdgeCollector(health=health))["edge_node_heartbeat_age_seconds", (*NAMESPACE, ("node", "a"))]
    assert 0 <= age < 30


def test_one_damaged_node_leaves_all_others_exported(make: Maker) -> None:
    health, metrics = make("HealthMonitor"), make("EdgeMetrics")
    metrics.record(made())
    for name in "abc":
        health.register(EdgeNode(name, name))
    with make.backend.client() as client:
        client.hset("er:{default:health0}:node:b", "status", "rebooting")
    found = exposed(EdgeCollector(health=health, metrics=metrics))
    assert {found["edge_node_up", (*NAMESPACE, ("node", name))] for name in "ac"} == {1}
    assert found["edge_invocation_series", NAMESPACE] == 1


def test_a_service_with_damaged_data_leaves_the_others_exported(make: Maker) -> None:
    metrics, cache = make("EdgeMetrics"), make("EdgeCache")
    metrics.record(made())
    cache.put("k", 1)
    metrics.flush()
    with make.backend.client() as client:
        client.hset(f"{TAG}:e:0:s:p:1:fn", "n", "x")
    found = exposed(EdgeCollector(metrics=metrics, cache=cache))
    assert (found["edge_redis_up", ()], found["edge_cache_size", NAMESPACE]) == (1, 1)
    assert found["edge_source_failed", (("source", "metrics"),)] == 1
    assert not any(name.startswith("edge_invocation") for name, _ in found)


def test_every_scope_of_a_bundle_is_exported_without_naming_it(make: Maker) -> None:
    with make.backend.client() as client, EdgeRedis(client, namespace="site") as edge:
        for name in ("one", "two"):
            edge.synchronizer(name).update_local({"x": 1})
        found = exposed(EdgeCollector(edge=edge, synchronizers={"one": edge.synchronizer("one")}))
    for scope in ("one", "two"):
        labels = (("namespace", "site"), ("scope", scope))
        assert (found["edge_sync_pending_changes", labels], found["edge_sync_conflicts", labels]) == (1, 0)


def test_the_watch_and_relays_of_other_processes_are_exported_with_a_bundle(make: Maker) -> None:
    with make.backend.client() as client, EdgeRedis(client, namespace="site") as edge:
        labels = (("namespace", "site"),)
        collector = EdgeCollector(edge=edge)
        found = exposed(collector)
        assert (found["edge_watch_led", labels], found["edge_watch_mass_outage", labels]) == (0, 0)
        assert ("edge_watch_round_age_seconds", labels) not in found
        relay = TransitionRelay(client, lambda _: None, name="mail", namespace="site", states=["unhealthy"])
        with edge.watch() as watch, relay:
            watch.run_once()
            relay.run_once()
            found = exposed(collector)
        assert found["edge_watch_led", labels] == 1
        assert 0 <= found["edge_watch_round_age_seconds", labels] < 60
        assert found["edge_relay_delivered_total", (*labels, ("relay", "mail|unhealthy"))] == 0
        assert exposed(collector)["edge_watch_led", labels] == 0, "the watch is closed"


def test_workers_watches_and_relays_are_exported(make: Maker) -> None:
    with make.backend.client() as client:
        edge = make("EdgeSynchronizer", scope="s")
        edge.update_local({"x": 1})
        worker = CloudWorker(client, client)
        watch = HealthWatch(client, 60.0)
        relay = TransitionRelay(client, lambda _: None, name="mail")
        collector = EdgeCollector(worker=worker, watch=watch, relays={"mail": relay})
        found = exposed(collector)
        assert found["edge_sync_changes_waiting", NAMESPACE] == found["edge_sync_scopes_waiting", NAMESPACE] == 1
        assert (found["edge_sync_dead_letters", NAMESPACE], found["edge_watch_leader", NAMESPACE]) == (0, 0)
        assert 0 <= found["edge_sync_lag_seconds", NAMESPACE] < 60
        assert found["edge_relay_dropped_total", (*NAMESPACE, ("relay", "mail"))] == 0
        watch.run_once()
        worker.run_once()
        found = exposed(collector)
        assert (found["edge_sync_changes_waiting", NAMESPACE], found["edge_watch_leader", NAMESPACE]) == (0, 1)
        assert found["edge_sync_pushed_changes_total", NAMESPACE] == 1
        for service in (worker, watch, relay):
            service.close()


def test_a_second_collector_in_one_registry_is_refused(make: Maker) -> None:
    registry = CollectorRegistry()
    registry.register(EdgeCollector(metrics=make("EdgeMetrics")))
    with pytest.raises(ValueError, match="edge_redis_up"):
        registry.register(EdgeCollector(cache=make("EdgeCache")))


@pytest.fixture
def hanging(make: Maker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Metrics whose snapshot hangs until the test ends."""
    metrics, ended = make("EdgeMetrics"), threading.Event()
    monkeypatch.setattr(type(metrics), "snapshot", lambda _: ended.wait(60))
    yield metrics
    ended.set()


@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)
def test_a_scrape_of_a_hanging_server_answers_within_its_own_timeout(hanging: Any) -> None:
    threads = threading.active_count()
    with Endpoint(EdgeCollector(metrics=hanging), port=0) as endpoint:
        for _ in range(3):
            headers = {"X-Prometheus-Scrape-Timeout-Seconds": "0.5"}
            request = urllib.request.Request(f"http://127.0.0.1:{endpoint.port}/metrics", headers=headers)
            began = time.monotonic()
            with urllib.request.urlopen(request, timeout=10) as response:
                found = samples(parse(response.read().decode()))
            assert found == {("edge_redis_up", ()): 0.0}
            assert time.monotonic() - began < 2
        assert threading.active_count() <= threads + 4  # one read hangs, not one for each scrape


@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)
def test_a_collection_of_a_hanging_server_is_given_up(hanging: Any) -> None:
    assert exposed(EdgeCollector(metrics=hanging, timeout_seconds=0.1)) == {("edge_redis_up", ()): 0.0}


@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)
def test_a_connection_that_sends_no_request_is_closed(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_redis.exporters.prometheus._Handler.timeout", 0.05)
    with (
        Endpoint(EdgeCollector(metrics=make("EdgeMetrics")), port=0) as endpoint,
        socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as idle,
    ):
        assert idle.recv(1) == b""


@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)
def test_clients_that_leave_before_their_answer_print_no_traceback(
    make: Maker, capfd: pytest.CaptureFixture[str]
) -> None:
    with Endpoint(EdgeCollector(metrics=make("EdgeMetrics")), port=0) as endpoint:
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes by a reset
                client.sendall(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n")
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=10) as response:
            assert b"edge_redis_up 1.0" in response.read()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("arguments", [{"collector": None}, {"host": 5}, {"port": "1"}, {"port": 65_536}])
@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)
def test_bad_arguments_of_an_endpoint_are_refused(make: Maker, arguments: dict[str, Any]) -> None:
    given = {"collector": EdgeCollector(metrics=make("EdgeMetrics")), "port": 0, **arguments}
    with pytest.raises(EdgeRedisError):
        Endpoint(**given)
