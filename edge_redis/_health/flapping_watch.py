"""The nodes that flap, as the leading watch records them in Redis and in the stream of transitions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from edge_redis._core.chunks import split_chunks
from edge_redis._core.operation import Batch, Operation, command
from edge_redis._health import watch_scripts
from edge_redis._health.config import HealthConfig
from edge_redis._health.history import History
from edge_redis._health.keys import HealthKeys
from edge_redis._health.slices import SLICE
from edge_redis._health.spells import NodeHistory
from edge_redis._health.watch_scripts import Term

_PAGE: Final = 500
_LOOKBACK_MS: Final = 3_600_000
"""A watch that takes the lead looks at the nodes with a transition in the last hour."""


class FlappingWatch:
    """Finds the nodes that began or ceased to flap."""

    def __init__(self, keys: HealthKeys, config: HealthConfig, history: History) -> None:
        self._keys = keys
        self._config = config
        self._history = history
        self._detector = config.flapping_rules()
        self._cursor = ""

    async def update(self, term: Term, changed: Collection[str]) -> None:
        """Record the beginnings and ends of flapping among the nodes whose verdict changed and those that flapped."""
        known, others = await self._read(term)
        for some in split_chunks(sorted(({*changed, *known} | others) - {""}), SLICE):
            histories = await Batch([self._history.read_for_flapping(node_id) for node_id in some])
            changes = [
                found
                for node_id, history in zip(some, histories, strict=True)
                if (found := self._record(term.number, node_id, history, was=node_id in known))
            ]
            if changes:
                await Batch(changes)

    async def _read(self, term: Term) -> tuple[set[str], set[str]]:
        """Return the nodes that flap, and those with a transition since the last round.

        Other monitors check nodes too, so the changes of this round are not all changes.
        """
        cursor = self._cursor or f"{max(0, term.now_ms - _LOOKBACK_MS)}"
        members, page = await Batch(
            [command(list[Any], "SMEMBERS", self._keys.flapping), self._transitions_after(cursor)]
        )
        changed: set[str] = set()
        while page:
            cursor = page[-1][0].decode()
            changed.update(_decode_text((fields or {}).get(b"node", b"")) for _, fields in page)
            page = await self._transitions_after(cursor) if len(page) == _PAGE else []
        self._cursor = cursor
        return {_decode_text(node_id) for node_id in members}, changed

    def _transitions_after(self, cursor: str) -> Operation[list[Any]]:
        return command(list[Any], "XRANGE", self._keys.transitions, f"({cursor}", "+", "COUNT", _PAGE)

    def _record(self, term: int, node_id: str, history: NodeHistory, *, was: bool) -> Operation[int] | None:
        """Return the operation that records a change, or None where there is none or the node is in maintenance."""
        flaps = self._detector.is_flapping(history._replace(is_flapping=was, is_led=True))
        newest = history.checks[-1] if history.checks else None
        if flaps == was or (newest and newest.details.get("maintenance")):
            return None
        verdict = "healthy" if newest and newest.healthy else "unhealthy"
        reason = self._detector.describe(history)
        return watch_scripts.record_flapping(self._keys, self._config, term, node_id, verdict, reason, flaps=flaps)


def _decode_text(word: bytes) -> str:
    return word.decode("utf-8", "replace")
