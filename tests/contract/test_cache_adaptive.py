"""The adaptive order of eviction: what it keeps, equal to a second implementation, whatever is asked of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice

import pytest
from conftest import Maker

from edge_redis import EdgeCache
from edge_redis.types import Eviction
from support.adaptive import Adaptive
from support.cache import TAG, assert_index_is_exact, expire, stored, value_key
from support.checked import present
from support.servers import Backend

GHOSTS = f"{TAG}:ghosts"


def replay(cache: EdgeCache, keys: Iterator[str]) -> int:
    """Put what is missed; return the hits."""
    hits = 0
    for key in keys:
        if cache.get(key) is None:
            cache.put(key, 1)
        else:
            hits += 1
    return hits


def requests(size: int, pick: random.Random) -> Iterator[str]:
    """Loops, scans and favourites, in turns."""
    fresh = count()
    while True:
        for _ in range(3):
            yield from (str(at) for at in range(size + size // 5 + 1))
        yield from (f"once-{next(fresh)}" for _ in range(size))
        for _ in range(4 * size):
            yield str(int(pick.paretovariate(0.7)) % (4 * size + 3))


@pytest.mark.parametrize("size", [1, 2, 10])
@pytest.mark.parametrize("flush_every", [1, 10_000])
def test_it_keeps_what_a_second_implementation_keeps(backend: Backend, size: int, flush_every: int) -> None:
    compare_with_a_second_implementation(backend, size, flush_every, steps=240 if backend.is_real else 60)


@pytest.mark.exploration
@pytest.mark.parametrize("size", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("flush_every", [1, 10_000])
def test_it_keeps_what_a_second_implementation_keeps_for_long(real: Backend, size: int, flush_every: int) -> None:
    compare_with_a_second_implementation(real, size, flush_every, steps=1200)


def compare_with_a_second_implementation(backend: Backend, size: int, flush_every: int, *, steps: int) -> None:
    pick = random.Random(size)
    model = Adaptive(size)
    noted: dict[str, int] = {}
    with backend.client() as client:
        cache = EdgeCache(client, size, eviction="adaptive", flush_every=flush_every, flush_interval=3600)
        for step, key in enumerate(islice(requests(size, pick), steps)):
            found = cache.get(key) is not None
            assert found == (key in model.entries), step
            if found:
                noted[key] = noted.pop(key, 0) + 1
            if flush_every == 1 or not found or step % 7 == 0 or step % 50 == 0:  # each put delivers what was noted
                cache.flush()
                model.count(noted.items())
                noted.clear()
            if not found or step % 7 == 0:
                cache.put(key, step)
                model.put(key)
            if step % 11 == 0:
                cache.delete(key)
                model.remove(key)
        cache.flush()
        model.count(noted.items())
        assert stored(client) == set(model.entries)
        assert {key.decode() for key in client.zrange(GHOSTS, 0, -1)} == set(model.ghosts)
        assert {key: present(cache.entry(key)).access_count for key in model.entries} == {
            key: entry.count for key, entry in model.entries.items()
        }
        assert_index_is_exact(client)
        cache.close()


def hit_ratio(backend: Backend, eviction: Eviction, size: int, keys: Iterator[str], number: int) -> float:
    backend.flush()
    with backend.client() as client:
        cache = EdgeCache(client, size, eviction=eviction, flush_every=10_000, flush_interval=3600)
        return replay(cache, islice(keys, number)) / number


def loop(length: int) -> Iterator[str]:
    while True:
        yield from map(str, range(length))


def favourites_and_a_scan(pick: random.Random) -> Iterator[str]:
    for fresh in count():
        yield str(int(pick.paretovariate(0.9)))
        yield f"once-{fresh}"


def test_a_loop_and_a_scan_do_not_empty_it(valkey: Backend) -> None:
    assert hit_ratio(valkey, "lru", 50, loop(60), 900) == 0
    assert hit_ratio(valkey, "adaptive", 50, loop(60), 900) > 0.5  # 50/60 is the most there is, in the long run
    scanned = {
        eviction: hit_ratio(valkey, eviction, 50, favourites_and_a_scan(random.Random(1)), 2000)
        for eviction in ("lru", "adaptive")
    }
    assert scanned["adaptive"] > scanned["lru"] + 0.03


def test_what_was_put_can_be_read(make: Maker) -> None:
    cache = make("EdgeCache", max_size=3, eviction="adaptive")
    for n in range(50):
        cache.put(str(n), n)
        assert cache.get(str(n)) == n
        assert cache.size == min(n + 1, 3)


def test_expired_entries_go_first_and_leave_no_ghost(make: Maker) -> None:
    cache = make("EdgeCache", max_size=4, eviction="adaptive")
    with make.backend.client() as client:
        cache.put_many(dict.fromkeys("abcd", 1))
        for key in "abcd":
            cache.get(key)
        expire(client, {"d"})
        cache.put("e", 1)
        assert_index_is_exact(client, {"a", "b", "c", "e"})
        assert client.exists(GHOSTS) == 0
        cache.put("f", 1)
        assert client.zcard(GHOSTS) == 1
        assert cache.stats()["evictions"] == 1


def test_clearing_forgets_the_ghosts(make: Maker) -> None:
    cache = make("EdgeCache", max_size=2, eviction="adaptive")
    cache.put_many({str(n): n for n in range(5)})
    cache.clear()
    with make.backend.client() as client:
        assert client.exists(GHOSTS) == 0
        assert not client.hmget(f"{TAG}:stats", "capacity")[0]


def test_a_smaller_bound_of_another_process_is_kept(make: Maker) -> None:
    large, small = (
        make("EdgeCache", max_size=400, eviction="adaptive"),
        make("EdgeCache", max_size=5, eviction="adaptive"),
    )
    large.put_many({str(n): n for n in range(400)})
    small.put("one more", 1)
    assert small.size == 5
    assert small.get("one more") == 1
    with make.backend.client() as client:
        assert_index_is_exact(client)


def test_it_keeps_to_bytes(make: Maker) -> None:
    cache = make("EdgeCache", max_bytes=20 * 60, eviction="adaptive")
    for n in range(200):
        cache.put(str(n % 37), bytes(30 + n % 5))
        cache.get(str(n % 11))
        assert cache.stats()["bytes"] <= 20 * 60
    with make.backend.client() as client:
        assert_index_is_exact(client)
        assert int(client.hget(f"{TAG}:stats", "bytes")) == sum(map(int, client.hvals(f"{TAG}:sizes")))


def test_values_that_redis_dropped_and_a_lost_index(make: Maker) -> None:
    cache = make("EdgeCache", max_size=4, eviction="adaptive", flush_every=1)
    with make.backend.client() as client:
        cache.put_many(dict.fromkeys("abcd", 1))
        client.delete(value_key("a"))
        assert cache.get("a") is None
        client.delete(f"{TAG}:counts")
        cache.put("e", 1)
        cache.put("f", 1)
        cache.purge_expired()
        assert_index_is_exact(client)
        assert cache.size == 4
