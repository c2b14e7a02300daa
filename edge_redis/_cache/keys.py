"""Every key of a shard of a cache. One hash tag, so that one script may touch them all.

| key                          | type   | expiry     | what it holds                                       |
|------------------------------|--------|------------|-----------------------------------------------------|
| er:{<ns>:cache0}:v:<key>     | string | the TTL    | an entry: generation, creation time, value          |
| er:{<ns>:cache0}:expiry      | zset   | none       | entry key -> expiry, Unix ms by the server's clock  |
| er:{<ns>:cache0}:counts      | zset   | none       | entry key -> access count and order of eviction     |
| er:{<ns>:cache0}:stats       | hash   | none       | hits, misses, evictions, expirations, undecodable,  |
|                              |        |            | healed; layout; the sequence of generations; of     |
|                              |        |            | what is being computed: cleared, invalidated; bytes |
|                              |        |            | (with max_bytes); announce: Unix ms until which     |
|                              |        |            | writes are told on er:{<ns>:cache0}:written, and    |
|                              |        |            | announced_since; capacity, window, tier (adaptive)  |
| er:{<ns>:cache0}:sizes       | hash   | none       | entry key -> its bytes (with max_bytes)             |
| er:{<ns>:cache0}:ghosts      | zset   | none       | keys that were evicted, by last access (adaptive)   |
| er:{<ns>:cache0}:tagged      | hash   | none       | entry key -> its tags, a JSON array                 |
| er:{<ns>:cache0}:tag:<tag>   | set    | none       | keys of the entries that carry the tag              |
| er:{<ns>:cache0}:lease:<key> | string | the lease  | token of the one who computes the entry             |
| er:{<ns>:cache0}:repeats:<n> | hash   | 2 hours    | the last call of each slot, by the hour             |

A generation is the sequence of the put that wrote the entry, modulo 2^33: a count that arrives
late names it, and is told from one for the entry that has replaced it. How counts and order
share a score is said in lua/include/index.lua. Under least_accessed the generation breaks ties:
at 1,000 puts a second it comes round after 99 days, and then blurs the order of ties for the
length of one TTL. Under lru recency is the sequence modulo 2^36 (adaptive: 2^35), which puts and
(merged) hits share: at 1,000 a second it comes round after two years (one year).

With more shards than one, shard i of n is named so that its slot falls into the i-th of n equal
parts of a cluster's 16,384: masters that share the slots evenly share the cache evenly.
"""

from __future__ import annotations

import binascii
from functools import cache
from itertools import count
from typing import Final

from edge_redis._core.keys import KeySpace, namespace_name

LAYOUT_VERSION: Final = 1
"""Raised whenever a release writes these keys in a way that an earlier release would misread."""

SLOTS: Final = 16384


def slot(text: str) -> int:
    """Return the cluster's slot of a hash tag's text: CRC-16/XMODEM modulo 16,384."""
    return binascii.crc_hqx(text.encode(), 0) % SLOTS


@cache
def shard_names(namespace: str, shards: int) -> tuple[str, ...]:
    """Return the names of a cache's shards, which stand behind ``cache`` in their hash tags."""
    if shards == 1:
        return ("0",)
    return tuple(_name_in_part(namespace, number, shards) for number in range(shards))


def _name_in_part(namespace: str, number: int, shards: int) -> str:
    names = (f"{number}.{attempt}" for attempt in count())
    return next(name for name in names if slot(f"{namespace}:cache{name}") * shards // SLOTS == number)


class CacheKeys:
    """The keys of one shard of the cache of a namespace."""

    __slots__ = ("_room", "expiry", "stats", "tag", "values", "written")

    def __init__(self, namespace: str, shard: str = "0") -> None:
        self._room = KeySpace(namespace_name(namespace), "cache", shard)
        self.tag = self._room.tag
        """The one key that most scripts are given: they build all others from it, which puts them in its slot."""
        self.values = self._room.key("v", "")
        """What the key of every entry begins with."""
        self.expiry = self._room.key("expiry")
        self.stats = self._room.key("stats")
        self.written = self._room.key("written")
        """The channel on which writes are told where somebody asked for it."""

    def value(self, key: str) -> str:
        """Return the key of the entry ``key``."""
        return self.values + key

    def lease(self, key: str) -> str:
        """Return the key of the lease to compute the entry ``key``."""
        return self._room.key("lease", key)
