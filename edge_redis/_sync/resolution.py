"""Conflict resolution in Python, without I/O: the rules of ``lua/apply.lua`` and ``commit_merge.lua``.

For stores that decide inside a transaction of their own; ``write_context`` has the rules of ``update_cloud.lua``. Input
are the document, the newest states seen of the changes' origins, and the changes; the output a ``Decision``, to be
stored atomically. ``tests/property/test_deciding.py`` tests that the scripts and this module give the same results.

Text is compared as Python does, by code points, which is the bytewise order of UTF-8 that the scripts use; clocks
are 18 digits, so their text sorts as they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edge_redis._sync import clock, fields
from edge_redis._sync.change import Change, Outcome
from edge_redis._sync.decision import NEVER_RESTORED, Decision, LostState, PushEvent, ScopeDocument, Seen
from edge_redis._sync.limits import MAX_VERSION
from edge_redis._sync.merge import deleted_before, merge_changes
from edge_redis._sync.origin import CLOUD_ORIGIN, began_at, lineage_of, name_of
from edge_redis._sync.replies import authority_conflict, clone_conflict
from edge_redis.errors import CorruptDataError
from edge_redis.models import ConflictStrategy


def resolve(
    document: ScopeDocument | None, seen: Mapping[str, Seen], changes: Sequence[Change], strategy: ConflictStrategy
) -> Decision:
    """Resolve an edge's changes, at least one, against a scope's document, in their order.

    Args:
        document: the scope as the store holds it, None where it has none.
        seen: the newest states seen of the changes' origins, by origin.
        changes: of one edge, oldest first.
        strategy: the edge's strategy for the scope.

    The result is that of any order and any repetition of the same changes.

    Raises:
        CorruptDataError: a change cannot have been written by any edge.
        ChecksumMismatchError: the document is damaged, and was to be merged.
        AuthorityConflictError: the scope is LOCAL_WINS at another edge.

    """
    _check(changes)
    bodies = [each.body for each in changes] + ([] if document is None else [document.state.body])
    if strategy is ConflictStrategy.MERGE or any(map(fields.is_merged, bodies)):
        return _merge(document, changes)
    authority = _authority(document, seen, changes, strategy)
    resolution = _Resolution(document, seen, by_clock=strategy is ConflictStrategy.LATEST_WINS)
    outcomes = [*map(resolution.apply, changes)]
    return resolution.decision(outcomes, authority, strategy.value)


def _check(changes: Sequence[Change]) -> None:
    for state in changes:
        if not 0 <= state.version < MAX_VERSION:
            raise CorruptDataError(f"version {state.version} is higher than any that is ever written")
        clock.verify(state.clock)


def _authority(
    document: ScopeDocument | None, seen: Mapping[str, Seen], changes: Sequence[Change], strategy: ConflictStrategy
) -> str | None:
    """Return the origin of the edge that is LOCAL_WINS: the first that ever pushed so, in its latest incarnation.

    An incarnation that was never seen is the latest, even where it began while the clock was behind. A change that
    comes again says nothing of which one writes now.
    """
    holder = None if document is None else document.authority
    if strategy is not ConflictStrategy.LOCAL_WINS:
        return holder
    claimant = changes[-1]
    if holder is not None and name_of(holder) != claimant.name:
        raise authority_conflict(name_of(holder))
    began, holder_began = began_at(claimant.origin), began_at(holder or "")
    newest = seen.get(claimant.origin)
    is_repeat = newest is not None and claimant.clock <= newest.clock
    if newest is not None and not is_repeat and began < holder_began < claimant.clock:
        raise clone_conflict(claimant.name)
    is_later = holder is None or newest is None or (holder_began < began and not is_repeat)
    return claimant.origin if is_later and claimant.name != CLOUD_ORIGIN else holder


def _merge(document: ScopeDocument | None, changes: Sequence[Change]) -> Decision:
    """Return the result of MERGE: each field goes to its later change."""
    present = None if document is None else document.state
    if present is not None:
        present.verify()  # else damaged fields would get a valid checksum
    state, outcomes = merge_changes(present, changes)
    state = replace(state, is_delta=False)
    before = ScopeDocument(state, state.clock) if document is None else document
    state = replace(state, version=max(state.version, before.state.version))
    latest_clock = max(state.clock, before.latest_clock)
    peer_version = max(before.peer_version, *(each.version for each in changes))
    return Decision(
        replace(before, state=state, latest_clock=latest_clock, peer_version=peer_version),
        outcomes,
        events=[
            PushEvent(each.version, success=True)
            for each, outcome in zip(changes, outcomes, strict=True)
            if outcome == "accepted"
        ],
        is_changed=_is_changed(present, state),
    )


def _is_changed(before: Change | None, after: Change) -> bool:
    if before is None:
        return True
    # Two origins may write the same data at the same moment.
    return (before.version, before.stamp, before.origin) != (after.version, after.stamp, after.origin)


class _Resolution:
    """Applies one change after the other."""

    def __init__(self, document: ScopeDocument | None, seen: Mapping[str, Seen], *, by_clock: bool) -> None:
        self._before = self._state = None if document is None else document.state
        self._latest_clock, self._peer_version = (
            ("", 0) if document is None else (document.latest_clock, document.peer_version)
        )
        self._seen = seen
        self._newly_seen: dict[str, Seen] = {}
        self._by_clock = by_clock
        self._events: list[PushEvent] = []
        self._conflicts: list[LostState] = []

    def decision(self, outcomes: Sequence[Outcome], authority: str | None, strategy: str) -> Decision:
        assert self._state is not None
        document = ScopeDocument(self._state, self._latest_clock, self._peer_version, authority, strategy)
        is_changed = _is_changed(self._before, self._state)
        return Decision(document, outcomes, self._newly_seen, self._events, self._conflicts, is_changed)

    def apply(self, state: Change) -> Outcome:
        seen = self._newly_seen.get(state.origin) or self._seen.get(state.origin) if state.origin else None
        is_restored = self._is_restored(state, seen)
        restored_at = state.clock if is_restored else seen.restored_at if seen else NEVER_RESTORED
        is_known = seen is not None and state in seen
        if state.origin and (is_restored or (not is_known and state.clock >= restored_at)):
            self._newly_seen[state.origin] = Seen.of(state, restored_at)
        outcome = self._outcome(state)
        if outcome == "accepted":
            self._accept(state, restored_at)
        else:
            assert self._state is not None
            if outcome == "rejected":
                self._reject(state, self._state, restored_at, is_known=is_known)
            # The cloud's version is at least the highest that it was sent, so that all edges get the same version.
            self._state = replace(self._state, version=max(self._state.version, state.version))
        self._peer_version = max(self._peer_version, state.version)
        return outcome

    def _is_restored(self, state: Change, seen: Seen | None) -> bool:
        """Return whether the origin was restored: it counts versions and clock up together, and here one went down."""
        if seen is None or seen.is_state(state) or state.clock <= seen.clock:
            return False
        return state.version < seen.version or (state.version == seen.version and not self._by_clock)

    def _outcome(self, state: Change) -> Outcome:
        mine = self._state
        if mine is None:
            return "accepted"
        is_tie = state.clock == mine.clock if self._by_clock else state.version == mine.version
        if is_tie and (state.checksum, state.origin) == (mine.checksum, mine.origin):
            return "duplicate"
        if is_tie and not self._by_clock and not state.origin:
            return "rejected"  # a state without an origin takes no part in the order of equal versions
        return "accepted" if self._rank(state) > self._rank(mine) else "rejected"

    def _rank(self, state: Change) -> tuple[Any, ...]:
        if self._by_clock:
            return state.clock, state.origin, state.checksum
        return state.version, state.name == CLOUD_ORIGIN, state.origin, state.checksum

    def _accept(self, state: Change, restored_at: str) -> None:
        version = state.version
        if self._state is not None:
            if not _is_related(state, self._state, restored_at):
                self._conflicts.append(LostState("local", self._state, state))
            version = max(version, self._state.version)
        deleted = deleted_before(self._state, state)
        self._state = replace(state, version=version, is_delta=False, deleted=deleted)
        self._latest_clock = max(self._latest_clock, state.clock)
        self._events.append(PushEvent(version, success=True))

    def _reject(self, state: Change, mine: Change, restored_at: str, *, is_known: bool) -> None:
        if is_known or _is_related(state, mine, restored_at):
            return
        self._conflicts.append(LostState("remote", state, mine))
        rule = ConflictStrategy.LATEST_WINS if self._by_clock else ConflictStrategy.REMOTE_WINS
        self._events.append(PushEvent(state.version, success=False, error=f"refused by {rule.value}"))


def _is_related(state: Change, mine: Change, restored_at: str) -> bool:
    """Return whether one state descends from the other or equals it, so that the loser is not a conflict."""
    if _is_of_one_incarnation(state, mine, restored_at) or state.stamp == mine.stamp:
        return True
    return _has_ancestor(state, mine) or _has_ancestor(mine, state)


def _has_ancestor(state: Change, other: Change) -> bool:
    ancestor, _, earlier_run = state.ancestor.partition("+")
    if ancestor != "" and ancestor == other.stamp:
        return True
    return (
        other.clock <= earlier_run
        and state.origin != other.origin
        and lineage_of(state.origin) == lineage_of(other.origin)
    )


def _is_of_one_incarnation(state: Change, mine: Change, restored_at: str) -> bool:
    if not state.origin or state.origin != mine.origin or state.version == mine.version:
        return False
    if (state.version < mine.version) != (state.clock < mine.clock):
        return False
    return restored_at == NEVER_RESTORED or (state.clock < restored_at) == (mine.clock < restored_at)
