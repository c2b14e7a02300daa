"""EdgeCache."""

from edge_redis.core.subject import Subject
from edge_redis.services.base import AsyncService


class EdgeCache(AsyncService[Subject]):
    """Under construction."""
