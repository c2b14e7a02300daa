"""Statistics of a cache: those of all processes, kept in Redis, and those of this process."""

from __future__ import annotations

from typing import Any, Final

from edge_redis._cache.config import CacheConfig
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.shards import Shards

_FIELDS: Final = ("hits", "misses", "evictions", "expirations", "corrupt", "repaired", "bytes")


class Statistics:
    """Reads the statistics of the cache of one namespace."""

    def __init__(self, config: CacheConfig, shards: Shards, near: NearEntries | None) -> None:
        self._config = config
        self._shards = shards
        self._near = near

    async def read_all(self) -> dict[str, Any]:
        """Return the statistics of all processes, then those of this process."""
        live, expired, *counts = await self._shards.stats(list(_FIELDS))
        statistics = dict(zip(_FIELDS, counts, strict=True))
        statistics["expirations"] += expired
        return {
            "size": live,
            "max_size": self._config.max_size,
            "hit_rate": _percent(statistics["hits"], statistics["misses"]),
            "default_ttl": self._config.default_ttl,
            **statistics,
            **self.read_local(),
        }

    def read_local(self) -> dict[str, Any]:
        """Return the statistics of this process alone."""
        if self._near is None:
            return {}
        return {"near_size": len(self._near), "near_listening": self._near.is_listening}

    async def count_live(self) -> int:
        """Return the number of live entries."""
        live, *_ = await self._shards.stats(["hits"])
        return live

    async def compute_hit_rate(self) -> float:
        """Return the hits of all requests of all processes, 0 to 100; 0.0 before any request."""
        _, _, hits, misses = await self._shards.stats(["hits", "misses"])
        return _percent(hits, misses)


def _percent(hits: int, misses: int) -> float:
    return 100.0 * hits / (hits + misses) if hits + misses else 0.0
