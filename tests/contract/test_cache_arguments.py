"""Bad arguments are refused with the right error, and nothing is written."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import Maker

import edge_redis
from edge_redis import InvalidArgumentError, InvalidKeyError, InvalidTypeError, UnsupportedTypeError, ValueTooLargeError
from support.cache import snapshot

NAN, INF = float("nan"), float("inf")

BAD_KEYS: list[tuple[Any, type[Exception]]] = [
    ("", InvalidKeyError),
    ("k" * 1025, InvalidKeyError),
    ("ü" * 513, InvalidKeyError),
    ("\ud800", InvalidKeyError),
    (None, InvalidTypeError),
    (1, InvalidTypeError),
    (b"k", InvalidTypeError),
    (["k"], InvalidTypeError),
]

BAD_TTLS: list[tuple[Any, type[Exception]]] = [
    (0, InvalidArgumentError),
    (0.0, InvalidArgumentError),
    (-1, InvalidArgumentError),
    (NAN, InvalidArgumentError),
    (INF, InvalidArgumentError),
    (-INF, InvalidArgumentError),
    (0.0009, InvalidArgumentError),
    (1e300, InvalidArgumentError),
    (10**400, InvalidArgumentError),
    (10**5000, InvalidArgumentError),
    (True, InvalidTypeError),
    ("5", InvalidTypeError),
]


class Colour(enum.IntEnum):
    RED = 1


BAD_VALUES: list[tuple[Any, type[Exception]]] = [
    (object(), UnsupportedTypeError),
    ({"deep": [{1: object()}]}, UnsupportedTypeError),
    (Colour.RED, UnsupportedTypeError),
    (1j, UnsupportedTypeError),
    ("\ud800", InvalidArgumentError),
    (b"x" * 200, ValueTooLargeError),
]
CYCLE: list[Any] = []
CYCLE.append(CYCLE)
BAD_VALUES.append((CYCLE, InvalidArgumentError))


def assert_refused(make: Maker, cache: Any, kind: type[Exception], call: Any) -> None:
    assert issubclass(kind, edge_redis.EdgeRedisError)
    with make.backend.client() as client:
        before = snapshot(client)
        with pytest.raises(kind):
            call(cache)
        assert snapshot(client) == before


def test_bad_keys(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("present", 1)
    for key, kind in BAD_KEYS:
        for call in (
            lambda cache, key=key: cache.get(key),
            lambda cache, key=key: cache.put(key, 1),
            lambda cache, key=key: cache.delete(key),
            lambda cache, key=key: cache.touch(key),
            lambda cache, key=key: cache.entry(key),
            lambda cache, key=key: cache.contains(key),
            lambda cache, key=key: key in cache,
            lambda cache, key=key: cache.get_many(["present", key]),
            lambda cache, key=key: cache.delete_many(["present", key]),
        ):
            assert_refused(make, cache, kind, call)
        if key.__hash__:
            assert_refused(make, cache, kind, lambda cache, key=key: cache.put_many({"fresh": 1, key: 2}))


def test_bad_ttls(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", 1)
    for ttl, kind in BAD_TTLS:
        assert_refused(make, cache, kind, lambda cache, ttl=ttl: cache.put("k", 2, ttl))
        assert_refused(make, cache, kind, lambda cache, ttl=ttl: cache.put_many({"k": 2, "l": 3}, ttl=ttl))
        assert_refused(make, cache, kind, lambda cache, ttl=ttl: cache.touch("k", ttl))
    assert cache.get("k") == 1


def test_bad_values(make: Maker) -> None:
    cache = make("EdgeCache", max_value_bytes=100)
    cache.put("k", 1)
    for value, kind in BAD_VALUES:
        assert_refused(make, cache, kind, lambda cache, value=value: cache.put("k", value))
        assert_refused(make, cache, kind, lambda cache, value=value: cache.put_many({"fresh": 1, "k": value}))


@pytest.mark.parametrize("keys", [None, 5, "abc", b"abc"])
def test_bad_lists_of_keys(make: Maker, keys: Any) -> None:
    cache = make("EdgeCache")
    assert_refused(make, cache, InvalidTypeError, lambda cache: cache.get_many(keys))
    assert_refused(make, cache, InvalidTypeError, lambda cache: cache.delete_many(keys))


@pytest.mark.parametrize("on_error", ["raise", "miss"])
@pytest.mark.parametrize("mapping", [None, 5, [("k", 1)], "k"])
def test_bad_mappings(make: Maker, mapping: Any, on_error: str) -> None:
    cache = make("EdgeCache", on_error=on_error)
    assert_refused(make, cache, InvalidTypeError, lambda cache: cache.put_many(mapping))


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"max_size": 0}, InvalidArgumentError),
        ({"max_size": -1}, InvalidArgumentError),
        ({"max_size": 1.0}, InvalidTypeError),
        ({"max_size": True}, InvalidTypeError),
        ({"max_size": None}, InvalidTypeError),
        ({"max_size": 1 << 60}, InvalidArgumentError),
        *(({"default_ttl": ttl}, kind) for ttl, kind in BAD_TTLS),
        ({"default_ttl": None}, InvalidTypeError),
        ({"eviction": "fifo"}, InvalidArgumentError),
        ({"eviction": None}, InvalidTypeError),
        ({"flush_every": 0}, InvalidArgumentError),
        ({"flush_every": 1.5}, InvalidTypeError),
        ({"flush_interval": 0}, InvalidArgumentError),
        ({"flush_interval": NAN}, InvalidArgumentError),
        ({"flush_interval": 1e9}, InvalidArgumentError),
        ({"max_value_bytes": 0}, InvalidArgumentError),
        ({"namespace": ""}, InvalidKeyError),
        ({"namespace": "a{b"}, InvalidKeyError),
        ({"namespace": 1}, InvalidTypeError),
    ],
)
def test_bad_settings(make: Maker, settings: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        make("EdgeCache", **settings)


def test_times_in_settings_may_be_timedeltas(make: Maker) -> None:
    cache = make("EdgeCache", default_ttl=timedelta(minutes=5), near_cache={"ttl": timedelta(seconds=30)})
    cache.put("k", 1)
    assert [cache.get("k"), cache.get("k")] == [1, 1]
    assert cache.stats()["default_ttl"] == 300.0


def test_a_closed_cache_says_so(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.close()
    cache.close()
    calls: list[Callable[[], object]] = [
        lambda: cache.get("k"),
        lambda: cache.put("k", 1),
        lambda: cache.put_many({}),
        lambda: cache.size,
    ]
    for call in calls:
        with pytest.raises(edge_redis.ServiceClosedError):
            call()


def test_a_client_that_decodes_is_refused(make: Maker) -> None:
    with pytest.raises(edge_redis.ClientConfigurationError):
        make("EdgeCache", client=make.client(decode_responses=True))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_client_whose_keys_are_not_utf8_is_refused(make: Maker, encoding: str) -> None:
    with pytest.raises(edge_redis.ClientConfigurationError, match=encoding):
        make("EdgeCache", client=make.client(encoding=encoding))
    make("EdgeCache", client=make.client(encoding="UTF8"))


def test_what_is_no_client_is_refused(make: Maker) -> None:
    for client in (object(), "redis://localhost"):
        with pytest.raises(InvalidTypeError):
            make("EdgeCache", client=client)
