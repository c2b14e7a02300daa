"""EdgeCache when something is wrong: the server away, keys of another kind, values gone, replies lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
import redis
from conftest import Maker

from edge_redis import EdgeCache, StoreOutOfMemoryError, StoreUnavailableError, WrongKeyTypeError
from edge_redis._cache.access_buffer import MAX_KEYS
from edge_redis._cache.api import Cache
from edge_redis._cache.config import CacheConfig
from edge_redis._core.operation import stepper
from edge_redis._io.blocking_runner import BlockingRunner
from support.cache import COUNTS, EXPIRY, STATS, TAG, assert_index_is_exact, snapshot, value_key
from support.checked import bytes_of, present
from support.servers import Backend
from support.simulation import LOSSES, Actor, Fault, Scenario, explore

CALLS: dict[str, Any] = {
    "get": lambda cache: cache.get("k"),
    "put": lambda cache: cache.put("k", 1),
    "put_new": lambda cache: cache.put("new", 1),
    "delete": lambda cache: cache.delete("k"),
    "touch": lambda cache: cache.touch("k"),
    "entry": lambda cache: cache.entry("k"),
    "contains": lambda cache: cache.contains("k"),
    "put_many": lambda cache: cache.put_many({"a": 1, "k": 2}),
    "delete_many": lambda cache: cache.delete_many(["a", "k"]),
    "get_many": lambda cache: cache.get_many(["a", "k"]),
    "clear": lambda cache: cache.clear(),
    "purge_expired": lambda cache: cache.purge_expired(),
    "stats": lambda cache: cache.stats(),
    "size": lambda cache: cache.size,
    "hit_rate": lambda cache: cache.hit_rate,
}

PLAIN_READS = {"get", "contains", "get_many"}
"""What reads entries without looking at the index."""

ONLY_ENTRIES = {"put_new", "clear", "purge_expired", "stats", "size", "hit_rate", "get_many"}
"""What does not look at the value of the entry k, or not at its type."""

USERS = {
    EXPIRY: CALLS.keys() - PLAIN_READS,
    COUNTS: CALLS.keys() - PLAIN_READS - {"stats", "size", "hit_rate"},
    STATS: CALLS.keys() - PLAIN_READS,
    value_key("k"): CALLS.keys() - ONLY_ENTRIES,
}


@pytest.mark.parametrize(("key", "name"), [(key, name) for key, names in USERS.items() for name in sorted(names)])
def test_a_key_of_another_kind_is_an_error_and_nothing_is_half_written(make: Maker, key: str, name: str) -> None:
    cache = make("EdgeCache", max_size=2)
    cache.put_many({"a": 1, "k": 2})
    with make.backend.client() as client:
        client.delete(key)
        client.rpush(key, "not ours")
        before = snapshot(client)
        with pytest.raises(WrongKeyTypeError):
            CALLS[name](cache)
        assert snapshot(client) == before
        client.delete(key)


@pytest.mark.parametrize("name", CALLS)
def test_a_server_that_is_away(name: str, servers: Any) -> None:
    server = fakeredis.FakeServer()
    with EdgeCache(fakeredis.FakeRedis(server=server)) as cache:
        cache.put("k", 1)
        cache.get("k")
        server.connected = False
        with pytest.raises(StoreUnavailableError):
            CALLS[name](cache)
        server.connected = True
        assert cache.stats()["hits"] == 1
    dead = redis.Redis(port=1, retry=None)  # type: ignore[arg-type] # redis-py takes None
    with pytest.raises(StoreUnavailableError):
        CALLS[name](EdgeCache(dead))


def test_what_is_noted_outlives_an_outage() -> None:
    server = fakeredis.FakeServer()
    cache = EdgeCache(fakeredis.FakeRedis(server=server))
    cache.put("k", 1)
    for _ in range(5):
        cache.get("k")
    server.connected = False
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            cache.stats()
    with pytest.raises(StoreUnavailableError):
        cache.close()
    server.connected = True
    assert present(cache.entry("k")).access_count == 5
    assert cache.stats()["hits"] == 5
    cache.close()


def test_a_read_is_answered_though_its_count_is_not_taken(real: Backend) -> None:
    with real.client() as client, EdgeCache(client, flush_every=2) as cache:
        cache.put("k", 1)
        client.config_set("maxmemory", 1)
        try:
            assert [cache.get("k") for _ in range(6)] == [1] * 6
            with pytest.raises(StoreOutOfMemoryError):
                cache.put("l", 1)
        finally:
            client.config_set("maxmemory", 0)
        assert cache.stats()["hits"] == 6


@pytest.mark.parametrize("flush_every", [1, 1024])
@pytest.mark.parametrize("junk", [b"", b"junk", b"\xff" * 40, b"0000000001" + b"1700000000000" + b"\xc1"])
def test_bytes_that_do_not_decode_are_a_miss_and_go(make: Maker, flush_every: int, junk: bytes) -> None:
    cache = make("EdgeCache", flush_every=flush_every)
    reads: list[Callable[[], Any]] = [lambda: cache.get("k", 7) == 7, lambda: cache.get_many(["k", "l"]) == {"l": 1}]
    with make.backend.client() as client:
        for turn, read in enumerate(reads, 1):
            cache.put_many({"k": 1, "l": 1})
            client.set(value_key("k"), junk)
            assert read()
            assert client.exists(value_key("k")) == 0
            assert cache.stats()["corrupt"] == turn
        assert (cache.stats()["hits"], cache.stats()["misses"]) == (1, 2)
        cache.put("k", 1)
        client.set(value_key("k"), junk)
        assert cache.entry("k") is None
        assert cache.stats()["corrupt"] == 3
        cache.put("k", 1)
        client.set(value_key("k"), junk)
        assert cache.pop("k", 7) == 7
        assert cache.stats()["corrupt"] == 3 + bool(junk), "pop takes an empty value for none"
        assert_index_is_exact(client, {"l"})
        client.set(value_key("planted"), junk)  # never ours, in no index
        assert cache.get("planted") is None
        assert client.exists(value_key("planted")) == 0


def test_only_the_bytes_that_were_read_are_discarded() -> None:
    client = fakeredis.FakeRedis()
    cache, runner = Cache("default", CacheConfig(), time.monotonic), BlockingRunner(client)
    client.set(value_key("k"), "junk")
    reading = stepper(cache.get("k"))
    discard = reading.send(runner.perform(reading.send(None)))
    runner.run(cache.put("k", 1))  # meanwhile, by another process
    with pytest.raises(StopIteration):
        reading.send(runner.perform(discard))
    assert runner.run(cache.get("k")) == 1
    assert runner.run(cache.stats())["corrupt"] == 0


@pytest.mark.parametrize("flush_every", [1, 1024])
def test_a_read_heals_the_index_of_a_value_that_is_gone(make: Maker, flush_every: int) -> None:
    cache = make("EdgeCache", flush_every=flush_every)
    cache.put_many({"a": 1, "b": 2, "c": 3, "d": 4})
    with make.backend.client() as client:
        client.delete(*map(value_key, "abcd"))
        assert cache.get("a") is None
        assert cache.get_many(["b"]) == {}
        assert cache.touch("c") is False
        assert cache.entry("d") is None
        assert cache.size == 0
        assert_index_is_exact(client, set())
    assert cache.stats()["repaired"] == 4
    assert cache.stats()["expirations"] == 0


def test_a_purge_heals_the_index_of_every_value_that_is_gone(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put_many({str(i): i for i in range(700)})
    with make.backend.client() as client:
        client.delete(*(value_key(str(i)) for i in range(0, 700, 2)))
        assert cache.purge_expired() == 0
        assert_index_is_exact(client, {str(i) for i in range(1, 700, 2)})
    assert cache.size == cache.stats()["repaired"] == 350


def test_a_put_into_a_full_cache_counts_no_ghost(make: Maker) -> None:
    cache = make("EdgeCache", max_size=3)
    cache.put_many({"a": 1, "b": 2, "c": 3})
    with make.backend.client() as client:
        client.delete(value_key("a"))
        cache.put("d", 4)
        assert_index_is_exact(client, {"b", "c", "d"})
    assert (cache.stats()["evictions"], cache.stats()["repaired"]) == (0, 1)


@pytest.mark.parametrize("flush_every", [1, 1024])
def test_a_value_without_its_rows_goes(make: Maker, flush_every: int) -> None:
    cache = make("EdgeCache", max_size=2, flush_every=flush_every)
    cache.put("a", 1)
    with make.backend.client() as client:
        client.delete(EXPIRY, COUNTS)
        assert cache.get("a") == 1
        assert cache.stats()["repaired"] == 1
        assert_index_is_exact(client, set())


@pytest.mark.parametrize("flush_every", [1, 1024])
def test_counts_that_are_lost_begin_again(make: Maker, flush_every: int) -> None:
    cache = make("EdgeCache", max_size=2, flush_every=flush_every)
    cache.put("a", 1)
    with make.backend.client() as client:
        client.delete(COUNTS)
        assert cache.get("a") == 1
        cache.flush()
        assert_index_is_exact(client, {"a"})
        assert cache.get("a") == 1
        assert cache.entry("a").access_count == 1


@pytest.mark.parametrize("lost", [EXPIRY, COUNTS, STATS])
def test_an_index_that_is_lost_does_not_stop_a_put(make: Maker, lost: str) -> None:
    cache = make("EdgeCache", max_size=3)
    cache.put_many({"a": 1, "b": 2, "c": 3})
    with make.backend.client() as client:
        client.delete(lost)
        for key in "defgh":
            cache.put(key, key)
            assert cache.size <= 3
        cache.purge_expired()
        assert_index_is_exact(client, {"f", "g", "h"})
        assert cache.get_many("fgh"[i] for i in range(3)) == {"f": "f", "g": "g", "h": "h"}


@pytest.mark.parametrize("lost", [EXPIRY, COUNTS])
def test_a_purge_makes_the_indexes_agree(make: Maker, lost: str) -> None:
    cache = make("EdgeCache")
    cache.put_many({"a": 1, "b": 2})
    with make.backend.client() as client:
        client.zrem(lost, "a")
        generation = client.zscore(COUNTS, "a") or float(client.get(value_key("a"))[:10])
        cache.purge_expired()
        if lost == EXPIRY:
            assert_index_is_exact(client, {"b"})
        else:
            assert_index_is_exact(client, {"a", "b"})
            assert client.zscore(COUNTS, "a") == generation


def test_everything_gone_at_once(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", 1)
    cache.get("k")
    with make.backend.client() as client:
        client.flushall()
        assert cache.get("k") is None
        assert (cache.size, cache.stats()["hits"], cache.stats()["misses"]) == (0, 1, 1)
        cache.put("k", 2)
        assert cache.get("k") == 2
        assert_index_is_exact(client, {"k"})


def test_scripts_forgotten_in_between(make: Maker) -> None:
    cache = make("EdgeCache", max_size=2)
    for _ in range(2):
        cache.put_many({"a": 1, "b": 2})
        assert cache.get("a") == 1
        assert cache.stats()["size"] == 2
        with make.backend.client() as client:
            client.script_flush()
        before = cache.stats()["hits"]
        cache.get("b")
        with make.backend.client() as client:
            client.script_flush()
        assert cache.stats()["hits"] == before + 1


async def counting(key: str, times: int, cache: Cache) -> None:
    for _ in range(times):
        await cache.get(key)
    await cache.flush()


def test_a_flush_whose_reply_is_lost_counts_once() -> None:
    def make() -> Scenario:
        client = fakeredis.FakeRedis()
        runner = BlockingRunner(client)
        cache = Cache("default", CacheConfig(), time.monotonic)
        runner.run(cache.put("k", 1))

        def check(_actors: object) -> None:
            runner.run(cache.flush())  # what was not acknowledged goes again
            runner.run(cache.flush())
            read = int(client.hget(STATS, "hits") or 0)
            assert read == cache_reads(client)
            assert read <= 2

        return Scenario([Actor("a", client, lambda: counting("k", 2, cache), LOSSES)], check, max_faults=2)

    def cache_reads(client: Any) -> int:
        return int(client.zscore(COUNTS, "k") // (1 << 33))

    assert explore(make) > 10


def test_a_batch_that_is_delivered_twice_counts_once(make: Maker) -> None:
    with make.backend.client() as client:
        cache, runner = Cache("default", CacheConfig(), time.monotonic), BlockingRunner(client)
        runner.run(cache.put("k", 1))
        runner.run(cache.get("k"))
        batch = present(cache.shards.all[0].accesses.buffer.next_batch(cache.shards.all[0].accesses.buffer.freeze()))
        for _ in range(3):
            assert runner.run(cache.shards.all[0].scripts.record_accesses(batch)) == 1
        cache.shards.all[0].accesses.buffer.acknowledge(batch)
        assert present(runner.run(cache.entry("k"))).access_count == 1
        assert runner.run(cache.stats())["hits"] == 1
        late = type(batch)(batch.client_id, batch.sequence - 1, hits=5)
        runner.run(cache.shards.all[0].scripts.record_accesses(late))  # older than what the slot has seen
        assert runner.run(cache.stats())["hits"] == 1


CHANGES: dict[str, tuple[Any, Any]] = {
    "delete": (lambda cache: cache.delete("k"), True),
    "delete_many": (lambda cache: cache.delete_many(["k", "l", "m"]), 2),
    "clear": (lambda cache: cache.clear(), 2),
    "exact get": (lambda cache: cache.get("k"), 1),
    "put": (lambda cache: cache.put("n", 1), None),
    "put_many": (lambda cache: cache.put_many({"n": 1, "m": 2}), None),
    "touch": (lambda cache: cache.touch("k", 5), True),
    "add": (lambda cache: cache.add("n", 1), True),
    "add of an entry that exists": (lambda cache: cache.add("k", 1), False),
    "incr": (lambda cache: cache.incr("k", 5), 6),
    "incr of a new entry": (lambda cache: cache.incr("n", 5), 5),
    "compare_and_set": (lambda cache: cache.compare_and_set("k", 1, 2), True),
    "compare_and_delete": (lambda cache: cache.compare_and_delete("k", 1), True),
    "pop": (lambda cache: cache.pop("k"), 1),
    "pop of nothing": (lambda cache: cache.pop("n", "default"), "default"),
    "invalidate_prefix": (lambda cache: cache.invalidate_prefix("k"), 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_call_that_is_sent_twice_happens_once(name: str) -> None:
    change, expected = CHANGES[name]

    def make() -> Scenario:
        client = fakeredis.FakeRedis()
        runner = BlockingRunner(client)
        cache = Cache("default", CacheConfig(max_size=2, flush_every=1), time.monotonic)
        runner.run(cache.put_many({"k": 1, "l": 2}))
        runner.run(change(cache))
        once = dict(snapshot_of(runner, cache), client=None)
        client.flushall()
        runner.run(cache.put_many({"k": 1, "l": 2}))

        def check(actors: Any) -> None:
            assert actors[0].result == expected
            assert dict(snapshot_of(runner, cache), client=None) == once

        return Scenario([Actor("a", client, lambda: change(cache), [Fault.REPEATED])], check, max_faults=5)

    def snapshot_of(runner: BlockingRunner, cache: Cache) -> dict[str, Any]:
        counts = {key: getattr(runner.run(cache.entry(key)), "access_count", None) for key in "klmn"}
        values = {key: getattr(runner.run(cache.entry(key)), "value", None) for key in "klmn"}
        return {**runner.run(cache.stats()), "counts": counts, "values": values}

    assert explore(make) >= 2


def test_a_forked_child_does_not_deliver_what_its_parent_noted(valkey: Backend) -> None:
    client = valkey.client()
    cache = EdgeCache(client, flush_interval=3600)
    cache.put("k", 1)
    for _ in range(3):
        cache.get("k")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            cache.get("k")
            cache.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert int(bytes_of(client.hget(STATS, "hits"))) == 1
    assert cache.stats()["hits"] == 4
    cache.close()
    client.close()


def test_more_keys_than_one_flush_may_touch(make: Maker) -> None:
    cache = make("EdgeCache", max_size=5000, flush_every=100_000)
    entries = {str(i): i for i in range(2 * MAX_KEYS + 5)}
    cache.put_many(entries)
    assert cache.get_many(entries) == entries
    cache.put("one more", 1)
    with make.backend.client() as client:
        assert int(client.hget(STATS, "hits")) == len(entries)
        counted = [score // (1 << 33) for _, score in client.zrange(COUNTS, 0, -1, withscores=True)]
    assert sorted(counted) == [0] + [1] * len(entries)


def test_the_keys_are_those_that_are_documented(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", 1)
    cache.get("k")
    cache.delete("other")
    cache.size  # noqa: B018 -- flushes
    with make.backend.client() as client:
        kinds = {key.decode(): client.type(key) for key in client.scan_iter()}
        repeats = [key for key in kinds if key.startswith(f"{TAG}:repeats:")]
        assert 1 <= len(repeats) <= 2
        assert all(0 < client.ttl(key) <= 7200 for key in repeats)
        assert {key: kind for key, kind in kinds.items() if key not in repeats} == {
            value_key("k"): b"string",
            EXPIRY: b"zset",
            COUNTS: b"zset",
            STATS: b"hash",
            f"{TAG}:layout": b"string",
        }
        assert 299 <= client.ttl(value_key("k")) <= 300
        assert client.zscore(EXPIRY, "k") == client.pexpiretime(value_key("k"))
