"""The options of EdgeMetrics, validated once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from edge_redis._core import validation
from edge_redis._core.keys import check_namespace
from edge_redis._core.shards import check_shards

MAX_TIMELINE_MINUTES: Final = 7 * 24 * 60
"""A minute of a series takes about 20 bytes in Redis, and its hash a hundred."""

MAX_FLUSH_INTERVAL_SECONDS: Final = 3600.0

_MAX_COUNT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """The options of ``EdgeMetrics``, which documents each of them."""

    namespace: str = "default"
    flush_interval: float = 1.0
    flush_every: int = 1000
    max_recent: int = 10_000
    max_series: int = 10_000
    timeline_minutes: int = 1440
    node_id: str = "node"
    slow_ms: float | None = None
    max_errors: int = 1000
    shards: int | None = None
    default_shards: int = 1
    """Shards of a namespace that has none yet, where ``shards`` is None."""

    def __post_init__(self) -> None:
        check_namespace(self.namespace)
        if validation.check_positive("flush_interval", self.flush_interval) > MAX_FLUSH_INTERVAL_SECONDS:
            raise validation.value_error("flush_interval", self.flush_interval, "must be at most an hour (3600)")
        validation.check_integer("flush_every", self.flush_every, least=1, most=_MAX_COUNT)
        validation.check_integer("max_recent", self.max_recent, least=0, most=_MAX_COUNT)
        validation.check_integer("max_errors", self.max_errors, least=0, most=_MAX_COUNT)
        validation.check_integer("max_series", self.max_series, least=1, most=_MAX_COUNT)
        validation.check_integer("timeline_minutes", self.timeline_minutes, least=1, most=MAX_TIMELINE_MINUTES)
        validation.check_identifier("node_id", self.node_id)
        if (shards := check_shards(self.shards)) is not None and shards > self.max_series:
            raise validation.value_error("shards", shards, "must not be above max_series")
        if self.slow_ms is not None:
            validation.check_positive("slow_ms", self.slow_ms)

    @property
    def slow_limit_ms(self) -> float:
        """The duration above which a success counts as slow."""
        return math.inf if self.slow_ms is None else self.slow_ms
