"""HealthMonitor."""

from edge_redis.core.subject import Subject
from edge_redis.services.base import Service


class HealthMonitor(Service[Subject]):
    """Under construction."""
