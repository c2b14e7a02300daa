"""EdgeTracer makes a span of each public call, in both APIs, and leaves the classes as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest
from conftest import Maker

import edge_redis
from edge_redis import EdgeCache, EdgeRedis, HealthWatch, InvalidTypeError, StoreUnavailableError, aio
from edge_redis.exporters.opentelemetry import EdgeTracer
from support.deadline import eventually
from support.servers import Backend

pytest.importorskip("opentelemetry", reason="tracing is an extra: edge-redis[opentelemetry]")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind


class Traced:
    """A provider, and the spans that it was given."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def names(self) -> list[str]:
        return [span.name for span in self.spans()]


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    with EdgeTracer(made.provider):
        yield made
    made.provider.shutdown()


@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)
@pytest.mark.parametrize("make", ["blocking", "awaited"], indirect=True)
def test_each_call_is_a_span_with_the_attributes_of_the_conventions(make: Maker, traced: Traced) -> None:
    cache = make("EdgeCache", namespace="site")
    cache.put("secret-key", "secret-value")
    assert cache.get("secret-key") == "secret-value"
    assert cache.size == 1
    make("HealthMonitor", namespace="site").summary()
    make("EdgeSynchronizer", scope="prices", namespace="site").update_local({"x": 1})
    assert traced.names() == [
        "EdgeCache.put",
        "EdgeCache.get",
        "EdgeCache.size",
        "HealthMonitor.summary",
        "EdgeSynchronizer.update_local",
    ]
    put, update = traced.spans()[0], traced.spans()[-1]
    assert put.kind is SpanKind.CLIENT
    assert put.status.is_ok
    of_put = dict(put.attributes or {})
    assert of_put.items() >= {
        ("db.system.name", "redis"),
        ("db.operation.name", "put"),
        ("db.namespace", "0"),
        ("edge_redis.service", "EdgeCache"),
        ("edge_redis.namespace", "site"),
    }
    assert "edge_redis.scope" not in of_put
    assert (update.attributes or {})["edge_redis.scope"] == "prices"
    assert "secret" not in "".join(span.to_json() for span in traced.spans())


@pytest.mark.parametrize("make", ["blocking", "awaited"], indirect=True)
@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)
def test_calls_inside_compute_are_children_of_its_call(make: Maker, traced: Traced) -> None:
    cache = EdgeCache(make.backend.client(), namespace="other")
    make("EdgeCache").get_or_compute("k", lambda: cache.get("nothing"))
    spans = {span.name: span for span in traced.spans()}
    inner, outer = spans["EdgeCache.get"], spans["EdgeCache.get_or_compute"]
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    cache.close()


@pytest.mark.parametrize("make", ["blocking", "awaited"], indirect=True)
@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)
def test_a_call_that_fails_is_a_span_with_its_error(make: Maker, traced: Traced) -> None:
    cache = make("EdgeCache")
    make.backend.fake.connected = False
    with pytest.raises(StoreUnavailableError):
        cache.get("k")
    (span,) = traced.spans()
    assert not span.status.is_ok
    assert (span.attributes or {})["error.type"] == "StoreUnavailableError"
    assert [event.name for event in span.events] == ["exception"]
    make.backend.fake.connected = True


def test_a_span_names_the_server(valkey: Backend, traced: Traced) -> None:
    with valkey.client() as client, EdgeCache(client) as cache:
        assert "k" not in cache
        options = client.connection_pool.connection_kwargs
    attributes = dict(traced.spans()[0].attributes or {})
    assert (attributes["server.address"], attributes["server.port"]) == (options["host"], options["port"])
    assert attributes["db.operation.name"] == "contains"


def test_rounds_of_a_loop_are_traced_on_request_alone(valkey: Backend, traced: Traced) -> None:
    with valkey.client() as client, HealthWatch(client, 60.0, interval_seconds=0.01) as watch:
        watch.start()
        eventually(lambda: watch.latest)
        assert traced.names() == []
        watch.run_once()
        assert traced.names() == ["HealthWatch.run_once"]


def test_rounds_of_a_loop_can_be_traced(valkey: Backend) -> None:
    made = Traced()
    with (
        EdgeTracer(made.provider, rounds=True),
        valkey.client() as client,
        HealthWatch(client, 60.0, interval_seconds=0.01) as watch,
    ):
        watch.start()
        eventually(lambda: watch.latest)
    assert "HealthWatch.run_once" in made.names()
    made.provider.shutdown()


def _methods() -> dict[tuple[str, str], Any]:
    classes = [getattr(module, name) for module in (edge_redis, aio) for name in aio.__all__ if name != "connect"]
    return {(str(each), name): member for each in classes for name, member in vars(each).items()}


def test_the_classes_are_as_before_once_it_is_uninstalled() -> None:
    before = _methods()
    tracer = EdgeTracer(TracerProvider())
    tracer.install()
    assert _methods() != before
    assert tracer.install() is tracer
    tracer.uninstall()
    tracer.uninstall()
    assert _methods() == before


def test_a_second_tracer_is_refused() -> None:
    with EdgeTracer(TracerProvider()), pytest.raises(edge_redis.EdgeRedisError, match="another EdgeTracer"):
        EdgeTracer(TracerProvider()).install()


@pytest.mark.parametrize("wrong", [{"tracer_provider": "x"}, {"rounds": 1}], ids=["provider", "rounds"])
def test_wrong_arguments_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidTypeError):
        EdgeTracer(**wrong)


def test_calls_of_several_threads_are_roots_of_their_own(traced: Traced) -> None:
    with EdgeRedis(fakeredis.FakeRedis(), namespace="threads") as edge:
        threads = [threading.Thread(target=edge.cache.get, args=("k",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = [span for span in traced.spans() if span.name == "EdgeCache.get"]
    assert len(found) == 4
    assert {span.parent for span in found} == {None}
