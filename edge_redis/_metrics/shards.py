"""The shards of the metrics of a namespace; ``_core/shards.py`` says how they are named and counted.

Their number is changed without moving anything (``resharding.py``): records go to the shards of the present number, and
queries add up those of earlier numbers too. A process that has read an older record learns that from the shards: those
of an earlier number are closed, so that a batch that has not begun there goes to the present ones, and a query that
takes a shard for a present one is refused, and begins again.
"""

from __future__ import annotations

from edge_redis._core.shard_record import ShardRecord
from edge_redis._core.shards import ShardCount, Shards, ShardSet, share_of
from edge_redis._metrics.config import MetricsConfig
from edge_redis._metrics.keys import LAYOUT_VERSION, MetricsKeys
from edge_redis._metrics.scripts import MetricsScripts


class MetricsShards(ShardSet[MetricsScripts]):
    """The scripts of each shard of the metrics: first those of the present number, then those of earlier ones."""

    def __init__(self, config: MetricsConfig) -> None:
        super().__init__(_count(config), lambda *place: _make(config, *place, is_checked=True))
        self._earlier = ShardSet(self.count, lambda *place: _make(config, *place, is_checked=False))

    def at(self, record: ShardRecord) -> Shards[MetricsScripts]:
        """Return all shards of a record. Reads of the present ones are checked."""
        earlier = self._earlier.at(record)[record.shards :]
        return Shards.of(record, (*self.of(record.shards), *earlier))

    def unchecked(self, shards: int) -> tuple[MetricsScripts, ...]:
        """Return all shards of this number of them, for reads that are not checked."""
        return self._earlier.of(shards)

    async def refresh_unchecked(self) -> Shards[MetricsScripts]:
        """Read the record again, and return all shards, for a query that was refused: its reads are not checked."""
        return self._earlier.at((await self.refresh()).record)


def make_shards(config: MetricsConfig) -> MetricsShards:
    """Return the shards of the metrics with these options."""
    return MetricsShards(config)


def _count(config: MetricsConfig) -> ShardCount:
    return ShardCount(config.namespace, "metrics", LAYOUT_VERSION, config.shards, config.default_shards)


def _make(config: MetricsConfig, name: str, number: int, shards: int, *, is_checked: bool) -> MetricsScripts:
    keys, most = MetricsKeys(config.namespace, name), share_of(config.max_series, number, shards)
    return MetricsScripts(keys, config, max_series=most, is_checked=is_checked)
