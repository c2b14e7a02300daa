"""Writes of a scope's next version: the same at an edge and in the cloud."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from edge_redis._core import validation
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import command
from edge_redis._core.replication import Acknowledged, ReplicatedOperation, Replication
from edge_redis._sync import clock, fields, scripts, wire
from edge_redis._sync.change import TOMBSTONE, Change, check_body, decode_data, encode_data, visible_data
from edge_redis._sync.failures import MOVED
from edge_redis._sync.limits import UNLIMITED, WriteLimits
from edge_redis._sync.replica import Replica
from edge_redis._sync.replies import CurrentState, Written
from edge_redis._sync.scripts import ScopeWrite
from edge_redis._sync.signing import Signer
from edge_redis._sync.splice import MIN_BODY_BYTES, make_splice
from edge_redis._sync.unreplicated import Call, UnreplicatedWrite, UnreplicatedWrites
from edge_redis._sync.version_guard import VersionGuard
from edge_redis._sync.write_queue import WriteQueue
from edge_redis.errors import EdgeRedisError, ShardMovedError, StoreError
from edge_redis.models import ConflictStrategy, SyncState

_EMPTY: Final = CurrentState("", b"\x80")  # an empty dict

MakeBody: TypeAlias = Callable[[CurrentState, str], bytes | None]
"""Makes the next body from the present state and the clock of the write ("": the server's); None: do not write."""


Relocate: TypeAlias = Callable[[str, Replica], Awaitable[Replica]]
"""Returns the shard of a scope that was moved from the one given."""


async def stay(scope: str, replica: Replica) -> Replica:
    """Refuse to find another shard, for a writer that has one alone."""
    raise ShardMovedError(f"{scope!r} is not in {replica.keys.tag} any more")


class VersionWriter:
    """Writes versions through compare-and-set, so that neither merging nor signing needs code on the server."""

    def __init__(
        self,
        replica: Replica,
        limits: WriteLimits,
        signer: Signer | None = None,
        queue: WriteQueue | None = None,
        relocate: Relocate = stay,
    ) -> None:
        """``relocate`` finds the shard that a scope was moved to, where the replica has become another one."""
        self.replica = replica
        self._relocate = relocate
        self._limits = limits
        self._signer = signer
        self._queue = queue
        self._idempotency = IdempotencyKeys()
        self._merges = replica.config.strategy is ConflictStrategy.MERGE
        self._latest: dict[str, CurrentState] = {}
        self._unreplicated = UnreplicatedWrites()

    @property
    def needs_state(self) -> bool:
        """Whether each write, and not a delta alone, is made of the present state, and names its clock."""
        return self._merges or self._signer is not None

    async def write(
        self,
        scope: str,
        data: dict[str, Any],
        *,
        is_delta: bool,
        without: Sequence[str] = (),
        replication: Replication | None = None,
        conflict_id: str = "",
        if_version: int | None = None,
        encoded: bytes | None = None,
    ) -> SyncState:
        """Write ``data``, or the present data with ``data`` merged into its top level, as the next version.

        A delta starts from the state that this writer last wrote or read: right at once where it is the only
        writer, and otherwise the reply brings the present state and the delta is merged again. The fields named by
        ``without`` are left out of the merged data. A conflict that is resolved is removed with the write. With
        ``if_version`` it is written only where the scope is at that version (``version_guard.py``). ``encoded`` is the
        encoding of ``data``, where the caller has made it.
        """
        body = encode_data(data, self._limits) if encoded is None else encoded

        make = partial(self._make_body, data, body, is_delta, without)
        call = (scope, body, is_delta, if_version)
        if replication is not None and (known := await self._repeat(call, replication)) is not None:
            return known.state
        queue = self._queue if is_delta or self._merges or self._signer else None
        turn = None if queue is None else queue.enter(scope)
        try:
            if queue is not None and turn is not None and turn.before is not None:
                await queue.wait(turn)
            current = self._latest.get(scope, _EMPTY)
            written = await self._put(
                scope,
                current,
                make,
                is_delta=is_delta,
                replication=replication,
                call=call,
                conflict_id=conflict_id,
                if_version=if_version,
            )
        finally:
            if queue is not None and turn is not None:
                queue.leave(scope, turn)
        assert written is not None, "every update has a body"
        return written.state

    def _make_body(
        self,
        data: dict[str, Any],
        body: bytes,
        is_delta: bool,  # noqa: FBT001 -- the first parameters are those of a write, the last ones of each of its tries
        without: Sequence[str],
        current: CurrentState,
        moment: str,
    ) -> bytes:
        """Return the body of the next version: ``data``, which ``body`` encodes, or the present data with them."""
        # Deleting fields makes a state smaller: it is how a state over the limits gets back within them.
        limits = UNLIMITED if without else self._limits
        if self._merges or current.body[:1] == fields.ARRAY_OF_TWO:
            edited = fields.edit(_fields(current), data, self._stamp(moment), is_delta=is_delta, without=without)
            limits.check_count([name for name, each in edited.fields.items() if each.value is not None])
            return limits.check_size(fields.pack(edited))
        if not is_delta:
            return body
        merged = {**decode_data(current.body), **data} if current.body else data
        return limits.encode({key: value for key, value in merged.items() if key not in without})

    def plan(
        self,
        scope: str,
        data: dict[str, Any],
        body: bytes,
        present: Change | None,
        time: tuple[int, int],
        *,
        is_delta: bool,
    ) -> ScopeWrite:
        """Return a write of the next version that is made of the present state, at a time of the server.

        Raises what ``write`` raises where the state is damaged, or the result is over the limits.
        """
        current = _EMPTY if present is None else CurrentState.of(present)
        if present is not None:
            check_body(present.body, present.checksum, "the present state")
        moment = clock.after(*time, current.latest_clock) if self._needs_clock(current) else ""
        made = self._make_body(data, body, is_delta, (), current, moment)
        checksum = hashlib.sha256(made).hexdigest()
        signer = self._signer
        signature = signer.sign(scope, current.version + 1, moment, checksum) if signer else ""
        conditions = scripts.make_conditions(current.stamp, moment, signature)
        return ScopeWrite(scope, made, checksum, conditions, _splice(current, made))

    async def write_together(
        self, writes: Sequence[ScopeWrite], *, is_delta: bool
    ) -> dict[str, SyncState | EdgeRedisError]:
        """Write the next version of several scopes by one call of a script; return each state, or why it was refused.

        What is in neither needs a write of its own.
        """
        with self._idempotency.acquire() as key:
            results = await scripts.update_many(self.replica, writes, key, is_delta=is_delta)
        found: dict[str, SyncState | EdgeRedisError] = {}
        for write, result in zip(writes, results, strict=True):
            if isinstance(result, Written):
                change = Change(result.version, result.clock, result.origin, write.checksum, "", write.body)
                found[write.scope] = change.state
            elif result is not None:
                found[write.scope] = result
        return found

    async def delete(self, scope: str, present: Change | None = None) -> bool:
        """Write that the scope is deleted, as its next version; return whether it had a state.

        ``present`` is the present state, where the caller has read it.
        """

        def make(current: CurrentState, moment: str) -> bytes | None:
            if visible_data(current.body) is None:
                return None
            if self._merges or fields.is_merged(current.body):
                return fields.pack(fields.Fields(deleted=self._stamp(moment)))
            return TOMBSTONE

        present = present or await self.replica.read_document(scope)
        if present is None:
            return False
        return (await self._put(scope, CurrentState.of(present), make, is_delta=False)) is not None

    async def _repeat(self, call: Call, replication: Replication) -> Change | None:
        """Wait for the replicas of a version that this call has written already, if it is still the scope's newest.

        The script recognises its idempotency key and writes no version. None: there is no such version.
        """
        write = self._unreplicated.take(call)
        if write is None:
            return None
        with write.key:
            try:
                present = await self.replica.read_document(call[0])
                if present is None or present.stamp != write.change.stamp:
                    return None
                result, shortfall = await ReplicatedOperation(write.operation, replication)
                return Acknowledged(write.change, shortfall).check() if isinstance(result, Written) else None
            except StoreError:
                self._unreplicated.add(call, write)
                raise

    async def _put(
        self,
        scope: str,
        current: CurrentState,
        make: MakeBody,
        *,
        is_delta: bool,
        replication: Replication | None = None,
        call: Call = ("", b"", False, None),
        conflict_id: str = "",
        if_version: int | None = None,
    ) -> Change | None:
        """Write the body made of the present state as the next version, None where there is no body."""
        signer, guard = self._signer, None if if_version is None else VersionGuard(if_version)
        replica = self.replica
        acquired = self._idempotency.acquire()
        with acquired as key:
            while True:
                has_clock = self._needs_clock(current)
                moment = (await self._moment(current)) if has_clock else ""
                body = make(current, moment)
                if body is None:
                    return None
                checksum = hashlib.sha256(body).hexdigest()
                operation = scripts.update(
                    replica,
                    scope,
                    body,
                    checksum,
                    expected=current.stamp if is_delta or has_clock else scripts.ANY,
                    is_delta=is_delta,
                    key=key,
                    clock=moment,
                    signature=signer.sign(scope, current.version + 1, moment, checksum) if signer else "",
                    conflict_id=conflict_id,
                    if_version=guard.word if guard else wire.NONE,
                    splice=_splice(current, body),
                )
                try:
                    if replication is None:
                        result, shortfall = await operation, ""
                    else:
                        result, shortfall = await ReplicatedOperation(operation, replication)
                except MOVED:
                    replica = await self._relocate(scope, replica)  # the key moves along: a repeat is recognised there
                    continue
                if isinstance(result, Written):
                    stamp = f"{result.clock}-{checksum[:16]}"
                    self._latest = {scope: CurrentState(stamp, body, result.version, result.clock, result.origin)}
                    change = Change(result.version, result.clock, result.origin, checksum, "", body)
                    if shortfall:
                        self._unreplicated.add(call, UnreplicatedWrite(acquired, operation, change))
                    return Acknowledged(change, shortfall).check()
                current = result
                if guard:
                    guard.check_present(current.version, current.body)

    def _needs_clock(self, current: CurrentState) -> bool:
        """Return whether a write must name its clock: merged fields and signatures contain it."""
        return self._signer is not None or self._merges or current.body[:1] == fields.ARRAY_OF_TWO

    async def _moment(self, current: CurrentState) -> str:
        """Return the clock of a write now."""
        seconds, microseconds = await command(list, "TIME")
        return clock.after(seconds, microseconds, current.latest_clock)

    def _stamp(self, moment: str) -> fields.Stamp:
        return moment, self.replica.config.origin or self.replica.config.proposed_replica_id


def check_field_names(names: Sequence[object]) -> tuple[str, ...]:
    """Return the names of fields to delete.

    Raises:
        InvalidTypeError: one is not a str.
        InvalidArgumentError: there is none.

    """
    if not names:
        raise validation.value_error("names", names, "must name at least one field")
    return tuple(validation.check_instance("a name", name, str) for name in names)


def _splice(current: CurrentState, body: bytes) -> bytes:
    """Return the stamp of a state and the splice that makes ``body`` of its body, "" where there is none."""
    if not current.stamp or len(body) < MIN_BODY_BYTES:
        return b""
    splice = make_splice(current.body, body)
    return b"" if splice is None else b"%b %b" % (current.stamp.encode(), splice)


def _fields(current: CurrentState) -> fields.Fields:
    if fields.is_merged(current.body):
        return fields.unpack(current.body)
    if not current.stamp:
        return fields.Fields()
    return fields.lift(current.clock, current.origin, visible_data(current.body))
