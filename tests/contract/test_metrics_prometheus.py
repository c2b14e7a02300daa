"""The exposition: parsed by the official parsers, and equal to what the services say themselves."""

from __future__ import annotations

import random
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Maker

from edge_redis import EdgeNode, EdgeNodeStatus
from support.metrics import made, spans
from support.servers import Backend

pytest.importorskip("prometheus_client", reason="the exporter is an extra: edge-redis[prometheus]")

from itertools import islice

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from edge_redis.exporters.prometheus import EdgeCollector, Endpoint

FORMATS = {"text": (generate_latest, parse), "openmetrics": (generate_openmetrics, parse_openmetrics)}
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
        labels = (("function", function_id), ("node", node_id))
        of = [record for record in records if (record.function_id, record.node_id) == (function_id, node_id)]
        assert found["edge_invocations_total", labels] == metrics.total_invocations(function_id, node_id) == len(of)
        assert found["edge_invocation_errors_total", labels] == metrics.error_count(node_id, function_id)
        name = "edge_invocation_duration_seconds"
        assert found[f"{name}_count", labels] == len(of)
        assert found[f"{name}_sum", labels] == pytest.approx(sum(record.duration_ms for record in of) / 1000)
        for power in range(-3, 23):
            bound = (*labels[:1], ("le", repr(2.0**power / 1000)), *labels[1:])
            assert found[f"{name}_bucket", bound] == sum(record.duration_ms <= 2.0**power for record in of)
        assert found[f"{name}_bucket", (*labels[:1], ("le", "+Inf"), *labels[1:])] == len(of)
    assert found["edge_redis_up", ()] == 1
    assert found["edge_invocation_series", ()] == len(metrics.series())
    assert found["edge_invocations_overflow_total", ()] == 0


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_recorded_parses_too(make: Maker, form: str) -> None:
    found = exposed(EdgeCollector(metrics=make("EdgeMetrics")), form)
    assert found == {
        ("edge_redis_up", ()): 1.0,
        ("edge_invocations_overflow_total", ()): 0.0,
        ("edge_invocation_series", ()): 0.0,
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
    assert {name: found[f"edge_cache_{name}", ()] for name in of_cache} == of_cache
    assert found["edge_nodes", (("status", "online"),)] == found["edge_nodes", (("status", "offline"),)] == 1
    assert found["edge_nodes", (("status", "maintenance"),)] == 0
    assert (found["edge_node_up", (("node", "a"),)], found["edge_node_up", (("node", "b"),)]) == (1, 0)
    assert 0 <= found["edge_node_heartbeat_age_seconds", (("node", "a"),)] < 60
    of_sync = {"local_version": 1, "remote_version": 0, "pending_changes": 1, "synced": 0}
    assert {name: found[f"edge_sync_{name}", (("scope", "room"),)] for name in of_sync} == of_sync


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
