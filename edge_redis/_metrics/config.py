"""What a writer and reader of metrics is told, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_redis._core import validation

LONGEST_TIMELINE: Final = 7 * 24 * 60
"""Minutes. A minute of a series takes about 20 bytes in Redis, and its hash a hundred."""

_LONGEST_INTERVAL_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of EdgeMetrics; see there."""

    flush_interval: float
    flush_every: int
    max_recent: int
    max_series: int
    timeline_minutes: int
    node_id: str
    slow_ms: float | None = None
    max_errors: int = 1000

    def __post_init__(self) -> None:
        if validation.positive("flush_interval", self.flush_interval) > _LONGEST_INTERVAL_SECONDS:
            raise validation.value_error("flush_interval", self.flush_interval, "must be at most an hour (3600)")
        validation.integer("flush_every", self.flush_every, least=1, most=1_000_000)
        validation.integer("max_recent", self.max_recent, least=0, most=1_000_000)
        validation.integer("max_errors", self.max_errors, least=0, most=1_000_000)
        validation.integer("max_series", self.max_series, least=1, most=1_000_000)
        validation.integer("timeline_minutes", self.timeline_minutes, least=1, most=LONGEST_TIMELINE)
        validation.identifier("node_id", self.node_id)
        if self.slow_ms is not None:
            validation.positive("slow_ms", self.slow_ms)
