"""Appends events to the histories of scopes."""

from __future__ import annotations

import logging

from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._sync import scripts
from edge_redis._sync.failures import OUTAGE
from edge_redis._sync.replica import Replica
from edge_redis.errors import EdgeRedisError
from edge_redis.models import SyncEvent

_log = logging.getLogger("edge_redis")


class EventRecorder:
    """Appends each event once, however often the call is sent."""

    def __init__(self) -> None:
        self._idempotency = IdempotencyKeys()

    async def record(self, replica: Replica, scope: str, event: SyncEvent) -> None:
        """Append an event to the history of a scope."""
        with self._idempotency.acquire() as key:
            await scripts.record_event(replica, scope, event, key)

    async def try_record(self, replica: Replica, scope: str, event: SyncEvent) -> None:
        """Append an event, or log why not: damaged keys of one scope must not stop the others.

        An outage is raised.
        """
        try:
            await self.record(replica, scope, event)
        except OUTAGE:
            raise
        except EdgeRedisError as error:
            _log.error("the event could not be added to the history of %r: %s", scope, error)
