"""Redis under memory pressure evicts what it likes: values, and whole indexes. The cache comes right."""

from __future__ import annotations

import random

import pytest

from edge_redis import EdgeCache, StoreOutOfMemoryError
from support.cache import COUNTS, EXPIRY, nothing_short_is_left, rows, stored
from support.deadline import eventually
from support.servers import Backend

POLICIES = ("allkeys-lru", "allkeys-random", "volatile-ttl")
OPERATIONS = 2_000
MANY_OPERATIONS = 100_000
KEYS = 3000
MAX_SIZE = 2000


def put_or_do_without(cache: EdgeCache, key: str, pick: random.Random) -> None:
    try:
        cache.put(key, bytes(pick.randrange(400)), pick.choice([0.05, 600]))
    except StoreOutOfMemoryError:
        """Redis found nothing to evict just then; a cache does without."""


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("operations", [OPERATIONS, pytest.param(MANY_OPERATIONS, marks=pytest.mark.exploration)])
def test_the_indexes_are_those_of_the_live_keys_in_the_end(real: Backend, policy: str, operations: int) -> None:
    pick = random.Random(policy)
    with real.client() as client, EdgeCache(client, MAX_SIZE) as cache:
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 80_000)
        evicted = client.info("stats")["evicted_keys"]
        try:
            for _ in range(operations // 10):
                cache.get_many(str(pick.randrange(KEYS)) for _ in range(5))
                for _ in range(4):
                    put_or_do_without(cache, str(pick.randrange(KEYS)), pick)
                cache.delete(str(pick.randrange(KEYS)))
            assert client.info("stats")["evicted_keys"] > evicted + 100
        finally:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")
        eventually(lambda: nothing_short_is_left(client, cache))
        # Where Redis evicted an index as a whole, its values are found when they are read.
        cache.get_many(map(str, range(KEYS)))
        cache.purge_expired()
        assert rows(client, EXPIRY) == rows(client, COUNTS) == stored(client)
        assert cache.size == len(stored(client)) <= MAX_SIZE
