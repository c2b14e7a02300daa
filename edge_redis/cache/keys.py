"""Every key of a cache. One hash tag, so that one script may touch them all.

| key                          | type   | expiry     | what it holds                                       |
|------------------------------|--------|------------|-----------------------------------------------------|
| er:{<ns>:cache0}:v:<key>     | string | the TTL    | an entry: generation, creation time, value          |
| er:{<ns>:cache0}:expiry      | zset   | none       | entry key -> expiry, Unix ms by the server's clock  |
| er:{<ns>:cache0}:counts      | zset   | none       | entry key -> access count and order of eviction     |
| er:{<ns>:cache0}:stats       | hash   | none       | hits, misses, evictions, expirations, undecodable,  |
|                              |        |            | healed; eviction; the sequence of generations;      |
|                              |        |            | and of what is being computed: cleared, invalidated |
| er:{<ns>:cache0}:tagged      | hash   | none       | entry key -> its tags, a JSON array                 |
| er:{<ns>:cache0}:tag:<tag>   | set    | none       | keys of the entries that carry the tag              |
| er:{<ns>:cache0}:lease:<key> | string | the lease  | token of the one who computes the entry             |
| er:{<ns>:cache0}:repeats:<n> | hash   | 2 hours    | the last call of each slot, by the hour             |

A generation is the sequence of the put that wrote the entry, modulo 2^33: a count that arrives
late names it, and is told from one for the entry that has replaced it. How counts and order
share a score is said in lua/include/index.lua. Under least_accessed the generation breaks ties:
at 1,000 puts a second it comes round after 99 days, and then blurs the order of ties for the
length of one TTL. Under lru recency is the sequence modulo 2^36, which puts and (merged) hits
share: at 1,000 a second it comes round after two years.
"""

from __future__ import annotations

from edge_redis.core.keys import Room


class CacheKeys:
    """The keys of the cache of one namespace."""

    __slots__ = ("_room", "expiry", "index", "remembered", "stats", "values")

    def __init__(self, namespace: str, shard: int = 0) -> None:
        self._room = Room(namespace, "cache", shard)
        self.values = self._room.key("v", "")
        """What the key of every entry begins with."""
        self.expiry = self._room.key("expiry")
        self.stats = self._room.key("stats")
        self.index = [self.expiry, self._room.key("counts"), self.stats, self._room.tag]
        """KEYS[1] to KEYS[4] of nearly every script."""
        self.remembered = [*self.index, self._room.key("repeats")]
        """The same with KEYS[5], where a script must recognise a call that is sent twice."""

    def value(self, key: str) -> str:
        """Return the key of the entry ``key``."""
        return self.values + key

    def lease(self, key: str) -> str:
        """Return the key of the lease to compute the entry ``key``."""
        return self._room.key("lease", key)
