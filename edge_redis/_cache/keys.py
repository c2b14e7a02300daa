"""Every key of a shard of a cache. All carry one hash tag, so that one script may touch them all.

| key                                   | type   | expiry    | contents                                              |
|---------------------------------------|--------|-----------|-------------------------------------------------------|
| er:{<ns>:cache0}:v:<key>              | string | the TTL   | an entry: generation, creation time, value            |
| er:{<ns>:cache0}:expiry               | zset   | none      | entry key -> expiry, Unix ms by the server's clock    |
| er:{<ns>:cache0}:counts               | zset   | none      | entry key -> access count and eviction order          |
| er:{<ns>:cache0}:stats                | hash   | none      | see below                                             |
| er:{<ns>:cache0}:sizes                | hash   | none      | entry key -> its bytes (with max_bytes)               |
| er:{<ns>:cache0}:ghosts               | zset   | none      | evicted keys, by last access (adaptive)               |
| er:{<ns>:cache0}:tagged               | hash   | none      | entry key -> its tags, a JSON array                   |
| er:{<ns>:cache0}:tag:<tag>            | set    | none      | keys of the entries that carry the tag                |
| er:{<ns>:cache0}:lease:<key>          | string | the lease | token of the caller that computes the entry           |
| er:{<ns>:cache0}:invalidated          | zset   | a day     | tag -> epoch of its last invalidation, 10,000 at most |
| er:{<ns>:cache0}:invalidated-prefixes | zset   | a day     | the same for prefixes of keys, 100 at most            |
| er:{<ns>:cache0}:popped:<client_id>   | string | a minute  | what a client_id's last pop removed, for a repeat     |
| er:{<ns>:cache0}:repeats:<n>          | hash   | 2 hours   | last sequence and reply of each client_id, by hour    |
| er:{<ns>:cache0}:layout               | string | none      | the layout version of the shard                       |

Fields of ``stats``: hits, misses, evictions, expirations, corrupt, repaired (statistics); config
(the fingerprint of the options that all caches of the namespace share); sequence (of
generations); cleared, invalidated (epochs: they rise when entries are removed that a computation
under way must not bring back); bytes (with max_bytes); announce_until and announced_since (Unix
ms between which writes are published on the channel er:{<ns>:cache0}:written); capacity, window,
tier, credits (adaptive); tag_floor and prefix_floor (epochs below which invalidations are unknown).

A generation is the sequence number of the put that wrote the entry, modulo 2^33. A count that
arrives late names it, and is ignored where the entry was replaced. lua/include/order.lua says how
counts and order share a score. Under least_accessed the generation breaks ties: at 1,000 puts a
second it wraps after 99 days, and the order of ties is then wrong for the length of one TTL. Under
lru, recency is the sequence modulo 2^36 (adaptive: 2^35). Puts and batches of hits raise it: at
1,000 a second it wraps after two years (one year).

With several shards, shard i of n is named so that its slot falls into the i-th of n equal parts
of a cluster's 16,384: masters that share the slots evenly share the cache evenly.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from edge_redis._core.keys import KeySpace
from edge_redis._core.slots import name_in_part

LAYOUT_VERSION: Final = 1
"""Raised whenever a release writes these keys in a way that an earlier release would misread."""


@cache
def name_shards(namespace: str, shards: int) -> tuple[str, ...]:
    """Return the names of a cache's shards, which follow ``cache`` in their hash tags."""
    if shards == 1:
        return ("0",)
    return tuple(name_in_part(f"{namespace}:cache", f"{number}.", number, shards) for number in range(shards))


class CacheKeys:
    """The keys of one shard of the cache of a namespace."""

    __slots__ = ("_space", "expiry", "prefix", "stats", "values", "written")

    def __init__(self, namespace: str, shard: str = "0") -> None:
        self._space = KeySpace(namespace, "cache", shard)
        self.prefix = self._space.tag
        """The one key that most scripts declare; they build all others from it, which puts them in its slot."""
        self.values = self._space.key("v", "")
        """The prefix of every entry's key."""
        self.expiry = self._space.key("expiry")
        self.stats = self._space.key("stats")
        self.written = self._space.key("written")
        """The channel on which writes are published while a near cache asks for it."""

    def value(self, key: str) -> str:
        """Return the key of the entry ``key``."""
        return self.values + key

    def lease(self, key: str) -> str:
        """Return the key of the lease to compute the entry ``key``."""
        return self._space.key("lease", key)
