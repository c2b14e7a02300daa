"""The cache backends for Django, Flask-Caching and dogpile.cache."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import fakeredis
import flask
import pytest
from django.utils.safestring import SafeString
from dogpile.cache import make_region, register_backend
from dogpile.cache.api import NO_VALUE
from flask_caching import Cache
from markupsafe import Markup

from edge_redis import InvalidArgumentError, UnsupportedTypeError
from edge_redis.integrations import _backend
from edge_redis.integrations.django import EdgeCacheBackend as DjangoBackend
from edge_redis.integrations.dogpile import EdgeCacheBackend as DogpileBackend
from edge_redis.integrations.flask_caching import EdgeCacheBackend as FlaskBackend
from support.deadline import eventually

register_backend("edge_redis", "edge_redis.integrations.dogpile", "EdgeCacheBackend")


@pytest.fixture(autouse=True)
def _close_caches() -> Iterator[None]:
    yield
    while _backend._caches:
        _backend._caches.popitem()[1].close()


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


@pytest.fixture
def client(server: fakeredis.FakeServer) -> Any:
    return fakeredis.FakeRedis(server=server)


class Json:
    """A serializer of the user's."""

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value, default=lambda other: {"text": str(other)}).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


class Odd:
    """A type that no cache carries."""

    def __str__(self) -> str:
        return "odd"


# Django


@pytest.fixture
def django(client: Any) -> Callable[..., DjangoBackend]:
    def make(params: dict[str, Any] | None = None, **options: Any) -> DjangoBackend:
        return DjangoBackend("", {**(params or {}), "OPTIONS": {"client": client, **options}})

    return make


def test_django_stores_values_under_versions_and_prefixes(django: Callable[..., DjangoBackend]) -> None:
    cache = django({"KEY_PREFIX": "shop", "VERSION": 2})
    cache.set("key", ("value", 1))
    assert cache.get("key") == ("value", 1)
    assert cache.get("key", "none", version=1) == "none"
    assert cache.has_key("key")
    assert "key" in cache
    assert list(cache.edge_cache.keys()) == ["shop:2:key"]
    assert cache.incr_version("key") == 3
    assert (cache.get("key"), cache.get("key", version=3)) == (None, ("value", 1))
    assert (cache.delete("key", version=3), cache.delete("key", version=3)) == (True, False)


def test_django_reads_and_writes_many_at_once(django: Callable[..., DjangoBackend]) -> None:
    cache = django()
    assert cache.set_many({"a": 1, "b": None}, 60) == []
    assert cache.get_many(["a", "b", "c"]) == {"a": 1, "b": None}
    cache.delete_many(["a", "c"])
    assert cache.get_many(["a", "b"]) == {"b": None}
    cache.clear()
    assert "b" not in cache


@pytest.mark.parametrize("timeout", [0, -1])
def test_django_stores_nothing_for_a_timeout_that_is_over(django: Callable[..., DjangoBackend], timeout: int) -> None:
    cache = django()
    cache.set("set", 1)
    cache.set("set", 2, timeout)
    assert cache.add("add", 1, timeout)
    cache.set("touch", 1)
    assert cache.touch("touch", timeout)
    assert cache.get_or_set("compute", lambda: 1, timeout) == 1
    assert cache.get_many(["set", "add", "touch", "compute"]) == {}


def test_django_keeps_values_without_a_timeout(django: Callable[..., DjangoBackend]) -> None:
    cache = django({"TIMEOUT": None})
    cache.set("key", 1)
    cache.set("short", 1, 60)
    assert cache.edge_cache.ttl(":1:key") == float("inf")
    assert 59 < (cache.edge_cache.ttl(":1:short") or 0) <= 60
    assert cache.touch("short")
    assert cache.edge_cache.ttl(":1:short") == float("inf")


def test_django_counts_atomically_and_keeps_the_timeout(django: Callable[..., DjangoBackend]) -> None:
    cache = django()
    cache.set("count", 41, 60)
    assert (cache.incr("count"), cache.decr("count", 10)) == (42, 32)
    assert (cache.edge_cache.ttl(":1:count") or 0) > 59
    with pytest.raises(ValueError, match="not found"):
        cache.incr("missing")
    cache.set("text", "a")
    with pytest.raises(TypeError):
        cache.incr("text")


def test_django_computes_a_value_once_for_all_threads(django: Callable[..., DjangoBackend]) -> None:
    calls: list[int] = []
    begun, may_end = threading.Event(), threading.Event()

    def compute() -> int:
        calls.append(1)
        begun.set()
        may_end.wait(10)
        return 7

    cache, results = django(), []
    threads = [threading.Thread(target=lambda: results.append(cache.get_or_set("key", compute))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    may_end.set()
    for thread in threads:
        thread.join()
    assert (results, calls) == ([7, 7, 7], [1])


def test_django_has_the_asyncio_methods(django: Callable[..., DjangoBackend]) -> None:
    cache = django()

    async def scenario() -> None:
        await cache.aset_many({"a": 1, "b": 2})
        await cache.aset("c", 3)
        assert await cache.aget_many(["a", "b", "d"]) == {"a": 1, "b": 2}
        assert (await cache.aincr("a"), await cache.adecr("a")) == (2, 1)
        assert await cache.aget_or_set("d", lambda: 4) == 4
        assert await cache.aadd("d", 5) is False
        assert await cache.ahas_key("d")
        await cache.adelete_many(["a", "b"])
        assert await cache.aget("a") is None

    asyncio.run(scenario())


def test_django_carries_other_types_by_a_serializer_and_none_without(django: Callable[..., DjangoBackend]) -> None:
    with pytest.raises(UnsupportedTypeError):
        django().set("key", Odd())
    cache = django(namespace="json", serializer=f"{__name__}.Json")
    cache.set("key", Odd())
    cache.set("count", 1)
    assert (cache.get("key"), cache.incr("count"), cache.get("count")) == ({"text": "odd"}, 2, 2)


def test_django_makes_one_cache_for_all_threads(django: Callable[..., DjangoBackend]) -> None:
    assert django().edge_cache is django().edge_cache
    assert django(max_size=5).edge_cache.stats()["max_size"] == 5
    assert django(namespace="other", MAX_ENTRIES=7).edge_cache.stats()["max_size"] == 7


@pytest.mark.parametrize(
    ("location", "options", "text"),
    [
        (["a", "b"], {}, "several servers"),
        ("", {"maxsize": 3}, "no option 'maxsize'"),
        ("", {"client": "no.such.module"}, "no object"),
    ],
    ids=["locations", "option", "path"],
)
def test_django_refuses_a_configuration_that_cannot_be_used(location: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        DjangoBackend(location, {"OPTIONS": options}).get("key")


def test_rendered_templates_stay_safe(django: Callable[..., DjangoBackend], client: Any) -> None:
    for cache, text in ((django(), SafeString("<b>")), (FlaskBackend(client=client), Markup("<b>"))):
        cache.set("key", text)
        assert cache.get("key") == text
        assert type(cache.get("key")) is type(text)


def test_keys_of_any_length_are_stored_apart(client: Any) -> None:
    cache = FlaskBackend(client=client)
    keys = [f"{'x' * 2000}{number}" for number in range(2)] + ["ä" * 600, ""]
    cache.set_many({key: key[-1:] for key in keys})
    assert cache.get_many(*keys) == ["0", "1", "ä", ""]


# Flask-Caching


def make_flask(client: Any, **options: Any) -> tuple[flask.Flask, Any]:
    app = flask.Flask(__name__)
    app.config.update(
        CACHE_TYPE="edge_redis.integrations.flask_caching.EdgeCacheBackend",
        CACHE_OPTIONS={"client": client, "namespace": uuid.uuid4().hex, **options},
        CACHE_THRESHOLD=17,
        CACHE_DEFAULT_TIMEOUT=60,
    )
    return app, Cache(app)


def test_flask_caches_views_and_functions(client: Any) -> None:
    app, cache = make_flask(client)
    calls: list[str] = []

    @app.route("/")
    @cache.cached(timeout=50)  # type: ignore[untyped-decorator]
    def page() -> str:
        calls.append("page")
        return "page"

    @cache.memoize(50)  # type: ignore[untyped-decorator]
    def double(number: int) -> int:
        calls.append("double")
        return number * 2

    browser = app.test_client()
    assert [browser.get("/").text for _ in range(2)] == ["page", "page"]
    with app.app_context():
        assert [double(2), double(2), double(3)] == [4, 4, 6]
        cache.delete_memoized(double)
        assert double(2) == 4
        assert cache.cache.edge_cache.stats()["max_size"] == 17
    assert calls == ["page", "double", "double", "double"]


def test_flask_values_have_the_semantics_of_cachelib(client: Any) -> None:
    cache = FlaskBackend(client=client, key_prefix="p:")
    assert cache.set("never", 1, 0)
    assert cache.edge_cache.ttl("p:never") == float("inf")
    assert cache.set("gone", 1, -1)
    assert cache.get("gone") is None
    assert (cache.add("a", 1), cache.add("a", 2), cache.has("a")) == (True, False, True)
    assert (cache.inc("count"), cache.inc("count", 4), cache.dec("count")) == (1, 5, 4)
    cache.set("text", "a")
    assert cache.inc("text") is None
    assert cache.get_dict("a", "count") == {"a": 1, "count": 4}
    assert cache.delete_many("a", "missing") == ["a", "missing"]
    assert (cache.delete("count"), cache.delete("count")) == (True, False)


def test_flask_clears_its_prefix_alone(client: Any) -> None:
    one, other = FlaskBackend(client=client, key_prefix="one:"), FlaskBackend(client=client, key_prefix="other:")
    one.set("key", 1)
    other.set("key", 2)
    assert one.clear()
    assert (one.get("key"), other.get("key")) == (None, 2)
    assert FlaskBackend(client=client).clear()
    assert other.get("key") is None


def test_flask_reports_a_write_that_failed(client: Any, server: fakeredis.FakeServer) -> None:
    cache = FlaskBackend(client=client)
    server.connected = False
    assert (cache.set("key", 1), cache.add("key", 1), cache.inc("key")) == (False, False, None)
    server.connected = True


# dogpile.cache


@pytest.fixture
def region(client: Any) -> Any:
    arguments = {"client": client, "distributed_lock": True, "redis_expiration_time": 120}
    return make_region().configure("edge_redis", expiration_time=60, arguments=arguments)


def test_dogpile_stores_values_with_their_time(region: Any) -> None:
    region.set("key", (1, {"a": None}))
    assert region.get("key") == (1, {"a": None})
    assert region.get_value_metadata("key").age >= 0
    assert region.get("missing") is NO_VALUE
    region.set_multi({"a": 1, "b": 2})
    assert region.get_multi(["a", "missing", "b"]) == [1, NO_VALUE, 2]
    region.delete_multi(["a", "key"])
    region.delete("b")
    assert region.get_multi(["a", "b", "key"]) == [NO_VALUE] * 3


def test_dogpile_makes_a_value_once_for_all_regions(region: Any, client: Any) -> None:
    made: list[int] = []
    other = make_region().configure(
        "edge_redis", expiration_time=60, arguments={"client": client, "distributed_lock": True}
    )
    begun, may_end = threading.Event(), threading.Event()

    def create() -> int:
        made.append(1)
        begun.set()
        may_end.wait(10)
        return 7

    results: list[int] = []
    threads = [
        threading.Thread(target=lambda each=each: results.append(each.get_or_create("key", create)))
        for each in (region, other)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    may_end.set()
    for thread in threads:
        thread.join()
    assert (results, made) == ([7, 7], [1])


def test_dogpile_locks_are_held_by_one_and_time_out(client: Any) -> None:
    backend = DogpileBackend({"client": client, "distributed_lock": True, "lock_timeout": 0.05})
    first, second = backend.get_mutex("key"), backend.get_mutex("key")
    assert first.acquire()
    assert first.locked()
    assert not second.acquire(wait=False)
    eventually(lambda: second.acquire(wait=False))
    first.release()  # too late: it is the other's now
    assert second.locked()
    second.release()
    assert not second.locked()
    assert DogpileBackend({"client": client}).get_mutex("key") is None


def test_dogpile_takes_the_serializer_of_a_region(client: Any) -> None:
    region = make_region(serializer=Json().dumps, deserializer=Json().loads)
    region.configure("edge_redis", arguments={"client": client})
    region.set("key", Odd())
    assert region.get("key") == {"text": "odd"}
