"""EdgeCache as its users see it, on every server and in both APIs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from uuid import UUID

import pytest
from conftest import Maker

from edge_redis import EdgeCache, InvalidArgumentError
from edge_redis._cache.access_buffer import AccessBuffer
from support.cache import COUNTS, EXPIRY, STATS, assert_index_is_exact, expire
from support.deadline import eventually
from support.near import component_of


def test_a_value_comes_back_as_the_type_it_was(make: Maker) -> None:
    cache = make("EdgeCache")
    values = {
        "none": None,
        "bool": False,
        "big": 1 << 200,
        "float": -0.5,
        "text": "äöü\0",
        "bytes": b"\xff\0",
        "list": [1, [2]],
        "tuple": (1, (2,)),
        "dict": {1: {"a": None}},
        "set": {1, 2},
        "frozenset": frozenset({"x"}),
        "datetime": dt.datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC),
        "date": dt.date(2024, 2, 29),
        "timedelta": dt.timedelta(days=-1, microseconds=5),
        "decimal": Decimal("1.10"),
        "uuid": UUID(int=7),
    }
    for key, value in values.items():
        cache.put(key, value)
    for key, value in values.items():
        found = cache.get(key)
        assert (found, type(found)) == (value, type(value))
    assert cache.get_many(values) == values


def test_a_cached_none_is_a_hit_and_not_the_default(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", None)
    assert cache.get("k", "default") is None
    assert cache.get("other", "default") == "default"
    assert (cache.stats()["hits"], cache.stats()["misses"]) == (1, 1)


@pytest.mark.parametrize("flush_every", [1, 1024])
def test_statistics_and_hit_rate(make: Maker, flush_every: int) -> None:
    cache = make("EdgeCache", max_size=2, default_ttl=60, flush_every=flush_every)
    assert cache.hit_rate == 0.0
    cache.put("a", 1)
    for _ in range(3):
        assert cache.get("a") == 1
    assert cache.get("b") is None
    assert cache.hit_rate == 75.0
    assert cache.size == 1
    assert cache.stats() == {
        "size": 1,
        "max_size": 2,
        "hits": 3,
        "misses": 1,
        "hit_rate": 75.0,
        "default_ttl": 60,
        "evictions": 0,
        "expirations": 0,
        "corrupt": 0,
        "repaired": 0,
        "bytes": 0,
    }


@pytest.mark.parametrize("flush_every", [1, 2, 1024])
def test_the_least_accessed_goes_first(make: Maker, flush_every: int) -> None:
    cache = make("EdgeCache", max_size=3, flush_every=flush_every)
    cache.put_many({"a": 1, "b": 2, "c": 3})
    cache.get("a")
    cache.get("a")
    cache.get_many(["b", "c"])
    cache.get("c")
    cache.put("d", 4)
    assert "b" not in cache
    assert cache.get_many(["a", "c", "d"]) == {"a": 1, "c": 3, "d": 4}
    assert cache.stats()["evictions"] == 1


def test_of_equal_counts_the_oldest_goes_whatever_its_name(make: Maker) -> None:
    cache = make("EdgeCache", max_size=3)
    for key in ("zz", "mm", "aa"):
        cache.put(key, key)
    for victim in ("zz", "mm", "aa"):
        cache.put(f"new after {victim}", 0)
        assert victim not in cache
        assert cache.size == 3


def test_expired_entries_go_before_live_ones(make: Maker) -> None:
    cache = make("EdgeCache", max_size=2)
    cache.put("short", 1, ttl=0.03)
    cache.put("long", 2)
    for _ in range(5):
        cache.get("short")
    eventually(lambda: "short" not in cache)
    cache.put("new", 3)
    assert cache.get_many(["long", "new"]) == {"long": 2, "new": 3}
    assert (cache.stats()["evictions"], cache.stats()["expirations"]) == (0, 1)


def test_overwriting_restarts_and_evicts_nothing(make: Maker) -> None:
    cache = make("EdgeCache", max_size=2)
    cache.put_many({"a": 1, "b": 2})
    cache.get("a")
    before = cache.entry("a")
    cache.put("a", 10, ttl=5)
    after = cache.entry("a")
    assert (before.access_count, after.access_count) == (1, 0)
    assert (before.ttl_seconds, after.ttl_seconds) == (300.0, 5.0)
    assert after.created_at >= before.created_at
    assert cache.stats()["evictions"] == 0
    assert cache.size == 2
    cache.put("c", 3)  # now b is the oldest of those never read
    assert cache.get_many(["a", "b", "c"]) == {"a": 10, "c": 3}


def test_a_late_count_for_a_replaced_entry_changes_nothing(make: Maker) -> None:
    cache, other = make("EdgeCache"), make("EdgeCache", flush_every=1)
    cache.put("a", 1)
    cache.get("a")
    component_of(other).shards.all[0].accesses.buffer = AccessBuffer()  # as in another process
    other.put("a", 2)
    assert cache.entry("a").access_count == 0
    assert cache.stats()["hits"] == 1


def test_entry_tells_what_is_known_and_counts_nothing(make: Maker) -> None:
    cache = make("EdgeCache", default_ttl=60)
    assert cache.entry("k") is None
    cache.put("k", [1])
    cache.get("k")
    for _ in range(2):
        entry = cache.entry("k")
        assert (entry.key, entry.value, entry.ttl_seconds, entry.access_count) == ("k", [1], 60.0, 1)
        assert entry.created_at.utcoffset() == dt.timedelta(0)
        assert not entry.expired
    assert abs(entry.created_at - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=30)
    assert (cache.stats()["hits"], cache.stats()["misses"]) == (1, 0)


def test_contains_counts_nothing(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", 1)
    assert "k" in cache
    assert "other" not in cache
    assert cache.entry("k").access_count == 0
    assert (cache.stats()["hits"], cache.stats()["misses"]) == (0, 0)


def test_touch_extends_from_now_and_keeps_the_age(make: Maker) -> None:
    cache = make("EdgeCache", default_ttl=100)
    cache.put("k", 1, ttl=2)
    created = cache.entry("k").created_at
    assert cache.touch("k", 50) is True
    assert cache.entry("k").created_at == created
    assert 50 <= cache.entry("k").ttl_seconds < 52
    assert cache.touch("k") is True
    assert 100 <= cache.entry("k").ttl_seconds < 102
    assert cache.touch("other") is False
    assert cache.touch("k", 0.001) is True
    eventually(lambda: "k" not in cache)
    assert cache.touch("k") is False
    assert cache.stats()["expirations"] == 1


def test_an_entry_expires(make: Maker) -> None:
    cache = make("EdgeCache", default_ttl=0.5)
    cache.put("k", 1)
    assert cache.get("k") == 1
    eventually(lambda: cache.get("k") is None)
    assert cache.size == 0
    assert cache.entry("k") is None
    assert cache.stats()["expirations"] == 1


def test_delete(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put_many({"a": 1, "b": 2, "c": 3})
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    assert cache.delete_many(["b", "b", "a", "never"]) == 1
    assert cache.delete_many([]) == 0
    assert cache.size == 1
    with make.backend.client() as client:
        assert_index_is_exact(client, {"c"})


def test_clear_takes_every_entry_and_keeps_the_statistics(make: Maker) -> None:
    cache, other = make("EdgeCache"), make("EdgeCache", namespace="other")
    cache.put_many({str(i): i for i in range(750)})
    cache.put("short", 1, ttl=0.001)
    cache.get("1")
    other.put("1", "mine")
    eventually(lambda: "short" not in cache)
    assert cache.clear() == 750
    assert cache.clear() == 0
    assert (cache.size, cache.stats()["hits"]) == (0, 1)
    assert other.get("1") == "mine"
    with make.backend.client() as client:
        assert_index_is_exact(client, set())
        assert client.exists(EXPIRY, COUNTS) == 0


def test_purge_counts_what_the_server_expired_by_itself(make: Maker) -> None:
    cache = make("EdgeCache", max_size=2000)
    short = {f"short {i}" for i in range(700)}
    cache.put_many(dict.fromkeys([*short, "long"], 1))
    with make.backend.client() as client:
        expire(client, short)
        assert cache.stats()["expirations"] == 700
        assert cache.purge_expired() == 700
        assert cache.purge_expired() == 0
        assert cache.stats()["expirations"] == 700
        assert_index_is_exact(client, {"long"})


def test_a_put_leaves_no_row_that_is_due(make: Maker) -> None:
    cache = make("EdgeCache", max_size=2000)
    short = {f"short {i}" for i in range(700)}
    cache.put_many(dict.fromkeys(short, 1))
    with make.backend.client() as client:
        expire(client, short)
        cache.put("long", 1)
        assert_index_is_exact(client, {"long"})
    assert cache.stats()["evictions"] == 0


def test_more_values_than_the_cache_holds(make: Maker) -> None:
    cache = make("EdgeCache", max_size=50)
    cache.put_many({str(i): i for i in range(450)})
    assert cache.size == 50
    assert cache.get_many(map(str, range(450))) == {str(i): i for i in range(400, 450)}
    assert cache.stats()["evictions"] == 400


def test_a_smaller_cache_of_the_same_name_brings_it_down(make: Maker) -> None:
    large, small = make("EdgeCache", max_size=1000), make("EdgeCache", max_size=3)
    large.put_many({str(i): i for i in range(800)})
    small.put("799", "again")
    assert small.size == 800
    small.put("new", 1)
    assert small.size == 3
    assert small.get_many(["798", "799", "new"]) == {"798": 798, "799": "again", "new": 1}
    with make.backend.client() as client:
        assert_index_is_exact(client)


def test_namespaces_do_not_meet(make: Maker) -> None:
    one, two = make("EdgeCache", namespace="one", max_size=1), make("EdgeCache", namespace="two", max_size=1)
    one.put("k", 1)
    two.put("k", 2)
    assert (one.get("k"), two.get("k")) == (1, 2)
    assert one.clear() == 1
    assert two.get("k") == 2
    assert (one.stats()["hits"], two.stats()["hits"]) == (1, 2)


def test_long_and_odd_keys(make: Maker) -> None:
    cache = make("EdgeCache")
    keys = ["k" * 1024, "ü" * 512, "a:b{c}d", "\0", " ", "*", "\n"]
    cache.put_many({key: key for key in keys})
    assert cache.get_many(keys) == {key: key for key in keys}
    assert [cache.get(key) for key in keys] == keys
    assert cache.delete_many(keys) == len(keys)


def test_batch_calls_of_nothing(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put_many({})
    assert cache.get_many([]) == {}
    assert cache.stats()["misses"] == 0


def test_two_caches_of_a_process_know_each_others_accesses(make: Maker) -> None:
    one, two = make("EdgeCache", max_size=2), make("EdgeCache", max_size=2)
    one.put("a", 1)
    two.put("b", 2)
    one.get("a")
    two.get("a")
    assert one.stats()["hits"] == two.stats()["hits"] == 2
    one.get("a")
    two.get("b")
    one.get("never")
    assert two.hit_rate == 80.0
    one.get("b")
    one.get("b")
    one.get("b")
    two.put("c", 3)  # a was read three times, b four times
    assert "a" not in two


def test_both_apis_in_one_process_share_what_they_count(make: Maker) -> None:
    cache = make("EdgeCache")
    with make.backend.client() as client, EdgeCache(client) as blocking:
        cache.put("a", 1)
        blocking.get("a")
        cache.get("a")
        assert cache.stats()["hits"] == 2
        assert blocking.stats()["hits"] == 2


def hits_in_redis(make: Maker) -> int:
    with make.backend.client() as client:
        return int(client.hget(STATS, "hits") or 0)


def test_a_flush_comes_after_so_many_reads(make: Maker) -> None:
    cache = make("EdgeCache", flush_every=10, flush_interval=3600)
    cache.put("k", 1)
    for _ in range(9):
        cache.get("k")
    assert hits_in_redis(make) == 0
    cache.get("k")
    assert hits_in_redis(make) == 10


def test_a_flush_comes_after_a_while(make: Maker) -> None:
    cache = make("EdgeCache", flush_interval=0.01)
    cache.put("k", 1)
    cache.get("k")
    eventually(lambda: "k" in cache and hits_in_redis(make) == 1)  # an awaited one ticks while its loop runs


def test_closing_delivers_what_is_buffered(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", 1)
    cache.get("k")
    cache.close()
    assert make("EdgeCache").entry("k").access_count == 1


def test_counts_stop_where_a_score_is_still_exact(make: Maker) -> None:
    for flush_every in (1, 1024):
        cache = make("EdgeCache", flush_every=flush_every)
        cache.put("k", 1)
        with make.backend.client() as client:
            score = client.zscore(COUNTS, "k")
            client.zadd(COUNTS, {"k": (2**20 - 2) * 2**33 + score})
            for _ in range(3):
                cache.get("k")
            assert cache.entry("k").access_count == 2**20 - 1
            assert client.zscore(COUNTS, "k") == (2**20 - 1) * 2**33 + score


@pytest.mark.parametrize("flush_every", [1, 1024])
def test_lru_evicts_what_was_not_read_for_longest(make: Maker, flush_every: int) -> None:
    cache = make("EdgeCache", max_size=3, eviction="lru", flush_every=flush_every)
    cache.put_many({"a": 1, "b": 2, "c": 3})
    for key in ("b", "b", "b", "a", "c", "a"):
        cache.get(key)
    assert [cache.entry(key).access_count for key in "abc"] == [2, 3, 1]
    cache.put("d", 4)
    assert "b" not in cache
    cache.get("c")
    cache.put_many({"e": 5, "f": 6})
    assert cache.get_many(["a", "c", "d", "e", "f"]) == {"c": 3, "e": 5, "f": 6}


def test_lru_counts_stop_where_a_score_is_still_exact(make: Maker) -> None:
    cache = make("EdgeCache", eviction="lru")
    cache.put("k", 1)
    with make.backend.client() as client:
        client.zadd(COUNTS, {"k": client.zscore(COUNTS, "k") + 2**17 - 2})
        for _ in range(3):
            cache.get("k")
        assert cache.entry("k").access_count == 2**17 - 1


def test_entries_of_another_eviction_are_not_mixed(make: Maker) -> None:
    one, two = make("EdgeCache"), make("EdgeCache", eviction="lru")
    one.put("a", 1)
    writes: list[Callable[[], object]] = [lambda: two.put("b", 1), lambda: two.put_many({"b": 1, "a": 2})]
    for write in writes:
        with pytest.raises(InvalidArgumentError, match="least_accessed"):
            write()
    assert two.get_many(["a", "b"]) == {"a": 1}
    two.clear()
    two.put("b", 1)
    with pytest.raises(InvalidArgumentError, match="lru"):
        one.put("a", 1)
