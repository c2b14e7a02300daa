"""EdgeSynchronizer for an asyncio client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from edge_redis._core.replication import TIMEOUT_SECONDS, check_replication
from edge_redis._io.clients import AsyncClient
from edge_redis._io.service import AsyncService
from edge_redis._io.user_functions import adapt_callback_async
from edge_redis._services.components import edge_shards, write_queue
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS
from edge_redis._sync.remote_changes import RemoteChangeCalls, RemoteChanges
from edge_redis._sync.synchronizer import Synchronizer
from edge_redis.models import ConflictStrategy, SyncEvent, SyncState
from edge_redis.types import Conflict, Overflow, PendingChange, SyncSummary


class EdgeSynchronizer(AsyncService[Synchronizer]):
    """Keeps the state of a scope at an edge, and an outbox of the changes that the cloud has not confirmed.

    Args:
        client: a Redis or Valkey client with ``decode_responses=False``.
        conflict_strategy: which of two concurrent states wins.
        max_pending: changes kept in the outbox, up to 1,000,000. When it is full, the oldest coalesce into later ones.
        scope: the name of the state that is synchronized; synchronizers of one scope share the state.
        namespace: scopes of two namespaces share nothing.
        origin: the name of the writer in the states written here; by default the store's random id.
            "cloud" wins over every other name at equal versions.
        overflow: when the outbox is full: "coalesce", or "reject" to raise PendingFullError.
        max_history: exchanges with the cloud that are kept, up to 100,000.
        max_conflicts: losing sides of conflicts that are kept, up to 100,000.
        max_bytes: most bytes of an encoded state written here or given to ``apply_remote``; up to 16 MiB, the default.
        max_fields: most top-level fields of such a state, up to 1,000,000.
        signing_key: at least 16 bytes, known to this origin and to the workers (``keys``): every change
            written here is signed with it, at the cost of one more round trip. ``origin`` must be given.
        max_pending_bytes: about the most bytes that the outbox takes, by default not bounded: past it as past
            ``max_pending``. One change is kept whatever its size.
        shards: parts of the edge's side of a namespace, each in a hash slot of its own with the scopes that a hash
            assigns to it. None for the number that the namespace has; where nothing was written yet that is 1, or 12
            on a cluster. Another number than the namespace has is refused at the first call.

    """

    def __init__(
        self,
        client: AsyncClient,
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
        max_pending_bytes: int | None = None,
        shards: int | None = None,
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
            max_pending_bytes=max_pending_bytes,
            queue=write_queue(client, namespace),
            shards=edge_shards(client, namespace, shards),
        )
        super().__init__(client, component)

    @property
    async def local_version(self) -> int:
        """The version of the local state, 0 where there is none."""
        return await self._run(self._component.local_version())

    @property
    async def remote_version(self) -> int:
        """The newest version known to be at the other end, 0 where none is."""
        return await self._run(self._component.remote_version())

    @property
    async def pending_count(self) -> int:
        """The number of changes in the outbox."""
        return await self._run(self._component.pending_count())

    @property
    async def pending_bytes(self) -> int:
        """About how many bytes the outbox takes: bodies, and 256 bytes for each change."""
        return await self._run(self._component.pending_bytes())

    @property
    async def is_synced(self) -> bool:
        """Whether nothing is pending and both ends have the same version, as far as is known here."""
        return await self._run(self._component.is_synced())

    async def get_local_state(self) -> SyncState | None:
        """Return the local state, None where there is none.

        Raises:
            CorruptDataError: the data in Redis do not decode.
            ChecksumMismatchError: the data in Redis do not match their checksum.

        """
        return await self._run(self._component.get_local_state())

    async def change_strategy(self, conflict_strategy: ConflictStrategy) -> None:
        """Set the scope's strategy at this edge, and that of this synchronizer.

        The first write of a synchronizer sets the strategy of its scope; writes with another one are refused until this
        changes it. Other synchronizers of the scope, made with the former strategy, are then refused.

        Args:
            conflict_strategy: the new strategy.

        Raises:
            InvalidArgumentError, InvalidTypeError: it is not a ConflictStrategy.

        """
        await self._run(self._component.change_strategy(conflict_strategy))

    async def update_local(
        self,
        data: dict[str, Any],
        is_delta: bool = False,  # noqa: FBT001, FBT002 -- the documented signature
        *,
        if_version: int | None = None,
        replicas: int = 0,
        fsync: bool = False,
        replication_timeout: float = TIMEOUT_SECONDS,
    ) -> SyncState:
        """Write the next version and put it in the outbox; return it.

        Args:
            data: a dict with str keys and values that the codec carries.
            is_delta: merge ``data`` into the top level of the local state instead of replacing it.
            if_version: write only where the scope is at this version; 0: only where it has no state, which is so for a
                deleted scope too.
            replicas: wait until so many replicas have the version (WAIT) and, where the server has WAITAOF and an
                append-only file, until it is on the server's disk.
            fsync: wait until it is on the server's disk, and on those of so many replicas (WAITAOF: Redis or Valkey
                7.2, and ``appendonly yes`` on each).
            replication_timeout: seconds to wait for that, below the client's ``socket_timeout``.

        However many processes write at once, versions are distinct and without gaps, and no
        delta is lost.

        Raises:
            InvalidArgumentError: the data cannot be encoded; InvalidTypeError where it is of a wrong type.
            ValueTooLargeError, TooManyFieldsError: the data, or the result of the delta, are over ``max_bytes`` or
                ``max_fields``; nothing was written.
            ChecksumMismatchError: the local state that the delta applies to is damaged; nothing was written.
            VersionMismatchError: the scope is not at ``if_version``; nothing was written.
            PendingFullError: the outbox is full, and overflow is "reject"; nothing was written.
            StrategyMismatchError: the scope has another strategy at this edge; nothing was written.
            NotReplicatedError: it was written, but too few replicas acknowledged it in time, or it is not on the
                disk. The same call again, by this synchronizer and before another version is written, writes none: it
                waits again.

        """
        replication = check_replication(replicas, replication_timeout, fsync=fsync)
        return await self._run(
            self._component.update_local(data, is_delta, if_version=if_version, replication=replication)
        )

    async def delete_fields(self, *names: str) -> SyncState:
        """Write the next version without these top-level fields; return it. Missing fields are ignored.

        Raises what ``update_local`` raises, except for the limits: so a state from the cloud that is over
        the limits can be made smaller.
        """
        return await self._run(self._component.delete_fields(*names))

    async def delete(self) -> bool:
        """Delete the scope, here and, once the change is carried, in the cloud and at every edge.

        Returns whether the scope had a state. A delete is a version like any other: it wins or loses by
        the same rule, and the next write has the version after it, so a scope that is created again stays.

        Raises:
            PendingFullError: the outbox is full, and overflow is "reject"; nothing was written.

        """
        return await self._run(self._component.delete())

    async def apply_remote(self, state: SyncState) -> bool:
        """Apply a state of the other end by the conflict strategy; return whether it won over the local one.

        Both outcomes are recorded in the history. Where neither side was written in knowledge of
        the other, the loser is kept among the conflicts. Pending changes stay pending: the other
        end, which decides by the same order, refuses what lost here. The local version never goes
        down: when a state with a lower version wins by its clock, the local version stays.

        MERGE takes each field whose last change is later than the local one; all fields of a state that
        a user passes count as changed at its ``updated_at``.

        LOCAL_WINS keeps the local state and, where the remote version is not lower, writes it
        again with a higher version, so that the other end accepts it.

        Raises:
            ValueTooLargeError, TooManyFieldsError: the state is over ``max_bytes`` or ``max_fields``; nothing
                was written. The result of MERGE may be over them.
            ChecksumMismatchError: the state does not match its own checksum. It is recorded as a failed pull.
            StrategyMismatchError: the scope has another strategy at this edge; nothing was written.

        """
        return await self._run(self._component.apply_remote(state))

    def changes(self, *, timeout: float | None = None, poll_seconds: float = 0.1) -> AsyncIterator[SyncState | None]:
        """Yield the local state after each change that came down, at most ``poll_seconds`` after it was applied.

        Begins with changes after the iteration began (after this call, for a blocking client). Yields None where the
        scope was deleted. Of several changes at once the state after the last one is yielded; states that lost are not.
        Changes that this edge wrote are left out, but the state may hold later ones of them.

        Args:
            timeout: end after so many seconds without a change; None: never.
            poll_seconds: pause between two reads of this edge's server.

        Ends when this synchronizer is closed. An error of the store ends it too: call ``changes`` again, and read
        ``get_local_state`` for what came in between.
        """
        self._require_open()
        reader = self._component.remote_changes(timeout, poll_seconds)
        # blocking only: self._run(reader.start())
        return self._read_changes(reader)

    async def _read_changes(self, reader: RemoteChanges) -> AsyncIterator[SyncState | None]:
        while not self._closed and not reader.polling.is_over:
            for state in await self._runner.run(reader.step()):
                yield state

    async def on_remote_change(
        self, callback: Callable[[SyncState | None], object], *, poll_seconds: float = 0.1
    ) -> None:
        """Call ``callback`` with the local state after each change that comes down, until ``close``.

        The argument is that of ``changes``: a SyncState, or None where the scope was deleted. It is called in the
        background, one call at a time, from a thread; with ``edge_redis.aio`` a coroutine function is
        awaited in a task. An error that it raises is logged. Errors of the store are logged and waited out.

        Args:
            callback: a function of one argument; may be given several times, each is called.
            poll_seconds: pause between two reads of this edge's server.

        Raises:
            InvalidTypeError: ``callback`` cannot be called.

        """
        call = adapt_callback_async(callback)
        reader = self._component.remote_changes(None, poll_seconds)
        await self._run(reader.start())
        calls = RemoteChangeCalls(reader, call)
        self._repeat(reader.polling.seconds, calls.tick)

    async def get_pending_changes(self) -> list[PendingChange]:
        """Return the changes in the outbox, oldest first.

        Each is a dict of type ("update" or "delete"), version, data (the full state at that version, None of a delete),
        timestamp (UTC) and is_delta (whether it was written as a delta).
        """
        return cast("list[PendingChange]", await self._run(self._component.get_pending_changes()))

    async def confirm_sync(self, up_to_version: int) -> int:
        """Remove changes up to and including a version from the outbox, as the other end has them.

        Returns how many were removed.

        Raises:
            InvalidArgumentError: the version is above the local one; nothing was removed.

        """
        return await self._run(self._component.confirm_sync(up_to_version))

    async def sync_history(self, limit: int = 20) -> list[SyncEvent]:
        """Return the newest ``limit`` exchanges with the other end, oldest first."""
        return await self._run(self._component.sync_history(limit))

    async def conflicts(self, limit: int = 20) -> list[Conflict]:
        """Return the losing sides of the newest ``limit`` conflicts, oldest first.

        Each is a dict of id (for ``resolve``), version, data (None of a delete), checksum, updated_at and origin of
        what lost, lost ("local" or "remote"), winner (a dict of the same without data) and timestamp.
        """
        return cast("list[Conflict]", await self._run(self._component.conflicts(limit)))

    async def resolve(self, conflict_id: str, data: dict[str, Any] | None = None) -> SyncState:
        """Resolve a conflict: write the chosen state as the next version and remove the conflict from the list.

        Args:
            conflict_id: the id of one of ``conflicts()``.
            data: the chosen state; by default the state that lost.

        The new version is carried to the cloud like any update. The write and the removal are one step, so that of
        calls at once for one conflict a single one succeeds.

        Raises:
            InvalidArgumentError: no conflict of this scope has this id (any more); nothing was written.

        """
        return await self._run(self._component.resolve(conflict_id, data))

    async def summary(self) -> SyncSummary:
        """Return local_version, remote_version, pending_changes, is_synced, sync_events and conflict_strategy."""
        return cast("SyncSummary", await self._run(self._component.summary()))
