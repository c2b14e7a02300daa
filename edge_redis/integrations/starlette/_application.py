"""What the parts of this integration share within one run of an application."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._services.aio.cache import EdgeCache
from edge_redis._services.aio.worker import CloudWorker
from edge_redis.errors import ClientConfigurationError
from edge_redis.models import EdgeNode

STATE_KEY: Final = "edge_redis"


@dataclass(slots=True)
class Application:
    """The services of a running application."""

    edge: EdgeRedis
    stack: AsyncExitStack
    """Closed when the application ends, before the services are."""
    node: EdgeNode | None = None
    heartbeat_seconds: float = 0.0
    last_heartbeat_at: float | None = None
    """When the last heartbeat was recorded, by the monotonic clock."""
    worker: CloudWorker | None = None
    response_cache: EdgeCache | None = None

    @property
    def heartbeat_age(self) -> float | None:
        """Seconds since this process last recorded its heartbeat; None where it has not."""
        return None if self.last_heartbeat_at is None else time.monotonic() - self.last_heartbeat_at


def find_application(state: Mapping[str, Any]) -> Application:
    """Return the running application from the state of a connection.

    Raises:
        ClientConfigurationError: its lifespan is not an EdgeLifespan, or did not run.

    """
    found = state.get(STATE_KEY)
    if not isinstance(found, Application):
        raise ClientConfigurationError(
            "no services in the application's state: give the application an EdgeLifespan, and run it with a server"
            " that supports the state of lifespans (in tests: `with TestClient(app) as client`)"
        )
    return found
