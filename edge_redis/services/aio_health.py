"""HealthMonitor."""

from edge_redis.core.subject import Subject
from edge_redis.services.base import AsyncService


class HealthMonitor(AsyncService[Subject]):
    """Under construction."""
