"""The bounds beside max_size: bytes in all, bytes of one value; and TTLs that are scattered."""

from __future__ import annotations

import pytest
from conftest import Maker

from edge_redis import InvalidArgumentError, ValueTooLargeError
from support.cache import STATS, TAG, assert_index_is_exact, expire, snapshot, value_key
from support.deadline import eventually

SIZES = f"{TAG}:sizes"
OVERHEAD = 23 + 2  # the header of an entry, and what msgpack puts before 32 to 255 bytes


def size_of(key: str, body: int) -> int:
    return len(key.encode()) + OVERHEAD + body


def counted(client: object) -> tuple[int, dict[bytes, bytes]]:
    return int(client.hget(STATS, "bytes")), client.hgetall(SIZES)  # type: ignore[attr-defined]


def assert_bytes_are_exact(client: object) -> None:
    """What is counted is what is there."""
    total, sizes = counted(client)
    prefix = value_key("")
    there = {
        name.removeprefix(prefix.encode()): len(name) - len(prefix.encode()) + client.strlen(name)  # type: ignore[attr-defined]
        for name in client.scan_iter(f"{prefix}*")  # type: ignore[attr-defined]
    }
    assert {name: int(size) for name, size in sizes.items()} == there
    assert total == sum(there.values())


def test_entries_go_until_the_bytes_fit(make: Maker) -> None:
    cache = make("EdgeCache", max_bytes=3 * size_of("a", 100))
    for key in "abc":
        cache.put(key, b"x" * 100)
    cache.get("a")
    assert cache.stats()["bytes"] == 3 * size_of("a", 100)
    cache.put("d", b"x" * 150)  # takes the room of two
    assert cache.get_many("abcd"[i] for i in range(4)).keys() == {"a", "d"}
    assert (cache.stats()["evictions"], cache.size) == (2, 2)
    with make.backend.client() as client:
        assert_bytes_are_exact(client)
        assert_index_is_exact(client, {"a", "d"})


def test_an_entry_that_outgrows_the_bound_evicts_others_and_never_itself(make: Maker) -> None:
    cache = make("EdgeCache", max_bytes=3 * size_of("a", 100))
    for key in "abc":
        cache.put(key, b"x" * 100)
    for key in "bc":
        cache.get(key)  # the one that grows is the one that would go first
    cache.put("a", b"x" * 200)
    assert cache.get_many(["a", "b", "c"]).keys() in ({"a", "b"}, {"a", "c"})
    cache.put("a", b"x" * 40)
    with make.backend.client() as client:
        assert_bytes_are_exact(client)


def test_every_way_to_go_gives_the_bytes_back(make: Maker) -> None:
    cache = make("EdgeCache", max_bytes=100_000)
    with make.backend.client() as client:
        for key in "abcdefg":
            cache.put(key, key * 50, tags=["t"] if key == "f" else [])
        cache.delete("a")
        expire(client, {"b"})
        cache.purge_expired()
        client.delete(value_key("c"))
        cache.get("c")
        cache.flush()
        client.set(value_key("d"), "junk")
        cache.get("d")
        client.delete(value_key("e"))
        cache.purge_expired()
        cache.invalidate_tag("t")
        assert_bytes_are_exact(client)
        cache.clear()
        assert counted(client) == (0, {})


def test_expired_entries_go_before_live_ones(make: Maker) -> None:
    cache = make("EdgeCache", max_bytes=1000 * size_of("0000", 40))
    with make.backend.client() as client:
        cache.put_many({f"{n:04}": b"x" * 40 for n in range(1000)})
        dead = {f"{n:04}" for n in range(100, 800)}  # more than one call sweeps
        expire(client, dead)
        cache.put("big", b"x" * 200 * 100)
        assert cache.stats()["evictions"] == 0
        assert cache.size == 301
        assert_bytes_are_exact(client)


def test_an_entry_over_the_whole_bound_is_refused(make: Maker) -> None:
    cache = make("EdgeCache", max_bytes=200)
    cache.put("k", b"x" * 100)
    with make.backend.client() as client:
        before = snapshot(client)
        with pytest.raises(ValueTooLargeError, match="max_bytes leaves 200"):
            cache.put("k", b"x" * 200)
        with pytest.raises(ValueTooLargeError):
            cache.put_many({"a": 1, "k": b"x" * 200})
        assert snapshot(client) == before


def test_all_caches_of_a_namespace_count_bytes_or_none_does(make: Maker) -> None:
    one, other = make("EdgeCache"), make("EdgeCache", max_bytes=1000)
    one.put("k", 1)
    with make.backend.client() as client:
        before = snapshot(client)
        with pytest.raises(InvalidArgumentError, match="kept as: least_accessed; use the same"):
            other.put("l", 1)
        assert snapshot(client) == before
    one.clear()
    other.put("l", 1)
    assert other.stats()["bytes"] > 0


def test_ttls_are_shortened_at_random(make: Maker) -> None:
    cache = make("EdgeCache", ttl_jitter=0.5)
    cache.put_many({str(n): n for n in range(50)}, 100)
    lives = [cache.entry(str(n)).ttl_seconds for n in range(50)]
    assert all(50 <= life <= 100 for life in lives)
    assert len(set(lives)) > 25
    cache.put("short", 1, 0.001)
    eventually(lambda: "short" not in cache)


@pytest.mark.parametrize(
    "options",
    [
        {"ttl_jitter": 1},
        {"ttl_jitter": -0.1},
        {"max_bytes": 0},
        {"shards": 0},
        {"shards": 11, "max_size": 10},
        {"eviction": "random"},
        {"on_error": "ignore"},
        {"near_cache": True, "flush_every": 1},
    ],
)
def test_bad_bounds(make: Maker, options: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        make("EdgeCache", **options)
