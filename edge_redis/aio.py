"""The services for asyncio clients: the same names and semantics, methods and properties awaited."""

from edge_redis._core.public import publish
from edge_redis._io.connect import connect_async as connect
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._services.aio.cache import EdgeCache
from edge_redis._services.aio.cloud import RedisCloudStore
from edge_redis._services.aio.health import HealthMonitor
from edge_redis._services.aio.health_relay import TransitionRelay
from edge_redis._services.aio.health_watch import HealthWatch
from edge_redis._services.aio.metrics import EdgeMetrics
from edge_redis._services.aio.namespace_workers import NamespaceWorkers
from edge_redis._services.aio.sync import EdgeSynchronizer
from edge_redis._services.aio.worker import CloudWorker

__all__ = [
    "CloudWorker",
    "EdgeCache",
    "EdgeMetrics",
    "EdgeRedis",
    "EdgeSynchronizer",
    "HealthMonitor",
    "HealthWatch",
    "NamespaceWorkers",
    "RedisCloudStore",
    "TransitionRelay",
    "connect",
]

publish(__name__, globals(), __all__)
