# Generated from edge_redis/_services/aio/sync.py by scripts/dev/generate_blocking.py. Do not edit.
"""EdgeSynchronizer for a blocking client."""

from __future__ import annotations

from typing import Any, cast

from edge_redis._io.clients import BlockingClient
from edge_redis._io.service import BlockingService
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS
from edge_redis._sync.synchronizer import Synchronizer
from edge_redis.models import ConflictStrategy, SyncEvent, SyncState
from edge_redis.types import Conflict, Overflow, PendingChange, SyncSummary


class EdgeSynchronizer(BlockingService[Synchronizer]):
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
        overflow: Overflow = "coalesce",
        max_history: int = 1000,
        max_conflicts: int = 1000,
        max_bytes: int = MAX_BYTES,
        max_fields: int = MAX_FIELDS,
        signing_key: bytes | None = None,
    ) -> None:
        component = Synchronizer(
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
        super().__init__(client, component)

    @property
    def local_version(self) -> int:
        """The version of the local state, 0 where there is none."""
        return self._run(self._component.local_version())

    @property
    def remote_version(self) -> int:
        """The newest version known to be at the other end, 0 where none is."""
        return self._run(self._component.remote_version())

    @property
    def pending_count(self) -> int:
        """How many changes wait for the other end."""
        return self._run(self._component.pending_count())

    @property
    def is_synced(self) -> bool:
        """Whether nothing is pending and both ends have the same version, as far as is known here."""
        return self._run(self._component.is_synced())

    def get_local_state(self) -> SyncState | None:
        """Return the local state, None where there is none.

        Raises:
            CorruptDataError: what is in Redis does not decode.
            ChecksumMismatchError: what is in Redis is not what its checksum was made of.

        """
        return self._run(self._component.get_local_state())

    def change_strategy(self, conflict_strategy: ConflictStrategy) -> None:
        """Set the scope's strategy at this edge, and that of this synchronizer.

        The first write of a synchronizer sets the strategy of its scope; writes with another one are refused until this
        changes it. Other synchronizers of the scope, made with the former strategy, are then refused.

        Args:
            conflict_strategy: from now on.

        Raises:
            InvalidArgumentError, InvalidTypeError: it is no ConflictStrategy.

        """
        self._run(self._component.change_strategy(conflict_strategy))

    def update_local(self, data: dict[str, Any], is_delta: bool = False) -> SyncState:  # noqa: FBT001, FBT002 -- the contract's signature
        """Write the next version and put it in the outbox; return it.

        Args:
            data: a dict with str keys and values that the codec carries.
            is_delta: merge ``data`` into the top level of the local state instead of replacing it.

        However many processes write at once, versions are distinct and without gaps, and no
        delta is lost.

        Raises:
            InvalidArgumentError: the data cannot be encoded; InvalidTypeError where it is of a wrong type.
            ValueTooLargeError, TooManyFieldsError: the data, or what the delta makes, are over ``max_bytes`` or
                ``max_fields``; nothing was written.
            ChecksumMismatchError: the local state that a delta is made of is damaged; nothing was written.
            PendingFullError: ``max_pending`` changes wait, and overflow is "reject"; nothing was written.
            StrategyMismatchError: the scope has another strategy at this edge; nothing was written.

        """
        return self._run(self._component.update_local(data, is_delta))

    def delete_fields(self, *names: str) -> SyncState:
        """Write the next version without these fields of the top level; return it. One that is not there is no matter.

        Raises what ``update_local`` raises, but for the limits: a state that came from the cloud over
        them gets back within them so.
        """
        return self._run(self._component.delete_fields(*names))

    def delete(self) -> bool:
        """Delete the scope, here and, as every change travels, everywhere; return whether there was anything.

        A delete is a version like any other: it wins or loses by the same rule, and what is
        written next has the version after it, so a scope that is created again stays.

        Raises:
            PendingFullError: ``max_pending`` changes wait, and overflow is "reject"; nothing was written.

        """
        return self._run(self._component.delete())

    def apply_remote(self, state: SyncState) -> bool:
        """Let a state of the other end win or lose against the local one; return whether it was applied.

        Both outcomes are recorded in the history. Where neither side was written in knowledge of
        the other, the loser is kept among the conflicts. Pending changes stay pending: the other
        end, which decides by the same order, refuses what lost here. The local version never goes
        back: a state that wins by its clock with a lower version raises no version.

        MERGE takes from it every field whose change is later than the one here; all fields of a state
        that a user gives count as changed at its ``updated_at``.

        LOCAL_WINS keeps the local state and, where the remote version is not lower, writes it
        again above that, so that the other end takes it.

        Raises:
            ValueTooLargeError, TooManyFieldsError: the state is over ``max_bytes`` or ``max_fields``; nothing
                was written. What MERGE makes of it and the local one is not bound.
            ChecksumMismatchError: the state does not match its own checksum. It is recorded as a failed pull.
            StrategyMismatchError: the scope has another strategy at this edge; nothing was written.

        """
        return self._run(self._component.apply_remote(state))

    def get_pending_changes(self) -> list[PendingChange]:
        """Return what waits for the other end, oldest first.

        Each is a dict of type ("update" or "delete"), version, data (the full state at that version, None of a delete),
        timestamp (UTC) and is_delta (whether it was written as a delta).
        """
        return cast("list[PendingChange]", self._run(self._component.get_pending_changes()))

    def confirm_sync(self, up_to_version: int) -> int:
        """Take changes up to and including a version from the outbox: the other end has them.

        Returns how many were removed.

        Raises:
            InvalidArgumentError: the version is above the local one; nothing was removed.

        """
        return self._run(self._component.confirm_sync(up_to_version))

    def sync_history(self, limit: int = 20) -> list[SyncEvent]:
        """Return the newest ``limit`` exchanges with the other end, oldest first."""
        return self._run(self._component.sync_history(limit))

    def conflicts(self, limit: int = 20) -> list[Conflict]:
        """Return the losing sides of the newest ``limit`` conflicts, oldest first.

        Each is a dict of id (for ``resolve``), version, data (None of a delete), checksum, updated_at and origin of
        what lost, lost ("local" or "remote"), winner (a dict of the same without data) and timestamp.
        """
        return cast("list[Conflict]", self._run(self._component.conflicts(limit)))

    def resolve(self, conflict_id: str, data: dict[str, Any] | None = None) -> SyncState:
        """Settle a conflict: write a choice as the next version and take the conflict from the list.

        Args:
            conflict_id: the id of one of ``conflicts()``.
            data: what is to be the state; by default what lost.

        The choice travels as every update does. Cut off in between, it is written and the
        conflict still listed.

        Raises:
            InvalidArgumentError: no conflict of this scope has this id; nothing was written.

        """
        return self._run(self._component.resolve(conflict_id, data))

    def summary(self) -> SyncSummary:
        """Return local_version, remote_version, pending_changes, is_synced, sync_events and conflict_strategy."""
        return cast("SyncSummary", self._run(self._component.summary()))
