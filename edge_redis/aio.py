"""The services for asyncio clients: the same names and semantics, methods and properties awaited."""

from edge_redis._io.connect import connect_async as connect
from edge_redis._services.aio_bundle import EdgeRedis
from edge_redis._services.aio_cache import EdgeCache
from edge_redis._services.aio_cloud import RedisCloudStore
from edge_redis._services.aio_health import HealthMonitor
from edge_redis._services.aio_health_relay import TransitionRelay
from edge_redis._services.aio_health_watch import HealthWatch
from edge_redis._services.aio_metrics import EdgeMetrics
from edge_redis._services.aio_state import EdgeSynchronizer
from edge_redis._services.aio_worker import CloudWorker

__all__ = [
    "CloudWorker",
    "EdgeCache",
    "EdgeMetrics",
    "EdgeRedis",
    "EdgeSynchronizer",
    "HealthMonitor",
    "HealthWatch",
    "RedisCloudStore",
    "TransitionRelay",
    "connect",
]
