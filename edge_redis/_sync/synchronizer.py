"""The edge's side of a scope: what is written here, what comes from the cloud, what waits to go there."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Operation, command
from edge_redis._sync import change
from edge_redis._sync.config import MAX_KEPT, Settings, strategy_named
from edge_redis._sync.keys import StateKeys
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS, Limits
from edge_redis._sync.merging import merge_into
from edge_redis._sync.origin import checked_name
from edge_redis._sync.replica import TO_MERGE, Replica
from edge_redis._sync.signing import Signer
from edge_redis._sync.writer import Writer, field_names
from edge_redis.errors import ChecksumMismatchError
from edge_redis.models import ConflictStrategy, SyncEvent, SyncState

_CONFLICT_ID: Final = re.compile(r"\d{1,19}-\d{1,19}", re.ASCII)


class Synchronizer(Component):
    """Everything that EdgeSynchronizer offers, as steps."""

    def __init__(
        self,
        conflict_strategy: ConflictStrategy,
        max_pending: int,
        *,
        scope: str,
        namespace: str,
        origin: str | None,
        overflow: str,
        max_history: int,
        max_conflicts: int,
        max_bytes: int = MAX_BYTES,
        max_fields: int = MAX_FIELDS,
        signing_key: bytes | None = None,
    ) -> None:
        self.scope = validation.identifier("scope", scope)
        name = "" if origin is None else checked_name("origin", origin)
        self.settings = Settings(
            "edge", strategy_named(conflict_strategy), max_pending, overflow, name, max_history, max_conflicts
        )
        self._replica = Replica(StateKeys(namespace, "state"), self.settings)
        self._limits = Limits(max_bytes, max_fields)
        self._writer = Writer(self._replica, self._limits, self._signer(namespace, signing_key))
        self._slots = IdempotencyKeys()
        self._is_registered = self.settings.strategy is ConflictStrategy.REMOTE_WINS

    def _signer(self, namespace: str, key: bytes | None) -> Signer | None:
        if key is None:
            return None
        if not self.settings.origin:
            raise validation.value_error("origin", None, "must be given with signing_key: the key is that of a name")
        is_standing = self.settings.strategy is ConflictStrategy.LOCAL_WINS
        return Signer(namespace, self.settings.origin, key, is_standing=is_standing)

    async def _registered(self) -> None:
        """Store the scope's strategy, once: a worker may apply remote states before anything is written here."""
        if not self._is_registered:
            await self._replica.register(self.scope)
            self._is_registered = True

    def local_version(self) -> Awaitable[int]:
        """The version of the local state, 0 where there is none."""
        return self._number("version")

    def remote_version(self) -> Awaitable[int]:
        """The newest version known to be at the other end, 0 where none is."""
        return self._number("remote")

    async def _number(self, field: str) -> int:
        await self._registered()
        return await command(lambda reply: int(reply or 0), "HGET", self._replica.keys.doc(self.scope), field)

    async def pending_count(self) -> int:
        """How many changes wait for the other end."""
        await self._registered()
        return await command(int, "XLEN", self._replica.keys.pending(self.scope))

    async def is_synced(self) -> bool:
        """Whether nothing is pending and both ends have the same version, as far as is known here."""
        await self._registered()
        version, remote, pending, _ = await self._replica.look(self.scope)
        return pending == 0 and version == remote

    async def get_local_state(self) -> SyncState | None:
        """Return the local state, None where there is none.

        Raises:
            CorruptDataError: what is in Redis does not decode.
            ChecksumMismatchError: what is in Redis is not what its checksum was made of.

        """
        await self._registered()
        return await self._replica.state(self.scope)

    def update_local(self, data: dict[str, Any], is_delta: bool = False) -> Awaitable[SyncState]:  # noqa: FBT001, FBT002 -- the contract's signature
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

        """
        validation.instance("is_delta", is_delta, bool)
        return self._writer.write(self.scope, data, is_delta=is_delta)

    def delete_fields(self, *names: str) -> Awaitable[SyncState]:
        """Write the next version without these fields of the top level; return it. One that is not there is no matter.

        Raises what ``update_local`` raises, but for the limits: a state that came from the cloud over
        them gets back within them so.
        """
        return self._writer.write(self.scope, {}, is_delta=True, without=field_names(names))

    def delete(self) -> Awaitable[bool]:
        """Delete the scope, here and, as every change travels, everywhere; return whether there was anything.

        A delete is a version like any other: it wins or loses by the same rule, and what is
        written next has the version after it, so a scope that is created again stays.

        Raises:
            PendingFullError: ``max_pending`` changes wait, and overflow is "reject"; nothing was written.

        """
        return self._writer.delete(self.scope)

    async def apply_remote(self, state: SyncState) -> bool:
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

        """
        validation.instance("state", state, SyncState)
        try:
            incoming = change.from_state(state, self._limits)
        except ChecksumMismatchError as error:
            with self._slots.acquire() as (slot, number):
                await self._replica.note(
                    self.scope, SyncEvent("pull", state.version, success=False, error=str(error)), slot, number
                )
            raise
        words = self.settings.words
        with self._slots.acquire() as (slot, number):
            outcome = await self._replica.apply(self.scope, [incoming], words, slot=slot, number=number)
            if outcome == TO_MERGE:
                outcome = await merge_into(self._replica, self.scope, [incoming], words, slot=slot, number=number)
        return outcome == "a"

    def get_pending_changes(self) -> Awaitable[list[dict[str, Any]]]:
        """Return what waits for the other end, oldest first.

        Each is a dict of type ("update" or "delete"), version, data (the full state at that version, None of a delete),
        timestamp (UTC) and is_delta (whether it was written as a delta).
        """
        return self._replica.pending(self.scope)

    async def confirm_sync(self, up_to_version: int) -> int:
        """Take changes up to and including a version from the outbox: the other end has them.

        Returns how many were removed.

        Raises:
            InvalidArgumentError: the version is above the local one; nothing was removed.

        """
        version = validation.integer("up_to_version", up_to_version, least=0, most=2 * change.MAX_VERSION)
        with self._slots.acquire() as (slot, number):
            return await self._replica.confirm(self.scope, version, slot=slot, number=number)

    def sync_history(self, limit: int = 20) -> Operation[list[SyncEvent]]:
        """Return the newest ``limit`` exchanges with the other end, oldest first."""
        return self._replica.history(self.scope, validation.integer("limit", limit, least=1, most=MAX_KEPT))

    def conflicts(self, limit: int = 20) -> Operation[list[dict[str, Any]]]:
        """Return the losing sides of the newest ``limit`` conflicts, oldest first.

        Each is a dict of id (for ``resolve``), version, data (None of a delete), checksum, updated_at and origin of
        what lost, lost ("local" or "remote"), winner (a dict of the same without data) and timestamp.
        """
        return self._replica.conflicts(self.scope, validation.integer("limit", limit, least=1, most=MAX_KEPT))

    async def resolve(self, conflict_id: str, data: dict[str, Any] | None = None) -> SyncState:
        """Settle a conflict: write a choice as the next version and take the conflict from the list.

        Args:
            conflict_id: the id of one of ``conflicts()``.
            data: what is to be the state; by default what lost.

        The choice travels as every update does. Cut off in between, it is written and the
        conflict still listed.

        Raises:
            InvalidArgumentError: no conflict of this scope has this id; nothing was written.

        """
        if _CONFLICT_ID.fullmatch(validation.identifier("conflict_id", conflict_id)) is None:
            raise validation.value_error("conflict_id", conflict_id, "must be the id of a conflict")
        found = await self._replica.conflict(self.scope, conflict_id)
        if not found:
            raise validation.value_error("conflict_id", conflict_id, "must be the id of a conflict of this scope")
        chosen = found[0]["data"] if data is None else data
        if chosen is None:
            raise validation.value_error("data", data, "must be given: what lost is a delete")
        state = await self._writer.write(self.scope, chosen, is_delta=False)
        await self._replica.forget_conflict(self.scope, conflict_id)
        return state

    async def summary(self) -> dict[str, Any]:
        """Return local_version, remote_version, pending_changes, is_synced, sync_events and conflict_strategy."""
        await self._registered()
        version, remote, pending, events = await self._replica.look(self.scope)
        return {
            "local_version": version,
            "remote_version": remote,
            "pending_changes": pending,
            "is_synced": pending == 0 and version == remote,
            "sync_events": events,
            "conflict_strategy": self.settings.strategy.value,
        }
