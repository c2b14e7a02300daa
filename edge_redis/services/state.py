"""EdgeSynchronizer."""

from edge_redis.core.subject import Subject
from edge_redis.services.base import Service


class EdgeSynchronizer(Service[Subject]):
    """Under construction."""


class CloudWorker:
    """Under construction."""


class RedisCloudStore:
    """Under construction."""
