"""The lease by which one watch of a namespace leads."""

from __future__ import annotations

import secrets

from edge_redis._core.validation import to_milliseconds
from edge_redis._health import watch_scripts
from edge_redis._health.config import HealthConfig, WatchConfig
from edge_redis._health.keys import HealthKeys
from edge_redis._health.watch_scripts import Term


class Leadership:
    """A watch's claim to lead its namespace."""

    def __init__(self, keys: HealthKeys, config: HealthConfig, watch: WatchConfig) -> None:
        self._keys = keys
        self._config = config
        self._lease_ms = to_milliseconds(watch.lease)
        self._gap_ms = to_milliseconds(watch.gap)
        self.is_released = False
        self.renew_identity()

    def renew_identity(self) -> None:
        """Reset state in a forked child: it is another holder."""
        self._holder = secrets.token_hex(8)

    async def take(self) -> Term:
        """Take or keep the lease and begin a round; the term's number is 0 where another watch leads."""
        if self.is_released:
            return Term(0, 0, 0, 0, 0, 0)
        return await watch_scripts.leader_lease(
            self._keys, self._config, self._holder, lease_ms=self._lease_ms, gap_ms=self._gap_ms
        )

    async def release(self) -> None:
        """Release the lease for good."""
        self.is_released = True  # a round in the background must not take it again
        await watch_scripts.release_lease(self._keys.leader, self._holder)
