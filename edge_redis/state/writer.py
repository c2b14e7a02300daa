"""Writing a scope's next version: the same at an edge and in the cloud."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from edge_redis.core import check
from edge_redis.core.operation import Flow, command
from edge_redis.core.repeats import Slots
from edge_redis.models import ConflictStrategy, SyncState
from edge_redis.state import change, clock, merge
from edge_redis.state.change import Change
from edge_redis.state.operations import ANY, Present, Replica, Written

_EMPTY: Final = Present("", b"\x80")  # an empty dict


class Writer:
    """Writes versions through compare-and-set, so that merging needs no code on the server."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._slots = Slots()
        self._merges = replica.settings.strategy is ConflictStrategy.MERGE
        self._latest: dict[str, Present] = {}

    def write(
        self, scope: str, data: dict[str, Any], *, is_delta: bool, without: Sequence[str] = ()
    ) -> Flow[SyncState]:
        """Write ``data``, or the present data with ``data`` merged into its top level, as the next version.

        A delta starts from what this writer last wrote or saw: right at once where it is the
        only one, and otherwise the reply says what is there and the merge is made anew. Of the
        merged data the fields named by ``without`` are left out.
        """
        body = change.encoded(data)
        known = self._latest.get(scope, _EMPTY)
        with self._slots.hold() as (slot, number):
            while True:
                moment = ""
                if self._merges or merge.is_merged(known.body):
                    moment, stamp = yield from self._stamp(known)
                    fields = merge.changed(_fields(known), data, stamp, is_delta=is_delta, without=without)
                    body = merge.pack(fields)
                elif is_delta:
                    merged = {**_data(known), **data}
                    body = change.encoded({key: value for key, value in merged.items() if key not in without})
                checksum = hashlib.sha256(body).hexdigest()
                reply = yield from self._replica.update(
                    scope,
                    body,
                    checksum,
                    expected=known.stamp if is_delta or moment else ANY,
                    is_delta=is_delta,
                    slot=slot,
                    number=number,
                    clock=moment,
                )
                if isinstance(reply, Written):
                    break
                known = reply
        return self._written(scope, reply, body, checksum)

    def _stamp(self, known: Present) -> Flow[tuple[str, merge.Stamp]]:
        """Return the clock of a change of fields, which is in their body, and its stamp."""
        seconds, microseconds = yield from command(list, "TIME")
        moment = clock.after(seconds, microseconds, known.clock)
        return moment, (moment, self._replica.settings.origin or self._replica.settings.site)

    def delete(self, scope: str) -> Flow[bool]:
        """Write that the scope is deleted, as its next version; return whether there was anything."""
        with self._slots.hold() as (slot, number):
            while True:
                present = yield from self._replica.document(scope)
                if present is None or change.shown(present.body) is None:
                    return False
                known = Present(present.stamp, present.body)
                body, moment, expected = change.TOMBSTONE, "", ANY
                if self._merges or merge.is_merged(present.body):
                    moment, stamp = yield from self._stamp(known)
                    body, expected = merge.pack(merge.Fields(deleted=stamp)), known.stamp
                reply = yield from self._replica.update(
                    scope,
                    body,
                    hashlib.sha256(body).hexdigest(),
                    expected=expected,
                    is_delta=False,
                    slot=slot,
                    number=number,
                    clock=moment,
                )
                if isinstance(reply, Written):
                    return True

    def _written(self, scope: str, reply: Written, body: bytes, checksum: str) -> SyncState:
        self._latest = {scope: Present(f"{reply.clock.decode()}-{checksum[:16]}", body)}
        return Change(reply.version, reply.clock.decode(), reply.origin, checksum, "", body).state


def field_names(names: Sequence[object]) -> tuple[str, ...]:
    """Return the names of fields to delete.

    Raises:
        InvalidTypeError: one is no str.
        InvalidArgumentError: there is none.

    """
    if not names:
        raise check.value_error("names", names, "must name at least one field")
    return tuple(check.instance("a name", name, str) for name in names)


def _data(known: Present) -> dict[str, Any]:
    return change.decoded(known.body) if known.body else {}


def _fields(known: Present) -> merge.Fields:
    if merge.is_merged(known.body):
        return merge.unpack(known.body)
    return merge.lifted(known.clock, change.shown(known.body)) if known.stamp else merge.Fields()
