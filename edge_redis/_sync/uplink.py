"""Sends changes up to a cloud in Redis, as splices of states that it is known to hold."""

from __future__ import annotations

from collections.abc import Sequence

from edge_redis._core.operation import Operation
from edge_redis._sync import scripts
from edge_redis._sync.change import Change, Outcome
from edge_redis._sync.change_encoding import encode_changes
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.link import LinkCounters
from edge_redis._sync.merge import merge_into
from edge_redis._sync.replica import Replica
from edge_redis._sync.replies import OtherState
from edge_redis._sync.splice import MIN_BODY_BYTES
from edge_redis._sync.wire import format_change


class Uplink:
    """The way up of one store object: what its cloud holds, as far as is known, and what was sent."""

    def __init__(self, replica: Replica, known: KnownStates, link: LinkCounters) -> None:
        self._replica = replica
        self._known = known
        self._link = link

    async def apply(self, scope: str, changes: Sequence[Change], settings: str) -> list[Outcome]:
        """Apply changes in one call; return the outcome of each, none where the scope's fields are to be merged.

        If the cloud holds another state than the known one, it names that state. It is one of these changes where a
        reply was lost; otherwise the first change is sent in full.
        """
        base = self._known.get(scope) if self._known.bytes else None
        words, splices = encode_changes(changes, base)
        tried = 0
        while isinstance(reply := await self._send(scope, settings, words, splices), OtherState):
            self._known.remove(scope)
            self._link.add_refused()
            tried += 1
            base = next((each for each in changes if each.checksum == reply.checksum), None) if tried == 1 else None
            words, splices = encode_changes(changes, base) if tried == 1 else ([*map(format_change, changes)], 0)
        if base or len(changes[-1].body) >= MIN_BODY_BYTES:
            self._remember(scope, changes, reply, base)
        return reply

    def _send(
        self, scope: str, settings: str, words: Sequence[bytes], splices: int
    ) -> Operation[list[Outcome] | OtherState]:
        operation = scripts.apply_encoded(self._replica, scope, words, settings)
        self._link.add_sent(operation.args, len(words), splices)
        return operation

    def _remember(
        self, scope: str, changes: Sequence[Change], outcomes: Sequence[Outcome], base: Change | None
    ) -> None:
        """Keep the state that the cloud holds now: the last accepted one, else the base, else perhaps a duplicate."""
        by_outcome = dict(zip(outcomes, changes, strict=False))
        state = by_outcome.get("accepted") or base or by_outcome.get("duplicate")
        if state is not None:
            self._known.put(scope, state)

    async def merge(self, scope: str, changes: Sequence[Change]) -> list[Outcome]:
        """Merge changes into the scope's document, which is read only where it is not known."""
        return await merge_into(self._replica, scope, changes, "", known=self._known, link=self._link)
