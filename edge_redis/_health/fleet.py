"""Many nodes at once: their heartbeats in one round trip, the silent ones, the ones to forget."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.operation import Batch, Operation
from edge_redis._core.script import load
from edge_redis._health import node_record as fields
from edge_redis._health.checks import Checks
from edge_redis._health.registry import SLICE, SLICES_AT_ONCE, sliced
from edge_redis.models import EdgeNode, from_timestamp

MAX_STALE: Final = 10_000

_BEATS: Final = load(__package__, "beats")
_STALE: Final = load(__package__, "stale")
_FORGET: Final = load(__package__, "forget")


class Fleet(Checks):
    """What is done with all nodes of a site rather than with one."""

    async def heartbeat_many(self, nodes: Iterable[EdgeNode | str]) -> dict[str, bool]:
        """Note that these nodes are alive now, as ``heartbeat`` does; return for each id whether it is registered.

        One round trip for up to 5,000 nodes.
        """
        given = fields.listed(nodes)
        found: dict[str, bool] = {}
        for some in sliced(given, SLICE * SLICES_AT_ONCE):
            ids = [node for node in some if isinstance(node, str)]
            objects = [node for node in some if isinstance(node, EdgeNode)]
            slices = list(sliced(ids, SLICE))
            steps: list[Operation[Any]] = [
                *(
                    _BEATS([self._keys.beats, self._keys.nodes], [self._now_word(), self._arrival_limit, *part], bytes)
                    for part in slices
                ),
                *(self._write(node, beats_now=True) for node in objects),
            ]
            results = await Batch(steps)
            for part, flags in zip(slices, results, strict=False):
                found.update({node_id: flag == ord("1") for node_id, flag in zip(part, flags, strict=True)})
            for node, beat_ms in zip(objects, results[len(slices) :], strict=True):
                node.last_heartbeat = from_timestamp(beat_ms / 1000)
                found[node.id] = True
        return found

    def stale(self, seconds: float | None = None, limit: int = 1000) -> Operation[list[str]]:
        """Return the registered ids that have been silent for ``seconds`` or longer, the longest silent first.

        ``None`` means the heartbeat timeout. Statuses do not count, and nothing is checked: this is one
        range of a sorted set, whatever the number of nodes.
        """
        age = self._timeout if seconds is None else validation.non_negative("seconds", seconds)
        most = validation.integer("limit", limit, least=1, most=MAX_STALE)
        return _STALE([self._keys.beats], [age * 1000, most, self._now_word()], fields.known_ids)

    async def forget(self, seconds: float) -> int:
        """Remove the nodes that have been silent for ``seconds`` or longer; return how many.

        Each goes with its facts and history, and leaves a transition to "forgotten". One that beats
        again by id learns that it is unknown; one that beats as an EdgeNode is registered again. A
        node in maintenance stays.
        """
        age_ms = validation.positive("seconds", seconds) * 1000
        removed = kept = 0
        while True:
            with self._slots.acquire() as call:
                gone, stayed = await self._forget(call, age_ms, kept)
            removed += gone
            kept += stayed
            if gone + stayed < SLICE:
                return removed

    def _forget(self, call: tuple[str, int], age_ms: float, kept: int) -> Operation[tuple[int, int]]:
        keys = self._keys
        return _FORGET(
            [keys.beats, keys.nodes, keys.histories, keys.transitions, keys.repeats, keys.suspects, keys.flapping],
            [*call, age_ms, SLICE, self._max_transitions, self._now_word(), kept],
            _counts,
        )


def _counts(reply: bytes) -> tuple[int, int]:
    removed, kept = map(int, reply.split())
    return removed, kept
