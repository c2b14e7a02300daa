"""The functions of a site, as operators see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edge_redis.models import InvocationRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """The invocations of one minute."""

    minute: datetime
    total: int
    errors: int
    avg_latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Percentiles, in milliseconds, of the calls in an interval that ends at ``end``."""

    end: datetime
    count: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionState:
    """The figures of one function, of a function on a node, or of all together (``name`` is then empty)."""

    name: str
    node_id: str = ""
    total: int
    errors: int
    success_rate: float
    avg_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """All functions, those with the most invocations first."""

    all: FunctionState
    functions: tuple[FunctionState, ...] = ()
    series: int = 0
    """Number of (function, node) pairs."""
    max_series: int = 0
    overflow: int = 0
    """Invocations counted under ``_other`` for lack of series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionDetail:
    """One function in detail."""

    summary: FunctionState
    nodes: tuple[FunctionState, ...]
    """On each node, up to a bound."""
    node_count: int
    minutes: tuple[Minute, ...]
    latencies: tuple[Latencies, ...]
    """Percentiles over time, of the latest records that are kept."""
    errors: tuple[InvocationRecord, ...]
    """The latest failures, newest first."""
