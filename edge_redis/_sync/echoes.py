"""Recognises, in the cloud's feed, the states that a worker has just brought there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from edge_redis._sync.change import Change
from edge_redis._sync.wire import LeasedEntry

MAX_ECHOES: Final = 4096


class Echoes:
    """The newest change of each scope that one worker has pushed and confirmed; the oldest ones are forgotten.

    Applying such a state at the edge would change nothing: the edge wrote it, and has it or a later one. An edge that
    was wiped or restored since writes under another origin (``origin.py``), and gets the state back.
    """

    def __init__(self) -> None:
        self._heads: dict[str, bytes] = {}

    def add(self, confirmed: Mapping[str, Sequence[LeasedEntry]]) -> None:
        """Remember the newest of the changes of each scope."""
        heads = self._heads
        for scope, entries in confirmed.items():
            heads.pop(scope, None)
            heads[scope] = entries[-1].head
        while len(heads) > MAX_ECHOES:
            del heads[next(iter(heads))]

    def has(self, scope: str, change: Change, replica_id: str) -> bool:
        """Return whether this state of the cloud is the one that was pushed, by this incarnation of the edge."""
        head = self._heads.get(scope)
        if head is None or not change.origin.endswith(replica_id):
            return False
        _, version, clock, checksum, _, signature, origin = head.decode(errors="replace").split(" ", 6)
        pushed = (version, clock, checksum, signature, origin)
        return pushed == (str(change.version), change.clock, change.checksum, change.signature, change.origin)
