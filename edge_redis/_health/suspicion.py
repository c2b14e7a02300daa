"""Suspicion before death: a node that falls silent is suspected first, and unhealthy once that is confirmed.

After SWIM (Das, Gupta, Motivala, "SWIM: scalable weakly-consistent infection-style process group
membership protocol", DSN 2002): the suspect has time to be heard of, and may be asked over another way
than that of its heartbeats. Who answers is suspected for as long as it is silent, and no more than that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final, TypeAlias

from edge_redis._core.operation import Argument, Batch, Invoke, Operation, command
from edge_redis._core.script import load
from edge_redis._health.keys import HealthKeys
from edge_redis._health.registry import SLICE, SLICES_AT_ONCE, sliced
from edge_redis._health.verdicts import Brief

Ask: TypeAlias = Callable[[Sequence[str], float], dict[str, bool] | Awaitable[dict[str, bool]]]
"""Asks nodes, given as ids, within a time in seconds; says of each that it got to whether it answered."""

ASKED_AT_ONCE: Final = 100
"""Suspects asked in one round."""

_SUSPECT: Final = load(__package__, "suspect")


class Suspicion:
    """Who is suspected, kept in Redis, so that whoever takes over the watch goes on with it."""

    def __init__(self, keys: HealthKeys, seconds: float, max_transitions: int, ask: Ask | None) -> None:
        self._keys = keys
        self._ms = seconds * 1000
        self._max_transitions = max_transitions
        self._ask = ask

    @property
    def note(self) -> str:
        """What is added to the reason of a verdict that is confirmed."""
        return "" if self._ask is None else ", does not answer"

    async def confirmed(
        self, fence: int, now_ms: int, silent: Sequence[Brief], limit: str, seconds: float
    ) -> list[str]:
        """Return which of these silent nodes are dead by all that can be known; suspect the others.

        ``limit`` says what was too long a silence; asking takes at most ``seconds``.
        """
        if not silent or (self._ms == 0 and self._ask is None):
            return [brief.node_id for brief in silent]
        since = await self._since([brief.node_id for brief in silent])
        new = [brief for brief in silent if brief.node_id not in since]
        await self._suspect(fence, ((brief.node_id, self._reason(brief, limit)) for brief in new), again=False)
        due = [brief.node_id for brief in silent if now_ms - since.get(brief.node_id, now_ms) >= self._ms]
        if self._ask is None or not due:
            return due
        answers = await Invoke(self._ask, due[:ASKED_AT_ONCE], seconds)
        alive = [node_id for node_id, is_alive in answers.items() if is_alive]
        await self._suspect(fence, ((node_id, "") for node_id in alive), again=True)
        return [node_id for node_id, is_alive in answers.items() if not is_alive]

    async def _since(self, ids: Collection[str]) -> dict[str, int]:
        """Return since when these nodes are suspected, in ms of the server's clock; not those that are not."""
        found: dict[str, int] = {}
        for some in sliced(list(ids), SLICE * SLICES_AT_ONCE):
            parts = [
                command(list[bytes | None], "HMGET", self._keys.suspects, *part) for part in sliced(some, SLICE * 2)
            ]
            replies = await Batch(parts)
            moments = (moment for reply in replies for moment in reply)
            found.update({name: _moment(at) for name, at in zip(some, moments, strict=True) if at is not None})
        return found

    async def _suspect(self, fence: int, nodes: Iterable[tuple[str, str]], *, again: bool) -> None:
        given = list(nodes)
        for some in sliced(given, SLICE * SLICES_AT_ONCE):
            await Batch([self._step(fence, part, again=again) for part in sliced(some, SLICE)])

    def _step(self, fence: int, nodes: Iterable[tuple[str, str]], *, again: bool) -> Operation[int]:
        keys = self._keys
        words: list[Argument] = [fence, self._max_transitions, int(again)]
        return _SUSPECT(
            [keys.duty, keys.suspects, keys.beats, keys.histories, keys.transitions],
            [*words, *(word for node in nodes for word in node)],
            int,
        )

    def _reason(self, brief: Brief, limit: str) -> str:
        then = f"to be confirmed after {self._ms / 1000:g} s" if self._ms else "to be confirmed"
        return f"heartbeat {brief.latency_ms / 1000:.1f} s old, {limit}, {then}"


def _moment(word: bytes) -> int:
    """Return a moment in ms; one that does not decode is long ago, so that it ends with the next round."""
    return int(word) if word.isdigit() else 0
