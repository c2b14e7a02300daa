"""The atomic calls of EdgeCache: add, incr, compare and set, compare and delete, pop; and times to live."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import fakeredis
import pytest
from conftest import Maker

from edge_redis import NO_EXPIRY, EdgeCache, InvalidArgumentError, InvalidTypeError, StoreUnavailableError
from support.cache import STATS, assert_index_is_exact
from support.deadline import eventually

MIN, MAX = -(1 << 63), (1 << 63) - 1


def test_add_stores_only_where_there_is_nothing(make: Maker) -> None:
    cache = make("EdgeCache")
    assert cache.add("k", None) is True
    assert cache.add("k", 2) is False
    assert cache.get("k", "missing") is None
    cache.delete("k")
    assert cache.add("k", 3, 5) is True
    assert 4 < cache.ttl("k") <= 5


def test_add_evicts_as_put_does(make: Maker) -> None:
    cache = make("EdgeCache", max_size=2)
    for key in "abc":
        assert cache.add(key, key)
    assert cache.get_many(list("abc")) == {"b": "b", "c": "c"}
    assert not cache.add("c", 1)
    assert cache.size == 2


def test_incr_starts_at_its_delta_and_keeps_ttl_tags_and_count(make: Maker) -> None:
    cache = make("EdgeCache")
    assert [cache.incr("n"), cache.incr("n", 5), cache.incr("n", -10)] == [1, 6, -4]
    cache.put("k", 3, 60, tags=["t"])
    cache.get("k")
    cache.get("k")
    assert cache.incr("k", 2, 5) == 5
    entry = cache.entry("k")
    assert (entry.value, entry.ttl_seconds, entry.access_count) == (5, 60.0, 2)
    assert cache.invalidate_tag("t") == 1


EDGES = [0, 127, 128, 255, 256, 65_535, 65_536, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 53) + 1, MAX]


@pytest.mark.parametrize("start", [*EDGES, *(-edge for edge in EDGES), -33, -129, -32_769, MIN])
def test_incr_is_exact_within_64_bits(start: int) -> None:
    cache = EdgeCache(fakeredis.FakeRedis())
    for delta in (0, 1, -1, 98_765_432_109_876, MAX, MIN):
        cache.put("k", start)
        if MIN <= start + delta <= MAX:
            assert cache.incr("k", delta) == cache.get("k") == start + delta
            assert cache.compare_and_set("k", start + delta, start)  # the encoding is that of any other int
        else:
            with pytest.raises(InvalidArgumentError, match="64 bits"):
                cache.incr("k", delta)
            assert cache.get("k") == start


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 1 << 70, [1]])
def test_incr_refuses_what_is_no_int(make: Maker, value: Any) -> None:
    cache = make("EdgeCache")
    cache.put("k", value)
    with pytest.raises(InvalidTypeError, match="int"):
        cache.incr("k")
    assert cache.get("k") == value


@pytest.mark.parametrize("delta", [True, 1.0, "1", None])
def test_incr_refuses_a_delta_that_is_no_int(make: Maker, delta: Any) -> None:
    with pytest.raises(InvalidTypeError, match="delta"):
        make("EdgeCache").incr("k", delta)


@pytest.mark.parametrize("make", ["blocking"], indirect=True)
def test_many_threads_count_exactly(make: Maker) -> None:
    cache = make("EdgeCache")

    def work() -> None:
        for _ in range(25):
            cache.incr("n")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.get("n") == 200


NESTED = {"b": [{"z": 1, "a": 2}], "a": ({"y": 1, "x": 2},), "c": {1, 2}}
REORDERED = {"a": ({"x": 2, "y": 1},), "c": {2, 1}, "b": [{"a": 2, "z": 1}]}
DIFFERENT: list[tuple[Any, Any]] = [
    (1, True),
    (1, 1.0),
    (0, None),
    ((1,), [1]),
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"a": 1, "b": 2}),
    ("a", b"a"),
]


def test_equal_values_are_equal_in_any_order(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", NESTED, tags=["t"])
    assert cache.compare_and_set("k", REORDERED, "new", 5) is True
    assert cache.get("k") == "new"
    cache.put("k", NESTED)
    assert cache.compare_and_delete("k", REORDERED) is True
    assert "k" not in cache


@pytest.mark.parametrize(("stored", "expected"), DIFFERENT)
def test_values_of_another_type_or_content_are_not_equal(make: Maker, stored: Any, expected: Any) -> None:
    cache = make("EdgeCache")
    cache.put("k", stored)
    assert cache.compare_and_set("k", expected, "new") is False
    assert cache.compare_and_delete("k", expected) is False
    assert cache.get("k") == stored


def test_what_is_missing_equals_nothing(make: Maker) -> None:
    cache = make("EdgeCache")
    assert cache.compare_and_set("k", None, 1) is False
    assert cache.compare_and_delete("k", None) is False
    assert cache.size == 0


def test_a_computed_value_compares_like_any_other(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.get_or_compute("k", lambda: {"b": 1, "a": 2}, stale_ttl=5)
    assert cache.compare_and_set("k", {"a": 2, "b": 1}, 1)
    cache.get_or_compute("n", lambda: 5, stale_ttl=5, early=1.0)
    assert cache.incr("n") == cache.get("n") == 6


def test_pop_returns_the_value_once(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", [1])
    assert cache.pop("k") == [1]
    assert cache.pop("k", "default") == "default"
    with make.backend.client() as client:
        assert_index_is_exact(client, set())


def test_an_entry_may_never_expire(make: Maker) -> None:
    cache = make("EdgeCache", max_size=1)
    cache.put("k", 1, NO_EXPIRY)
    assert cache.ttl("k") == cache.entry("k").ttl_seconds == math.inf
    assert not cache.entry("k").expired
    cache.incr("k")
    assert cache.ttl("k") == math.inf
    assert cache.get_or_compute("k", pytest.fail, stale_ttl=60, early=1e9) == 2
    assert cache.purge_expired() == 0
    cache.touch("k", 5)
    assert 4 < cache.ttl("k") <= 5
    cache.touch("k", NO_EXPIRY)
    assert cache.ttl("k") == math.inf
    cache.put("l", 1)
    assert "k" not in cache  # it is evicted like any other


def test_times_may_be_timedeltas(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", 1, timedelta(minutes=1))
    assert cache.entry("k").ttl_seconds == 60
    cache.put("k", 1, timedelta(milliseconds=20))
    eventually(lambda: cache.ttl("k") is None)
    with pytest.raises(InvalidArgumentError, match="ttl"):
        cache.put("k", 1, timedelta(0))


def test_a_prefix_is_invalidated_and_nothing_else(make: Maker) -> None:
    cache = make("EdgeCache", max_size=2000)
    cache.put_many({f"user:{number}": number for number in range(700)} | {"user": 1, "other:1": 1})
    assert cache.invalidate_prefix("user:") == 700
    assert set(cache.get_many(["user", "other:1", "user:1"])) == {"user", "other:1"}
    with pytest.raises(InvalidArgumentError, match="prefix"):
        cache.invalidate_prefix("")


DECIDED: dict[str, Callable[[Any], Any]] = {
    "add": lambda cache: cache.add("k", 1),
    "incr": lambda cache: cache.incr("k"),
    "compare_and_set": lambda cache: cache.compare_and_set("k", 1, 2),
    "compare_and_delete": lambda cache: cache.compare_and_delete("k", 1),
    "pop": lambda cache: cache.pop("k"),
    "ttl": lambda cache: cache.ttl("k"),
}


@pytest.mark.parametrize("name", DECIDED)
def test_only_the_server_decides(name: str) -> None:
    server = fakeredis.FakeServer()
    cache = edge_cache(server)
    cache.put("k", 1)
    server.connected = False
    for _ in range(5):  # also once the circuit is open
        with pytest.raises(StoreUnavailableError):
            DECIDED[name](cache)
    server.connected = True
    cache.close()


def edge_cache(server: fakeredis.FakeServer) -> EdgeCache:
    return EdgeCache(fakeredis.FakeRedis(server=server), on_error="miss", flush_interval=3600)


def test_add_does_not_lose_to_a_value_whose_removal_is_pending() -> None:
    server = fakeredis.FakeServer()
    cache = edge_cache(server)
    cache.put("k", "old")
    server.connected = False
    cache.delete("k")
    server.connected = True
    assert cache.add("k", "new") is True
    cache.close()


def test_a_write_keeps_a_computation_of_its_key_from_being_stored(make: Maker) -> None:
    cache = make("EdgeCache")
    writes: list[Callable[[], object]] = [
        lambda: cache.add("k", "added"),
        lambda: cache.pop("k"),
        lambda: cache.incr("n"),
    ]
    for write in writes:
        with make.backend.client() as client:
            client.set("er:{default:cache0}:lease:k", "holder", px=5000)
            client.set("er:{default:cache0}:lease:n", "holder", px=5000)
            write()
            assert b"" in (client.get("er:{default:cache0}:lease:k"), client.get("er:{default:cache0}:lease:n"))
            assert client.hget(STATS, "config") is not None
