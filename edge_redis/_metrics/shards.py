"""The shards of the metrics of a namespace; ``_core/shards.py`` says how they are named and counted."""

from __future__ import annotations

from edge_redis._core.shards import ShardCount, ShardSet, share_of
from edge_redis._metrics.config import MetricsConfig
from edge_redis._metrics.keys import LAYOUT_VERSION, MetricsKeys
from edge_redis._metrics.scripts import MetricsScripts


def make_shards(config: MetricsConfig) -> ShardSet[MetricsScripts]:
    """Return the scripts of each shard of the metrics with these options."""
    count = ShardCount(config.namespace, "metrics", LAYOUT_VERSION, config.shards, config.default_shards)

    def make(name: str, number: int, shards: int) -> MetricsScripts:
        return MetricsScripts(
            MetricsKeys(config.namespace, name), config, max_series=share_of(config.max_series, number, shards)
        )

    return ShardSet(count, make)
