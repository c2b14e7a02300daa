"""Writing a scope's next version: the same at an edge and in the cloud."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from edge_redis.core import check
from edge_redis.core.operation import Flow
from edge_redis.core.repeats import Slots
from edge_redis.models import SyncState
from edge_redis.state import change, clock
from edge_redis.state.operations import ANY, Present, Replica, Written

_EMPTY: Final = Present("", b"\x80")  # an empty dict


class Writer:
    """Writes versions through compare-and-set, so that merging needs no code on the server."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._slots = Slots()
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
                if is_delta:
                    merged = {**_data(known), **data}
                    body = change.encoded({key: value for key, value in merged.items() if key not in without})
                checksum = hashlib.sha256(body).hexdigest()
                reply = yield from self._replica.update(
                    scope,
                    body,
                    checksum,
                    expected=known.stamp if is_delta else ANY,
                    is_delta=is_delta,
                    slot=slot,
                    number=number,
                )
                if isinstance(reply, Written):
                    break
                known = reply
        return self._written(scope, reply, body, checksum)

    def delete(self, scope: str) -> Flow[bool]:
        """Write that the scope is deleted, as its next version; return whether there was anything."""
        present = yield from self._replica.document(scope)
        if present is None or present.body == change.TOMBSTONE:
            return False
        checksum = hashlib.sha256(change.TOMBSTONE).hexdigest()
        with self._slots.hold() as (slot, number):
            yield from self._replica.update(
                scope, change.TOMBSTONE, checksum, expected=ANY, is_delta=False, slot=slot, number=number
            )
        return True

    def _written(self, scope: str, reply: Written, body: bytes, checksum: str) -> SyncState:
        self._latest = {scope: Present(f"{reply.clock.decode()}-{checksum[:16]}", body)}
        moment = clock.to_datetime(reply.clock)
        return SyncState(reply.version, change.decoded(body), checksum, moment, reply.origin)


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
