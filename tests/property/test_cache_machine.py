"""EdgeCache against a plain model, step by step: what it holds, what it counts, whom it evicts.

Time is moved by hand: an entry is made to expire by setting its expiry back, in the value and in
the index alike, which is what the passing of time does to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from edge_redis import EdgeCache
from edge_redis.types import Eviction
from support.cache import COUNTS, EXPIRY, rows, stored, value_key
from support.servers import Servers

MAX_SIZE = 4
KEYS = st.sampled_from(["z", "y", "x", "ab", "a", "aa", "ä"])
VALUES = st.integers() | st.none() | st.text(max_size=5) | st.tuples(st.booleans(), st.binary(max_size=3))


@dataclass
class Entry:
    value: Any
    born: int
    used: int
    count: int = 0
    dead: bool = False
    """Expired: its time is over, and Redis may have removed the value."""
    lost: bool = False
    """Redis evicted the value by itself."""


class Model:
    """The cache, in plain Python."""

    def __init__(self, eviction: str) -> None:
        self.eviction = eviction
        self.entries: dict[str, Entry] = {}
        self.clock = 0
        self.stats = dict.fromkeys(("hits", "misses", "evictions", "expirations", "repaired"), 0)

    @property
    def indexed(self) -> dict[str, Entry]:
        return {key: entry for key, entry in self.entries.items() if not entry.dead}

    def drop(self, key: str) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None and entry.dead:
            self.stats["expirations"] += 1
        elif entry is not None and entry.lost:
            self.stats["repaired"] += 1

    def sweep(self) -> int:
        dead = [key for key, entry in self.entries.items() if entry.dead]
        for key in dead:
            self.drop(key)
        return len(dead)

    def rank(self, key: str) -> tuple[int, ...]:
        entry = self.entries[key]
        return (entry.used,) if self.eviction == "lru" else (entry.count, entry.born)

    def put(self, key: str, value: Any) -> None:
        self.sweep()
        while key not in self.entries and len(self.entries) >= MAX_SIZE:
            victim = min(self.entries, key=self.rank)
            if not self.entries[victim].lost:
                self.stats["evictions"] += 1
            self.drop(victim)
        self.clock += 1
        self.entries[key] = Entry(value, born=self.clock, used=self.clock)

    def get(self, key: str) -> Entry | None:
        entry = self.entries.get(key)
        if entry is None or entry.dead or entry.lost:
            self.stats["misses"] += 1
            self.drop(key)
            return None
        self.stats["hits"] += 1
        entry.count += 1
        self.clock += 1
        entry.used = self.clock
        return entry

    def alive(self, key: str) -> bool:
        entry = self.entries.get(key)
        return entry is not None and not entry.dead and not entry.lost


class CacheMachine(RuleBasedStateMachine):
    backend: Any = None

    @initialize(flush_every=st.sampled_from([1, 3, 1024]), eviction=st.sampled_from(["least_accessed", "lru"]))
    def begin(self, flush_every: int, eviction: Eviction) -> None:
        self.backend.flush()
        self.client = self.backend.client()
        # Two objects on one server: what either notes must count for both.
        self.caches = [
            EdgeCache(client, MAX_SIZE, eviction=eviction, flush_every=flush_every, flush_interval=3600)
            for client in (self.client, self.backend.client())
        ]
        self.model = Model(eviction)
        self.turn = 0

    @property
    def cache(self) -> EdgeCache:
        self.turn += 1
        return self.caches[self.turn % 2]

    def teardown(self) -> None:
        for cache in getattr(self, "caches", []):
            cache.close()

    @rule(key=KEYS, value=VALUES)
    def put(self, key: str, value: Any) -> None:
        self.cache.put(key, value)
        self.model.put(key, value)

    @rule(mapping=st.dictionaries(KEYS, VALUES))
    def put_many(self, mapping: dict[str, Any]) -> None:
        self.cache.put_many(mapping)
        for key, value in mapping.items():
            self.model.put(key, value)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        missing = object()
        found = self.cache.get(key, missing)
        entry = self.model.get(key)
        assert found == (missing if entry is None else entry.value)

    @rule(keys=st.lists(KEYS))
    def get_many(self, keys: list[str]) -> None:
        found = self.cache.get_many(keys)
        entries = {key: self.model.get(key) for key in dict.fromkeys(keys)}
        assert found == {key: entry.value for key, entry in entries.items() if entry is not None}

    @rule(key=KEYS)
    def contains(self, key: str) -> None:
        assert (key in self.cache) == self.model.alive(key)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert self.cache.delete(key) == self.model.alive(key)
        self.model.drop(key)

    @rule(keys=st.lists(KEYS))
    def delete_many(self, keys: list[str]) -> None:
        assert self.cache.delete_many(keys) == sum(map(self.model.alive, set(keys)))
        for key in keys:
            self.model.drop(key)

    @rule(key=KEYS)
    def touch(self, key: str) -> None:
        alive = self.model.alive(key)
        assert self.cache.touch(key, 500) == alive
        if not alive:
            self.model.drop(key)

    @rule(key=KEYS)
    def entry(self, key: str) -> None:
        found = self.cache.entry(key)
        if self.model.alive(key):
            assert found is not None
            expected = self.model.entries[key]
            assert (found.key, found.value, found.access_count) == (key, expected.value, expected.count)
        else:
            assert found is None
            self.model.drop(key)

    @rule()
    def purge(self) -> None:
        assert self.cache.purge_expired() == self.model.sweep()
        for key in [key for key, entry in self.model.entries.items() if entry.lost]:
            self.model.drop(key)

    @precondition(lambda self: self.model.clock % 5 == 4)
    @rule()
    def clear(self) -> None:
        assert self.cache.clear() == sum(map(self.model.alive, self.model.entries))
        for key in list(self.model.entries):
            self.model.drop(key)

    @rule(key=KEYS, removed=st.booleans())
    def expire(self, key: str, *, removed: bool) -> None:
        """Let the time of an entry pass, with Redis having removed the value or not yet."""
        if not self.model.alive(key):
            return
        past = int(self.client.time()[0] * 1000) - 5000
        self.client.zadd(EXPIRY, {key: past})
        if removed:
            self.client.delete(value_key(key))
        else:
            self.client.pexpireat(value_key(key), past)
        self.model.entries[key].dead = True

    @rule(key=KEYS)
    def lose(self, key: str) -> None:
        """Let Redis evict a value by itself, as it does under maxmemory."""
        if self.model.alive(key):
            self.client.delete(value_key(key))
            self.model.entries[key].lost = True

    @rule()
    def statistics(self) -> None:
        due = sum(entry.dead for entry in self.model.entries.values())
        found: Mapping[str, Any] = self.cache.stats()
        expected = {**self.model.stats, "size": len(self.model.indexed)}
        expected["expirations"] += due
        assert {name: found[name] for name in expected} == expected
        hits, misses = expected["hits"], expected["misses"]
        assert self.cache.hit_rate == (100.0 * hits / (hits + misses) if hits + misses else 0.0)

        assert rows(self.client, EXPIRY) == rows(self.client, COUNTS) == set(self.model.entries)
        assert self.cache.size == len(self.model.indexed) <= MAX_SIZE

    @invariant()
    def the_values_are_those_of_the_model(self) -> None:
        if hasattr(self, "model"):  # before it has begun, there is none
            values = stored(self.client)
            assert values == {key for key in self.model.entries if self.model.alive(key)}
            assert len(values) <= MAX_SIZE


@pytest.mark.parametrize(
    ("name", "examples"),
    [
        pytest.param("fakeredis", 25, marks=pytest.mark.exploration),
        pytest.param("valkey", 20),
        pytest.param("valkey", 100, marks=pytest.mark.exploration),
        pytest.param("redis", 60, marks=pytest.mark.exploration),
    ],
)
def test_a_cache_does_what_its_model_does(name: str, examples: int, servers: Servers) -> None:
    class Machine(CacheMachine):
        backend = servers.backend(name)

    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None))
