"""Requests that writers publish their writes, for a near cache that the server sends no invalidation messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.shards import Shards
from edge_redis._core.gather import gather
from edge_redis.errors import StoreError

ANNOUNCE_SECONDS: Final = 10.0
"""How long writers publish after one request."""

RENEW_SECONDS: Final = 2.0


class Announcements:
    """Keeps writers publishing while the near cache needs it."""

    def __init__(self, near: NearEntries, shards: Shards, clock: Callable[[], float]) -> None:
        self._near = near
        self._shards = shards
        self._clock = clock
        self._requested_at = float("-inf")

    async def renew(self) -> None:
        """Request announcements where they are needed and about to run out."""
        now = self._clock()
        if not self._near.needs_announcements or (
            self._near.announced_since is not None and now - self._requested_at < RENEW_SECONDS
        ):
            return
        ms = round(ANNOUNCE_SECONDS * 1000)
        try:
            since = await gather([shard.scripts.announce_writes(ms) for shard in self._shards.all])
        except StoreError:
            if now - self._requested_at > ANNOUNCE_SECONDS:
                self._near.suspend()
            raise
        self._requested_at = now
        self._near.on_announced(since)
