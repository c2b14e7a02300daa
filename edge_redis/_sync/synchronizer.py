"""An edge's side of a scope: its state, its outbox, and the states that come from the cloud."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import command
from edge_redis._core.replication import Replication
from edge_redis._core.shards import ShardCount
from edge_redis._sync import change, replies, scripts
from edge_redis._sync.change import Outcome
from edge_redis._sync.config import MAX_KEPT, EndConfig, check_strategy
from edge_redis._sync.edge_keys import make_edge_keys
from edge_redis._sync.failures import MOVED
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS, MAX_VERSION, WriteLimits
from edge_redis._sync.many_scopes import check_results, write_each
from edge_redis._sync.merge import merge_into
from edge_redis._sync.records import STREAM_ID
from edge_redis._sync.relocation import read_where_it_is, wait_for_new_shard
from edge_redis._sync.remote_changes import RemoteChanges
from edge_redis._sync.replica import Replica
from edge_redis._sync.signing import Signer
from edge_redis._sync.version_guard import check_if_version
from edge_redis._sync.write_queue import WriteQueue
from edge_redis._sync.writer import VersionWriter, check_field_names
from edge_redis.errors import ChecksumMismatchError
from edge_redis.models import ConflictStrategy, SyncEvent, SyncState
from edge_redis.types import Overflow

T = TypeVar("T")


class Synchronizer(Component):
    """The methods of EdgeSynchronizer, as coroutines. ``EdgeSynchronizer`` documents each of them in full."""

    def __init__(
        self,
        conflict_strategy: ConflictStrategy = ConflictStrategy.REMOTE_WINS,
        max_pending: int = 100,
        *,
        scope: str = "default",
        namespace: str,
        origin: str | None = None,
        overflow: Overflow = "coalesce",
        max_history: int = 1000,
        max_conflicts: int = 1000,
        max_bytes: int = MAX_BYTES,
        max_fields: int = MAX_FIELDS,
        signing_key: bytes | None = None,
        max_pending_bytes: int | None = None,
        queue: WriteQueue | None = None,
        shards: ShardCount | None = None,
    ) -> None:
        self.scope = validation.check_identifier("scope", scope)
        self._config = EndConfig.of_edge(
            conflict_strategy,
            max_pending,
            overflow=overflow,
            origin=origin,
            max_history=max_history,
            max_conflicts=max_conflicts,
            max_pending_bytes=max_pending_bytes,
        )
        self.namespace = namespace
        self._signing_key = signing_key
        self._queue = queue
        self._limits = WriteLimits(max_bytes, max_fields)
        self._idempotency = IdempotencyKeys()
        self._signer = self._make_signer()
        self.shard_count = shards
        """None where it is one."""
        self._keys = make_edge_keys(namespace, shards)
        self._writers: dict[str, VersionWriter] = {}
        self._writer: VersionWriter | None = None
        """That of this scope, once its shard is known."""

    async def _read(self, read: Callable[[Replica], Awaitable[T]]) -> T:
        """Return what ``read`` finds in the shard of the scope; where it finds nothing, see whether that was moved."""
        shards = self._keys.known or await self._keys.find()
        keys = shards.choose(self.scope)
        found = await read(Replica(keys, self._config))
        return found or await read_where_it_is(
            self._keys, self.scope, lambda each: read(Replica(each, self._config)), found, keys
        )

    async def _settle(self) -> VersionWriter:
        """Return the writer of the scope's shard, for a call that writes."""
        await self._keys.settle()
        self._writer = self._writer_of(self.scope)
        return self._writer

    async def _write(self, write: Callable[[Replica], Awaitable[T]]) -> T:
        """Perform ``write`` in the shard of the scope; where that is moved meanwhile, in its new one."""
        while True:
            replica = (await self._settle()).replica
            try:
                return await write(replica)
            except MOVED:
                await self._relocate(self.scope, replica)

    async def _relocate(self, scope: str, replica: Replica) -> Replica:
        """Return the shard that a scope was moved to, as soon as it is there."""
        keys = await wait_for_new_shard(self._keys, scope, replica.keys)
        self._writer = None
        return Replica(keys, self._config)

    def _writer_of(self, scope: str) -> VersionWriter:
        """Return the writer of a scope's shard, whose number is known."""
        keys = self._keys.known.choose(scope)
        found = self._writers.get(keys.tag)
        if found is None:
            replica = Replica(keys, self._config)
            writer = VersionWriter(replica, self._limits, self._signer, self._queue, self._relocate)
            found = self._writers.setdefault(keys.tag, writer)
        return found

    def _make_signer(self) -> Signer | None:
        if self._signing_key is None:
            return None
        config = self._config
        if not config.origin:
            raise validation.value_error("origin", None, "must be given with signing_key: the key is that of a name")
        is_renewable = config.strategy is ConflictStrategy.LOCAL_WINS
        return Signer(self.namespace, config.origin, self._signing_key, is_renewable=is_renewable)

    async def local_version(self) -> int:
        """Return the version of the local state, 0 where there is none."""
        return (await self._counts())[0]

    async def remote_version(self) -> int:
        """Return the newest version known of the other end, 0 where none is."""
        return (await self._counts())[1]

    async def pending_count(self) -> int:
        """Return the number of changes in the outbox."""
        return (await self._counts())[2]

    async def _counts(self) -> tuple[int, int, int, int]:
        """Return version, peer version, pending changes and events."""

        async def read(replica: Replica) -> tuple[int, int, int, int] | None:
            found = await scripts.counts(replica, self.scope)
            return found if any(found) else None

        return await self._read(read) or (0, 0, 0, 0)

    async def pending_bytes(self) -> int:
        """Return about how many bytes the outbox takes."""
        scope = self.scope
        return await self._read(
            lambda replica: command(replies.from_positions, "HGET", replica.keys.pending_bytes, scope)
        )

    async def is_synced(self) -> bool:
        """Return whether nothing is pending and both ends have the same version."""
        version, remote, pending, _ = await self._counts()
        return pending == 0 and version == remote

    async def get_local_state(self) -> SyncState | None:
        """Return the local state, None where there is none."""
        return await self._read(lambda replica: replica.read_state(self.scope))

    async def change_strategy(self, conflict_strategy: ConflictStrategy) -> None:
        """Set the strategy of the scope at this edge, and of this synchronizer."""
        config = self._config.with_strategy(check_strategy(conflict_strategy))
        await self._write(lambda replica: scripts.set_settings(Replica(replica.keys, config), self.scope))
        self._config, self._writers, self._writer = config, {}, None
        self._signer = self._make_signer()

    async def update_local(
        self,
        data: dict[str, Any],
        is_delta: bool = False,  # noqa: FBT001, FBT002 -- the signature that docs/reference promises
        *,
        if_version: int | None = None,
        replication: Replication | None = None,
    ) -> SyncState:
        """Write the next version and put it in the outbox; return it."""
        if type(is_delta) is not bool:
            raise validation.type_error("is_delta", is_delta, "a bool")
        if if_version is not None:
            check_if_version(if_version)
        writer = self._writer or await self._settle()
        return await writer.write(self.scope, data, is_delta=is_delta, if_version=if_version, replication=replication)

    async def update_many(
        self,
        updates: Mapping[str, dict[str, Any]],
        is_delta: bool = False,  # noqa: FBT001, FBT002 -- as update_local
    ) -> dict[str, SyncState]:
        """Write the next version of several scopes, with the options of this one; return their states."""
        validation.check_instance("updates", updates, Mapping)
        validation.check_instance("is_delta", is_delta, bool)
        for scope in updates:
            validation.check_identifier("scope", scope)
        await self._keys.settle()
        return check_results(await write_each(self._writer_of, self._limits, updates, is_delta=is_delta))

    async def delete_fields(self, *names: str) -> SyncState:
        """Write the next version without these top-level fields; return it."""
        without = check_field_names(names)
        return await (await self._settle()).write(self.scope, {}, is_delta=True, without=without)

    async def delete(self) -> bool:
        """Delete the scope as its next version; return whether it had a state."""
        writer = await self._settle()
        present = await self._read(lambda replica: replica.read_document(self.scope))
        return present is not None and await writer.delete(self.scope, present)

    async def apply_remote(self, state: SyncState) -> bool:
        """Apply a state of the other end by the strategy; return whether it was accepted."""
        validation.check_instance("state", state, SyncState)
        scope = self.scope
        try:
            incoming = change.from_state(state, self._limits)
        except ChecksumMismatchError as error:
            event = SyncEvent("pull", state.version, success=False, error=str(error))
            with self._idempotency.acquire() as key:
                await self._write(lambda replica: scripts.record_event(replica, scope, event, key))
            raise
        settings = self._config.settings
        with self._idempotency.acquire() as key:

            async def write(replica: Replica) -> list[Outcome]:
                outcomes = await scripts.apply(replica, scope, [incoming], settings, key)
                return outcomes or await merge_into(replica, scope, [incoming], settings, key=key)

            return await self._write(write) == ["accepted"]

    def remote_changes(self, timeout: float | None, poll_seconds: float) -> RemoteChanges:
        """Return a reader of the states that come down from its start on."""
        return RemoteChanges(self._read, self.scope, timeout, poll_seconds)

    async def get_pending_changes(self) -> list[dict[str, Any]]:
        """Return the changes in the outbox, oldest first."""
        return await self._read(lambda replica: replica.read_pending(self.scope))

    async def confirm_sync(self, up_to_version: int) -> int:
        """Remove changes up to and including a version from the outbox; return how many were removed."""
        version = validation.check_integer("up_to_version", up_to_version, least=0, most=MAX_VERSION)
        with self._idempotency.acquire() as key:
            return await self._write(lambda replica: scripts.confirm(replica, self.scope, version, key=key))

    async def sync_history(self, limit: int = 20) -> list[SyncEvent]:
        """Return the newest ``limit`` exchanges with the other end, oldest first."""
        most = validation.check_integer("limit", limit, least=1, most=MAX_KEPT)
        return await self._read(lambda replica: replica.read_history(self.scope, most))

    async def conflicts(self, limit: int = 20) -> list[dict[str, Any]]:
        """Return the losing sides of the newest ``limit`` conflicts, oldest first."""
        most = validation.check_integer("limit", limit, least=1, most=MAX_KEPT)
        return await self._read(lambda replica: replica.read_conflicts(self.scope, most))

    async def resolve(self, conflict_id: str, data: dict[str, Any] | None = None) -> SyncState:
        """Write the chosen state of a conflict as the next version and remove the conflict from the list."""
        if STREAM_ID.fullmatch(validation.check_identifier("conflict_id", conflict_id)) is None:
            raise validation.value_error("conflict_id", conflict_id, "must be the id of a conflict")
        found = await self._read(lambda replica: replica.read_conflict(self.scope, conflict_id))
        if found is None:
            raise validation.value_error("conflict_id", conflict_id, "must be the id of a conflict of this scope")
        chosen = found["data"] if data is None else data
        if chosen is None:
            raise validation.value_error("data", data, "must be given: the losing side is a delete")
        writer = await self._settle()
        return await writer.write(self.scope, chosen, is_delta=False, conflict_id=conflict_id)

    async def summary(self) -> dict[str, Any]:
        """Return local_version, remote_version, pending_changes, is_synced, sync_events and conflict_strategy."""
        version, remote, pending, events = await self._counts()
        return {
            "local_version": version,
            "remote_version": remote,
            "pending_changes": pending,
            "is_synced": pending == 0 and version == remote,
            "sync_events": events,
            "conflict_strategy": self._config.strategy.value,
        }
