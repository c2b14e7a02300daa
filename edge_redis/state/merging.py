"""States of the other end, merged into a scope's document: made in Python, settled by compare-and-set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from edge_redis.core.operation import Flow
from edge_redis.state import merge
from edge_redis.state.change import Change, shown
from edge_redis.state.operations import Replica


def fields_of(change: Change) -> merge.Fields:
    """Return the fields of a state, of whatever strategy."""
    if merge.is_merged(change.body):
        return merge.unpack(change.body)
    return merge.lifted(change.clock, shown(change.body))


def joined(one: Change, other: Change) -> Change:
    """Return the state that holds the later change of every field of the two."""
    body = merge.pack(merge.join(fields_of(one), fields_of(other)))
    clock, origin = max((one.clock, one.origin), (other.clock, other.origin))
    checksum = hashlib.sha256(body).hexdigest()
    return Change(max(one.version, other.version), clock, origin, checksum, "", body)


def merge_into(
    replica: Replica, scope: str, changes: Sequence[Change], settings: str, *, slot: str = "", number: int = 0
) -> Flow[str]:
    """Merge states into a scope, in their order; a letter each: a something was new, d nothing was."""
    while True:
        present = state = yield from replica.document(scope)
        letters = ""
        for each in changes:
            after = each if state is None else joined(state, each)
            letters += "d" if state is not None and fields_of(after) == fields_of(state) else "a"
            state = after
        if state is None:
            return letters
        settled = yield from replica.settle(scope, present, state, changes, letters, settings, slot=slot, number=number)
        if settled:
            return settled
