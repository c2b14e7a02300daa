"""The services as every process of the demo site opens them: the same names and limits for all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis._services.blocking.metrics import EdgeMetrics

CACHE_TTL_SECONDS: Final = 24 * 3600.0
"""Results of pure functions do not become stale; they are evicted when the cache is full."""
MAX_TRANSITIONS: Final = 100_000
"""Health transitions kept, and read, at most."""


def open_services(
    url: str,
    namespace: str,
    *,
    timeout_seconds: float,
    cache_size: int,
    clock: Callable[[], datetime] | None = None,
) -> EdgeRedis:
    """Return the services of a namespace. Nothing is sent to the server yet."""
    return EdgeRedis.from_url(
        url,
        namespace=namespace,
        cache={"max_size": cache_size, "default_ttl": CACHE_TTL_SECONDS},
        health={
            "heartbeat_timeout_seconds": timeout_seconds,
            "max_transitions": MAX_TRANSITIONS,
            "clock": clock,
        },
    )


def open_operation_metrics(services: EdgeRedis) -> EdgeMetrics:
    """Return the metrics that count heartbeats and checks, separate from those of the functions."""
    return EdgeMetrics(services.client, namespace=operations_namespace(services.namespace))


def operations_namespace(namespace: str) -> str:
    """Return the namespace of a site's operation metrics."""
    return f"{namespace}.operations"
