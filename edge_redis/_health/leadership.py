"""The lease by which one watch of a namespace leads.

The lease is in the first shard. What it grants is written to all others before the watch checks any node, and each
shard refuses a lower term than the highest it has seen: so once a watch leads, an earlier one writes nothing anywhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from edge_redis._core.operation import Batch
from edge_redis._core.validation import to_milliseconds
from edge_redis._health import watch_scripts
from edge_redis._health.config import HealthConfig, WatchConfig
from edge_redis._health.keys import HealthKeys
from edge_redis._health.watch_scripts import Lease, Term

_STAND_BY: Final = Term(0, 0, 0, 0, 0, 0)


class Leadership:
    """A watch's claim to lead its namespace."""

    def __init__(self, config: HealthConfig, watch: WatchConfig) -> None:
        threshold = config.phi_threshold if config.uses_phi else ""
        lease_ms, gap_ms = to_milliseconds(watch.lease), to_milliseconds(watch.gap)
        self._lease = Lease("", lease_ms, gap_ms, config.timeout_ms, threshold)
        self._refused = 0
        """The highest term for which a shard has refused a lower one: the first shard had lost it."""
        self.is_released = False
        self.renew_identity()

    def renew_identity(self) -> None:
        """Reset state in a forked child: it is another holder."""
        self._lease = self._lease._replace(holder=secrets.token_hex(8))

    async def take(self, shards: Sequence[HealthKeys]) -> list[Term]:
        """Take or keep the lease and begin a round; the term in each shard, of number 0 where another watch leads."""
        if self.is_released:
            return [_STAND_BY] * len(shards)
        home = await watch_scripts.take_lease(shards[0], self._lease, self._refused)
        if len(shards) == 1:
            return [home]
        others = await Batch([watch_scripts.follow_lease(keys, self._lease, home.number) for keys in shards[1:]])
        refused = max(-term.number for term in others)
        if refused <= 0:
            return [home, *others]
        self._refused = refused  # the next round takes a higher term
        return [home._replace(number=0), *others]

    async def release(self, shards: Sequence[HealthKeys]) -> None:
        """Release the lease for good."""
        self.is_released = True  # a round in the background must not take it again
        if shards:
            await Batch([watch_scripts.release_lease(keys.leader, self._lease.holder) for keys in shards])
