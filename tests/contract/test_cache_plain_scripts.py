"""Frequent puts and batches of hits, which run before the rest of their scripts, leave what the rest would leave."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from edge_redis._core.script import load, read_include
from edge_redis.types import Eviction
from support.servers import Backend

PLAIN, WHOLE = "er:{plain:cache0}", "er:{whole:cache0}"
CLOCK = "clock"
SECOND = 1000


def script(name: str, *replacements: tuple[str, str]) -> str:
    """Return a script of the cache that reads the time from a key, so that the same calls have the same effects."""
    source = load("edge_redis._cache", name).source
    clock = read_include("edge_redis._core", "clock")
    for old, new in ((clock, f"local function now_ms() return redis.call('GET', '{CLOCK}') + 0 end\n"), *replacements):
        assert old in source
        source = source.replace(old, new)
    return source


PUT, RECORD = script("put"), script("record_accesses")
WHOLE_OF = {
    PUT: script("put", ("local plain = put_plain()", "local plain = nil")),
    RECORD: script("record_accesses", ("if record_plain() then return 1 end", "")),
}


def read_all(client: Any, prefix: str) -> dict[str, Any]:
    """Return the cache's keys, with their contents."""
    names = sorted(key.decode() for key in client.scan_iter(match=f"{prefix}:*", count=1000))
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.type(name)
        kinds = pipeline.execute()
        for name, kind in zip(names, kinds, strict=True):
            if kind == b"zset":
                pipeline.zrange(name, 0, -1, withscores=True)
            elif kind == b"hash":
                pipeline.hgetall(name)
            else:
                pipeline.get(name)
        return dict(zip([name.removeprefix(prefix) for name in names], pipeline.execute(), strict=True))


class Pair:
    """Two caches, one of which runs the whole scripts alone."""

    def __init__(self, client: Any, eviction: str, size: int, pick: random.Random) -> None:
        self.client, self.pick, self.sequence = client, pick, 0
        self.keys = [f"k{at}" for at in range(size + size // 2 + 2)]
        self.bounds = f"{size} 0 1 {eviction}"
        self.now = (client.time()[0] + 10_000) * SECOND  # ahead of the server, so that it expires nothing by itself

    def run(self, source: str, *args: Any) -> None:
        replies = [
            self.client.eval(text, 1, prefix, "client", self.sequence, *args)
            for text, prefix in ((source, PLAIN), (WHOLE_OF[source], WHOLE))
        ]
        assert replies[0] == replies[1], (source == PUT, args)

    def put(self) -> None:
        pick = self.pick
        count = pick.choice([1, 1, 1, 2])
        entries = [
            (pick.choice(self.keys), pick.choice([9_000_000] * 9 + [4 * SECOND, 0]), b"\x01") for _ in range(count)
        ]
        condition = ""
        if count == 1 and pick.random() < 0.2:
            condition = f"lease token{self.sequence} 0 0"
            for prefix in (PLAIN, WHOLE):
                self.client.set(f"{prefix}:lease:{entries[0][0]}", f"token{self.sequence}")
        self.run(PUT, self.bounds, "", condition, *(part for entry in entries for part in entry))

    def record(self) -> None:
        hits: list[Any] = []
        for key in self.pick.sample(self.keys[: max(2, len(self.keys) // 3)], 2):  # favourites, which are promoted
            value = self.client.get(f"{PLAIN}:v:{key}")
            generation = int(value[:10]) if value else 1
            hits += [key, max(1, generation - self.pick.choice([0, 0, 0, 1])), self.pick.choice([1, 1, 2])]
        missed = self.pick.sample(self.keys, self.pick.choice([0, 0, 1]))
        self.run(RECORD, sum(hits[2::3]), len(missed), json.dumps(hits), json.dumps(missed))

    def lose_value(self) -> None:
        key = self.pick.choice(self.keys)
        self.client.delete(*(f"{prefix}:v:{key}" for prefix in (PLAIN, WHOLE)))

    def step(self) -> None:
        self.sequence += 1
        self.now += self.pick.choice([0, 1, 50, 50, 3 * SECOND])
        self.client.set(CLOCK, self.now)
        self.pick.choice([self.put] * 8 + [self.record] * 8 + [self.lose_value])()


@pytest.mark.parametrize("size", [3, 20])
@pytest.mark.parametrize("eviction", ["least_accessed", "lru", "adaptive"])
def test_frequent_calls_leave_what_the_whole_scripts_leave(valkey: Backend, eviction: Eviction, size: int) -> None:
    with valkey.client() as client:
        both = Pair(client, eviction, size, random.Random(size))
        for step in range(200):
            both.step()
            if step % 10 == 9:
                assert read_all(client, PLAIN) == read_all(client, WHOLE), step
