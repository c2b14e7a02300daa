"""The services for asyncio clients: the same names and semantics, methods and properties awaited."""

from edge_redis.services.aio_cache import EdgeCache
from edge_redis.services.aio_health import HealthMonitor
from edge_redis.services.aio_metrics import EdgeMetrics
from edge_redis.services.aio_state import CloudWorker, EdgeSynchronizer, RedisCloudStore

__all__ = ["CloudWorker", "EdgeCache", "EdgeMetrics", "EdgeSynchronizer", "HealthMonitor", "RedisCloudStore"]
