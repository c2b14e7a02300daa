"""One cache under many real processes: never over its bound, and exact when they have ended."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import redis

from edge_redis import EdgeCache
from support.cache import EXPIRY, STATS, assert_index_is_exact, nothing_short_is_left
from support.deadline import eventually
from support.forked import fork_server
from support.servers import Backend

MAX_SIZE = 40


def work(url: str, seed: int, seconds: float, results: Any) -> None:
    pick = random.Random(seed)
    counted = {"hits": 0, "misses": 0}
    with redis.Redis.from_url(url) as client, EdgeCache(client, MAX_SIZE, flush_every=50) as cache:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            key, roll = str(pick.randrange(120)), pick.random()
            if roll < 0.45:
                found = cache.get(key, default=None)
                counted["misses" if found is None else "hits"] += 1
                assert found is None or found[0] == key
            elif roll < 0.80:
                cache.put(key, (key, seed), ttl=pick.choice([0.01, 0.2, 60]))
            elif roll < 0.85:
                cache.put_many({str(n): (str(n), seed) for n in pick.sample(range(120), 10)})
            elif roll < 0.97:
                cache.delete(key)
            else:
                cache.purge_expired()
    results.put(counted)


@pytest.mark.parametrize(
    ("name", "processes", "seconds"),
    [
        ("valkey", 4, 1.0),
        pytest.param("valkey", 8, 3.0, marks=pytest.mark.exploration),
        pytest.param("redis", 8, 3.0, marks=pytest.mark.exploration),
    ],
)
def test_the_bound_holds_under_many_processes(name: str, processes: int, seconds: float, servers: Any) -> None:
    backend: Backend = servers.backend(name)
    assert backend.url is not None
    context = fork_server()
    results = context.Queue()
    workers = [context.Process(target=work, args=(backend.url, seed, seconds, results)) for seed in range(processes)]
    for worker in workers:
        worker.start()
    sizes, looks = set(), 0
    with backend.client() as client:
        live = client.register_script(
            "local t = redis.call('TIME') return redis.call('ZCOUNT', KEYS[1],"
            " string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)), '+inf')"
        )
        while any(worker.is_alive() for worker in workers):
            sizes.add(live(keys=[EXPIRY]))
            looks += 1
        counted = [results.get(timeout=10) for _ in workers]
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0] * processes
        assert looks > 100
        assert max(sizes) == MAX_SIZE  # it was full, and never over
        with EdgeCache(client, MAX_SIZE) as cache:
            eventually(lambda: nothing_short_is_left(client, cache))
            assert_index_is_exact(client)
            assert cache.size <= MAX_SIZE
        for field in ("hits", "misses"):
            assert int(client.hget(STATS, field)) == sum(each[field] for each in counted) > 0
