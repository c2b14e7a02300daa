"""A history checker of near caches: processes read and write the same keys, each sure of what it may no longer see.

Every put gives its entry a generation, higher than all before, and every value is another. Who reads
notes the generation that each value came with. The sequence of generations, read before a write,
is a bound on what that write replaces. So for each key a process knows a generation that no
later read may fall behind:

- that of every value it has read;
- after a write of its own, the one that follows the sequence as it was before;
- after a miss, the one that follows all it had read before the miss began.

A read is held to what was known when it began, so threads of a process may overlap.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from edge_redis import EdgeCache, StoreError
from edge_redis._cache import corrupt, invalidation_protocol, near_cache_group, near_entries, near_entry
from edge_redis._cache.scripts import Scripts
from support.cache import STATS
from support.deadline import eventually

_CORRUPT: Any = corrupt
_NEAR: Any = near_entries
_SCRIPTS: Any = Scripts
"""Patched: names and methods are replaced in these."""

KEYS = [f"key{number}" for number in range(50)]
HOT = KEYS[:5]
"""Every other access is to one of these: so threads and processes meet."""
THREADS = 2
SETTLED_SECONDS = 4.0


@dataclass
class Report:
    """What one process has seen."""

    number: int
    reads: int = 0
    asked: int = 0
    """Of the reads, those that asked the server."""
    writes: int = 0
    errors: int = 0
    sessions: int = 0
    """How often it has begun to listen."""
    overtaken: int = 0
    """Reads that were overtaken by word of a write, so that what they brought was not kept."""
    held: int = 0
    """Entries at hand in the end."""
    went_back: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)


class Floor:
    """What a process knows of one key."""

    def __init__(self) -> None:
        self.seen = 0
        self.least = 0


class Checker:
    """Performs reads and writes of one process and checks what comes of them."""

    def __init__(self, cache: EdgeCache, client: redis.Redis, number: int) -> None:
        self.report = Report(number)
        self._cache = cache
        self._client = client
        self._number = number
        self._floors: defaultdict[str, Floor] = defaultdict(Floor)
        self._mutex = threading.Lock()
        self._written = 0
        self.generations: dict[tuple[int, ...], int] = {}

    def spy(self) -> None:
        """Note the generation of every value that is read, and what the near cache does."""
        decode_entry, get_with_ttl = _CORRUPT.decode_entry, Scripts.get_with_ttl
        put, on_connected = near_entries.NearEntries.put, near_entries.NearEntries.on_connected

        def decoding(raw: bytes, decode: Callable[[bytes], Any]) -> Any:
            entry = decode_entry(raw, decode)
            self.generations[tuple(entry[1])] = entry[0]
            return entry

        def asking(scripts: Scripts, keys: Any) -> Any:
            self.report.asked += len(keys)
            return get_with_ttl(scripts, keys)

        def putting(
            kept: near_entries.NearEntries, key: str, fill: near_entry.PendingFill, entry: near_entry.NearEntry
        ) -> None:
            self.report.overtaken += not fill.is_valid and kept.is_listening
            put(kept, key, fill, entry)

        def connecting(kept: near_entries.NearEntries) -> None:
            self.report.sessions += 1
            on_connected(kept)

        _CORRUPT.decode_entry, _SCRIPTS.get_with_ttl = decoding, asking
        _NEAR.NearEntries.put, _NEAR.NearEntries.on_connected = putting, connecting

    def value(self) -> list[int]:
        """Return one that was never written."""
        with self._mutex:
            self._written += 1
            return [self._number, self._written]

    def get(self, key: str) -> None:
        self._read([key], lambda: {key: self._cache.get(key)})

    def get_many(self, keys: list[str]) -> None:
        self._read(keys, lambda: self._cache.get_many(keys))

    def get_or_compute(self, key: str) -> None:
        own = self.value()
        floor = self._known(key)
        found = self._cache.get_or_compute(key, lambda: own)
        if found != own:  # else it was computed and, perhaps, stored
            self._check(key, found, floor)

    def put(self, key: str) -> None:
        self._write([key], lambda: self._cache.put(key, self.value()))

    def put_some(self, key: str) -> None:
        keys = [key, *random.sample(KEYS, 2)]
        self._write(keys, lambda: self._cache.put_many({key: self.value() for key in keys}))

    def delete(self, key: str) -> None:
        self._write([key], lambda: self._cache.delete(key))

    def _known(self, key: str) -> tuple[int, int]:
        with self._mutex:
            floor = self._floors[key]
            return floor.seen, floor.least

    def _read(self, keys: list[str], read: Callable[[], dict[str, Any]]) -> None:
        known = [self._known(key) for key in keys]
        found = read()
        for key, floor in zip(keys, known, strict=True):
            self._check(key, found.get(key), floor)

    def _check(self, key: str, value: list[int] | None, known: tuple[int, int]) -> None:
        seen, least = known
        with self._mutex:
            self.report.reads += 1
            floor = self._floors[key]
            if value is None:
                floor.least = max(floor.least, seen + 1)
                return
            generation = self.generations[tuple(value)]
            if generation < least:
                self.report.went_back.append(f"{key}: {value} of generation {generation}, after {least}")
            floor.seen = max(floor.seen, generation)
            floor.least = max(floor.least, generation)

    def _write(self, keys: list[str], write: Callable[[], object]) -> None:
        before = int(self._client.hget(STATS, "sequence") or 0)
        write()
        with self._mutex:
            self.report.writes += 1
            for key in keys:
                floor = self._floors[key]
                floor.least = max(floor.least, before + 1)

    def settle(self) -> None:
        """Compare what is read with what is in Redis, until they agree or time is up: nobody writes any more."""

        def different() -> list[str]:
            found = {key: self._cache.get(key) for key in KEYS}
            with EdgeCache(self._client, flush_interval=3600) as plain:
                stored = plain.get_many(KEYS)
            return [
                f"{key}: {found[key]}, not {stored.get(key)}" for key in KEYS if found[key] != stored.get(key, None)
            ]

        try:
            eventually(lambda: near_of(self._cache).is_listening and not different(), seconds=SETTLED_SECONDS)
        except AssertionError:
            self.report.stale = different() or ["the near cache does not listen"]
        self.report.held = len(near_of(self._cache))


def near_of(cache: EdgeCache) -> near_entries.NearEntries:
    found = cache._component.near
    assert found is not None
    return found


class AlwaysValid(near_entry.PendingFill):
    """A registration of a read that nothing invalidates."""

    is_valid = property(lambda _: True, lambda *_: None)

    def record_generation(self, generation: int) -> bool:
        return generation >= 0


def _keep_what_was_overtaken() -> None:
    _NEAR.PendingFill = AlwaysValid


def _keep_all_when_the_connection_is_lost() -> None:
    _NEAR.NearEntries._drop_entries = lambda _: None


def _miss_messages(share: float) -> None:
    protocol: Any = invalidation_protocol.InvalidationProtocol
    handle, pick = protocol._handle, random.Random(1)

    def handling(running: invalidation_protocol.InvalidationProtocol, message: Any) -> None:
        if pick.random() > share:
            handle(running, message)

    protocol._handle = handling


def _ignore_own_writes() -> None:
    near_cache_group.NearCacheGroup.invalidate = lambda *_: None  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "keeps what was overtaken": _keep_what_was_overtaken,
    "keeps all when the connection is lost": _keep_all_when_the_connection_is_lost,
    "misses some messages": lambda: _miss_messages(0.2),
    "ignores its own writes": _ignore_own_writes,
}
"""Ways to break the near caches of a process, to see whether the checker notices."""
MISSES_MOST = "misses most messages"
COARSE_BUGS = {**BUGS, MISSES_MOST: lambda: _miss_messages(0.9)}
"""With one that a checker notices which compares no generations."""


def step(checker: Checker, pick: random.Random) -> None:
    """Do one thing."""
    key, roll = pick.choice(pick.choice([KEYS, HOT])), pick.random()
    if roll < 0.89:
        checker.get(key)
    elif roll < 0.91:
        checker.get_many(pick.sample(KEYS, 5))
    elif roll < 0.92:
        checker.get_or_compute(key)
    else:
        write = pick.choice([checker.put, checker.put, checker.delete, checker.put_some])
        write(key)
        checker.get(key)


def work(checker: Checker, seed: int, seconds: float) -> None:
    """Read and write at random, one thread's part."""
    pick = random.Random(seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            step(checker, pick)
        except (StoreError, redis.RedisError):  # what it would have done is not known, so nothing follows from it
            checker.report.errors += 1


def run(url: str, number: int, seconds: float, bug: str, barrier: Any, reports: Any) -> None:
    """Be one process: begin with the others, work, and settle when all have ended."""
    BUGS[bug]()
    # A connection that was cut is made again at once: the library's own pauses would leave little to look at.
    options: dict[str, Any] = {"retry": Retry(NoBackoff(), 3)}
    with (
        redis.Redis.from_url(url, **options) as client,
        redis.Redis.from_url(url, **options) as direct,
        EdgeCache(client, near_cache={"size": 100, "ttl": 3600}, flush_interval=0.05) as cache,
    ):
        checker = Checker(cache, direct, number)
        checker.spy()
        cache.contains("begins")
        barrier.wait()
        threads = [
            threading.Thread(target=work, args=(checker, THREADS * number + each, seconds)) for each in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        barrier.wait()
        checker.settle()
        reports.put(checker.report)
