"""EdgeCache."""

from edge_redis.core.subject import Subject
from edge_redis.services.base import Service


class EdgeCache(Service[Subject]):
    """Under construction."""
