"""RedisCloudStore on a blocking client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_redis._services.base import Service
from edge_redis._services.bind import blocking
from edge_redis._sync.cloud import SCOPES_AT_ONCE, Cloud
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS

if TYPE_CHECKING:
    from edge_redis._io.runner import BlockingClient


class RedisCloudStore(Service[Cloud]):
    """The cloud's states in Redis: what a CloudWorker pushes to and pulls from.

    Args:
        client: a Redis or Valkey client with ``decode_responses=False``.
        namespace: that of the edges it serves.
        max_history: pushed changes kept a scope, up to 100,000.
        max_conflicts: losing sides kept a scope, up to 100,000.
        max_bytes: of a state written here, once encoded; up to 16 MiB, the default. Edges' changes are not bound.
        max_fields: of such a state, at the top level, up to 1,000,000.

    """

    scopes_at_once = SCOPES_AT_ONCE
    """How many scopes a CloudWorker pushes at once."""

    def __init__(
        self,
        client: BlockingClient,
        *,
        namespace: str = "default",
        max_history: int = 1000,
        max_conflicts: int = 1000,
        max_bytes: int = MAX_BYTES,
        max_fields: int = MAX_FIELDS,
    ) -> None:
        room = Cloud(
            namespace=namespace,
            max_history=max_history,
            max_conflicts=max_conflicts,
            max_bytes=max_bytes,
            max_fields=max_fields,
        )
        super().__init__(client, room)

    get = blocking(Cloud.get)
    update = blocking(Cloud.update)
    delete_fields = blocking(Cloud.delete_fields)
    delete = blocking(Cloud.delete)
    apply = blocking(Cloud.apply)
    changes_since = blocking(Cloud.changes_since)
    release_authority = blocking(Cloud.release_authority)
    collect = blocking(Cloud.collect)
    sync_history = blocking(Cloud.sync_history)
    conflicts = blocking(Cloud.conflicts)
