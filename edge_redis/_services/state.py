"""EdgeSynchronizer, beside CloudWorker and RedisCloudStore, on a blocking client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_redis._services.base import Service
from edge_redis._services.bind import blocking, blocking_property
from edge_redis._services.cloud import RedisCloudStore
from edge_redis._services.worker import CloudWorker
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS
from edge_redis._sync.synchronizer import Synchronizer
from edge_redis.models import ConflictStrategy

if TYPE_CHECKING:
    from edge_redis._io.runner import BlockingClient

__all__ = ["CloudWorker", "EdgeSynchronizer", "RedisCloudStore"]


class EdgeSynchronizer(Service[Synchronizer]):
    """Keeps the state of a scope at an edge, and an outbox of what the cloud has not had yet.

    Args:
        client: a Redis or Valkey client with ``decode_responses=False``.
        conflict_strategy: which of two concurrent states wins.
        max_pending: changes kept in the outbox, up to 1,000,000. Past it the oldest coalesce into their successors.
        scope: the name of what is synchronized; all synchronizers of a scope share it.
        namespace: scopes of two namespaces share nothing.
        origin: the name under which states written here travel; by default the store's random one.
            "cloud" carries the cloud's authority.
        overflow: "coalesce", or "reject" for PendingFullError where the outbox is full.
        max_history: exchanges kept, up to 100,000.
        max_conflicts: losing sides kept, up to 100,000.
        max_bytes: of a state written here or given to ``apply_remote``, once encoded; up to 16 MiB, the default.
        max_fields: of such a state, at the top level, up to 1,000,000.
        signing_key: at least 16 bytes, known to this origin and to the workers (``keys``): every change
            written here is signed with it, at the price of one more round trip. ``origin`` must be given.

    """

    def __init__(
        self,
        client: BlockingClient,
        conflict_strategy: ConflictStrategy = ConflictStrategy.REMOTE_WINS,
        max_pending: int = 100,
        *,
        scope: str = "default",
        namespace: str = "default",
        origin: str | None = None,
        overflow: str = "coalesce",
        max_history: int = 1000,
        max_conflicts: int = 1000,
        max_bytes: int = MAX_BYTES,
        max_fields: int = MAX_FIELDS,
        signing_key: bytes | None = None,
    ) -> None:
        room = Synchronizer(
            conflict_strategy,
            max_pending,
            scope=scope,
            namespace=namespace,
            origin=origin,
            overflow=overflow,
            max_history=max_history,
            max_conflicts=max_conflicts,
            max_bytes=max_bytes,
            max_fields=max_fields,
            signing_key=signing_key,
        )
        super().__init__(client, room)

    local_version = blocking_property(Synchronizer.local_version)
    remote_version = blocking_property(Synchronizer.remote_version)
    pending_count = blocking_property(Synchronizer.pending_count)
    is_synced = blocking_property(Synchronizer.is_synced)
    get_local_state = blocking(Synchronizer.get_local_state)
    update_local = blocking(Synchronizer.update_local)
    delete_fields = blocking(Synchronizer.delete_fields)
    delete = blocking(Synchronizer.delete)
    apply_remote = blocking(Synchronizer.apply_remote)
    get_pending_changes = blocking(Synchronizer.get_pending_changes)
    confirm_sync = blocking(Synchronizer.confirm_sync)
    sync_history = blocking(Synchronizer.sync_history)
    conflicts = blocking(Synchronizer.conflicts)
    resolve = blocking(Synchronizer.resolve)
    summary = blocking(Synchronizer.summary)
