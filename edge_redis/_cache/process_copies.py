"""The copies of a shard's entries in this process, which every write through this process must invalidate."""

from __future__ import annotations

from collections.abc import Sequence

from edge_redis._cache.flights import Flights
from edge_redis._cache.near_cache_group import NearCacheGroup


class ProcessCopies:
    """The near caches of this process and namespace, and the computations under way of one shard.

    A writer invalidates them after the write, however it ended: near caches may have read an older
    entry meanwhile, and the value of a computation may be older too.
    """

    def __init__(self, near_caches: NearCacheGroup, flights: Flights) -> None:
        self.near_caches = near_caches
        self.flights = flights

    def invalidate(self, keys: Sequence[str] | None) -> None:
        """Drop the entries of ``keys``, and let later callers compute them anew; those of all keys where None."""
        self.near_caches.invalidate(keys)
        if self.flights.by_key:
            self.flights.detach(keys)
