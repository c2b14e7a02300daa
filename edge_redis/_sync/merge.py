"""MERGE of whole states: merged in Python, committed by compare-and-set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import reduce

from edge_redis._sync import fields, scripts
from edge_redis._sync.change import TOMBSTONE, Change, Outcome, visible_data
from edge_redis._sync.change_encoding import encode_changes
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.link import LinkCounters
from edge_redis._sync.replica import Replica
from edge_redis._sync.replies import OtherState
from edge_redis._sync.scripts import NO_KEY, CallKey
from edge_redis._sync.signing import Keyring
from edge_redis._sync.wire import DOCUMENT_FIELDS


def fields_of(change: Change) -> fields.Fields:
    """Return the fields of a state of any strategy."""
    if fields.is_merged(change.body):
        return fields.unpack(change.body)
    lifted = fields.lift(change.clock, change.origin, visible_data(change.body))
    return fields.join(lifted, fields.lift_delete(change.deleted)) if change.deleted else lifted


def deleted_before(before: Change | None, after: Change) -> str:
    """Return the newest delete before a state that replaces another one in the cloud, as ``Change.deleted``.

    A body of merged fields, or a delete, says this itself. What follows the delete by version alone is not after it.
    """
    if before is None or after.body == TOMBSTONE or fields.is_merged(after.body):
        return ""
    newest = f"{before.clock} {before.origin}" if before.body == TOMBSTONE else before.deleted
    return newest if newest.partition(" ")[0] < after.clock else ""


def _build_state(joined: fields.Fields, states: Sequence[Change]) -> Change:
    """Return the state with the fields ``joined``, which are the join of the states' fields."""
    body = fields.pack(joined)
    clock, origin = max((each.clock, each.origin) for each in states)
    version = max(each.version for each in states)
    checksum = hashlib.sha256(body).hexdigest()
    identity = (checksum, clock, origin)
    signatures = (each.signature for each in states if (each.checksum, each.clock, each.origin) == identity)
    return Change(version, clock, origin, checksum, "", body, signature=next(signatures, ""))


def merge_states(*states: Change) -> Change:
    """Return the state that holds the later change of every field of the states."""
    return _build_state(reduce(fields.join, map(fields_of, states)), states)


def merge_changes(present: Change | None, changes: Sequence[Change]) -> tuple[Change, list[Outcome]]:
    """Return the merge of the present state and the changes, and of each change whether it brought anything new."""
    if present is None and len(changes) == 1:
        fields_of(changes[0])  # a damaged change must not become the document
        return changes[0], ["accepted"]
    joined = None if present is None else fields_of(present)
    outcomes: list[Outcome] = []
    for each in changes:
        after = fields_of(each) if joined is None else fields.join(joined, fields_of(each))
        is_known = joined is not None and after.has_same_changes(joined)
        outcomes.append("duplicate" if is_known else "accepted")
        joined = after
    assert joined is not None
    return _build_state(joined, [*([] if present is None else [present]), *changes]), outcomes


async def _read_present(replica: Replica, scope: str, link: LinkCounters | None) -> tuple[Change | None, str]:
    """Read the document, and the clock below which the scope was purged."""
    present, purged = await replica.read_document_and_purged_clock(scope)
    if link:
        link.add_read((scope, *DOCUMENT_FIELDS), 0 if present is None else len(present.body))
    if present is not None:
        present.verify()  # otherwise damaged fields would get a valid checksum
    return present, purged


async def merge_into(
    replica: Replica,
    scope: str,
    changes: Sequence[Change],
    settings: str,
    *,
    key: CallKey = NO_KEY,
    keyring: Keyring | None = None,
    known: KnownStates | None = None,
    link: LinkCounters | None = None,
) -> list[Outcome]:
    """Merge changes into a scope's document, in their order; return the outcome of each.

    With a keyring the result is countersigned, where the state before is. A document that is among the ``known`` ones
    is not read, and over a link the result is sent as a splice of it.
    """
    known = KnownStates() if known is None else known
    present, purged = known.get(scope), ""
    while True:
        if present is None:
            present, purged = await _read_present(replica, scope, link)
        later = [each for each in changes if each.clock > purged]
        if not later:
            return ["rejected" for _ in changes]
        merged, outcomes = merge_changes(present, later)
        if keyring and (present is None or keyring.can_reoffer(scope, present)):
            merged = keyring.countersign(scope, merged)
        words, splices = encode_changes([merged], present if link else None)
        commit = scripts.commit_merge(replica, scope, present, words[0], later, outcomes, settings, key)
        if link:
            link.add_sent(commit.args, 1, splices)
        reply = await commit
        if not isinstance(reply, OtherState):
            known.put(scope, merged)
            found = iter(reply)
            return [next(found) if each.clock > purged else "rejected" for each in changes]
        known.remove(scope)
        # After a reply that was lost, the document is the merged state; another one is read.
        is_committed = reply.checksum == merged.checksum and (present is None or present.checksum != merged.checksum)
        present = merged if is_committed and link else None
