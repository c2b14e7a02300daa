"""States of the other end, merged into a scope's document: made in Python, settled by compare-and-set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import reduce

from edge_redis._sync import merge
from edge_redis._sync.change import Change, shown
from edge_redis._sync.replica import Replica
from edge_redis._sync.signing import Keyring


def fields_of(change: Change) -> merge.Fields:
    """Return the fields of a state, of whatever strategy."""
    if merge.is_merged(change.body):
        return merge.unpack(change.body)
    return merge.lifted(change.clock, change.origin, shown(change.body))


def _made(fields: merge.Fields, states: Sequence[Change]) -> Change:
    """Return the state that ``fields``, joined of the states', make."""
    body = merge.pack(fields)
    clock, origin = max((each.clock, each.origin) for each in states)
    version = max(each.version for each in states)
    checksum = hashlib.sha256(body).hexdigest()
    made = (checksum, clock, origin)
    signatures = (each.signature for each in states if (each.checksum, each.clock, each.origin) == made)
    return Change(version, clock, origin, checksum, "", body, signature=next(signatures, ""))


def joined(*states: Change) -> Change:
    """Return the state that holds the later change of every field of the states."""
    return _made(reduce(merge.join, map(fields_of, states)), states)


def merged(present: Change | None, changes: Sequence[Change]) -> tuple[Change, str]:
    """Return what the present state and the changes make, and for each change whether it told anything new."""
    if present is None and len(changes) == 1:
        return changes[0], "a"
    fields = None if present is None else fields_of(present)
    letters = ""
    for each in changes:
        after = fields_of(each) if fields is None else merge.join(fields, fields_of(each))
        letters += "d" if fields is not None and after.says(fields) else "a"
        fields = after
    assert fields is not None
    return _made(fields, [*([] if present is None else [present]), *changes]), letters


async def merge_into(
    replica: Replica,
    scope: str,
    changes: Sequence[Change],
    settings: str,
    *,
    slot: str = "",
    number: int = 0,
    keyring: Keyring | None = None,
) -> str:
    """Merge states into a scope, in their order; a letter each: a something was new, d nothing was.

    With a keyring the result is vouched for, where what was there before is.
    """
    settled = ""
    while changes and not settled:
        present = await replica.document(scope)
        if present is not None:
            present.verify()  # or damaged fields would go on under a checksum of their own
        state, letters = merged(present, changes)
        if keyring and (present is None or keyring.is_vouched(scope, present)):
            state = keyring.vouched(scope, state)
        settled = await replica.settle(scope, present, state, changes, letters, settings, slot=slot, number=number)
    return settled
