"""Host telemetry by psutil: the readings of a live edge process, and the resources in its heartbeats."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Final

from edge_redis.errors import MissingExtraError
from edge_redis.models import ResourceUsage

try:
    import psutil
except ImportError as error:  # pragma: no cover -- the tests install it
    raise MissingExtraError("host telemetry needs psutil: pip install 'edge-redis[agent]'") from error

_MB: Final = 1_000_000


def sample() -> dict[str, float]:
    """Return one reading of the host and of this process; CPU usage is the percentage since the previous sample."""
    memory = psutil.virtual_memory()
    network = psutil.net_io_counters()
    return {
        "cpu_percent": psutil.cpu_percent(),
        "memory_percent": memory.percent,
        "memory_mb": memory.used / _MB,
        "memory_max_mb": memory.total / _MB,
        "load_1_min": psutil.getloadavg()[0],
        "process_mb": psutil.Process().memory_info().rss / _MB,
        "sent_mb": network.bytes_sent / _MB if network else 0.0,
        "received_mb": network.bytes_recv / _MB if network else 0.0,
    }


def resource_usage(fields: Mapping[str, float], active_functions: int) -> ResourceUsage:
    """Return the resources of a heartbeat, from a sample."""
    return ResourceUsage(
        cpu_percent=fields["cpu_percent"],
        memory_mb=fields["memory_mb"],
        memory_max_mb=fields["memory_max_mb"],
        disk_mb=shutil.disk_usage("/").used / _MB,
        active_functions=active_functions,
    )
