"""Writing a scope's next version: the same at an edge and in the cloud."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from edge_redis._core import validation
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import command
from edge_redis._sync import change, clock, merge
from edge_redis._sync.change import Change
from edge_redis._sync.limits import NONE, Limits
from edge_redis._sync.replica import ANY, Replica
from edge_redis._sync.replies import Present, Written
from edge_redis._sync.signing import Signer
from edge_redis.models import ConflictStrategy, SyncState

_EMPTY: Final = Present("", b"\x80")  # an empty dict

Make: TypeAlias = Callable[[Present, str], bytes | None]
"""Of the present state and the clock of the write, where it has one already: the body of the next state."""


class Writer:
    """Writes versions through compare-and-set, so that neither merging nor signing needs code on the server."""

    def __init__(self, replica: Replica, limits: Limits, signer: Signer | None = None) -> None:
        self._replica = replica
        self._limits = limits
        self._signer = signer
        self._slots = IdempotencyKeys()
        self._merges = replica.settings.strategy is ConflictStrategy.MERGE
        self._latest: dict[str, Present] = {}

    async def write(
        self, scope: str, data: dict[str, Any], *, is_delta: bool, without: Sequence[str] = ()
    ) -> SyncState:
        """Write ``data``, or the present data with ``data`` merged into its top level, as the next version.

        A delta starts from what this writer last wrote or saw: right at once where it is the
        only one, and otherwise the reply says what is there and the merge is made anew. Of the
        merged data the fields named by ``without`` are left out.
        """
        given = change.encoded(data, self._limits)
        # What takes fields away is no larger than what is there, and is how one comes back within the limits.
        limits = NONE if without else self._limits

        def make(known: Present, moment: str) -> bytes:
            if self._is_merged(known):
                fields = merge.changed(_fields(known), data, self._stamp(moment), is_delta=is_delta, without=without)
                limits.counted([name for name, each in fields.fields.items() if each.value is not None])
                return limits.sized(merge.pack(fields))
            if not is_delta:
                return given
            merged = {**_data(known), **data}
            return limits.encoded({key: value for key, value in merged.items() if key not in without})

        known = self._latest.get(scope, _EMPTY)
        written = await self._put(scope, known, make, is_delta=is_delta)
        assert written is not None, "every update has a body"
        return written.state

    async def delete(self, scope: str) -> bool:
        """Write that the scope is deleted, as its next version; return whether there was anything."""

        def make(known: Present, moment: str) -> bytes | None:
            if change.shown(known.body) is None:
                return None
            return merge.pack(merge.Fields(deleted=self._stamp(moment))) if self._is_merged(known) else change.TOMBSTONE

        present = await self._replica.document(scope)
        if present is None:
            return False
        return (await self._put(scope, Present.of(present), make, is_delta=False)) is not None

    async def _put(self, scope: str, known: Present, make: Make, *, is_delta: bool) -> Change | None:
        """Write what is made of the present state as the next version, None where nothing is made of it."""
        with self._slots.acquire() as (slot, number):
            while True:
                by_clock = self._signer is not None or self._is_merged(known)
                moment = (await self._moment(known)) if by_clock else ""
                body = make(known, moment)
                if body is None:
                    return None
                checksum = hashlib.sha256(body).hexdigest()
                reply = await self._replica.update(
                    scope,
                    body,
                    checksum,
                    expected=known.stamp if is_delta or by_clock else ANY,
                    is_delta=is_delta,
                    slot=slot,
                    number=number,
                    clock=moment,
                    signature=self._signer.sign(scope, known.version + 1, moment, checksum) if self._signer else "",
                )
                if isinstance(reply, Written):
                    return self._written(scope, reply, body, checksum)
                known = reply

    def _is_merged(self, known: Present) -> bool:
        return self._merges or merge.is_merged(known.body)

    async def _moment(self, known: Present) -> str:
        """Return the clock of a write that names it: it is in the body of fields, and in a signature."""
        seconds, microseconds = await command(list, "TIME")
        return clock.after(seconds, microseconds, known.tick)

    def _stamp(self, moment: str) -> merge.Stamp:
        return moment, self._replica.settings.origin or self._replica.settings.site

    def _written(self, scope: str, reply: Written, body: bytes, checksum: str) -> Change:
        written = Change(reply.version, reply.clock.decode(), reply.origin, checksum, "", body)
        self._latest = {scope: Present.of(written)}
        return written


def field_names(names: Sequence[object]) -> tuple[str, ...]:
    """Return the names of fields to delete.

    Raises:
        InvalidTypeError: one is no str.
        InvalidArgumentError: there is none.

    """
    if not names:
        raise validation.value_error("names", names, "must name at least one field")
    return tuple(validation.instance("a name", name, str) for name in names)


def _data(known: Present) -> dict[str, Any]:
    return change.decoded(known.body) if known.body else {}


def _fields(known: Present) -> merge.Fields:
    if merge.is_merged(known.body):
        return merge.unpack(known.body)
    return merge.lifted(known.clock, known.origin, change.shown(known.body)) if known.stamp else merge.Fields()
