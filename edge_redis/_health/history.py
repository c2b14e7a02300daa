"""The stored results of checks: each node's history, the stream of transitions, and totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.operation import Operation, command
from edge_redis._health import age_statistics, scripts, spells, verdicts
from edge_redis._health.config import MAX_HISTORY, HealthConfig
from edge_redis._health.flapping import FLAPPING_WINDOW, FlapThresholds
from edge_redis._health.keys import HealthKeys
from edge_redis._health.moved_nodes import refuse_closed
from edge_redis._health.spells import NodeHistory
from edge_redis._health.transition_entry import StreamEntry, decode_entry
from edge_redis.models import HealthCheck, Transition

MAX_TRANSITIONS_READ: Final = 100_000
_PAGE: Final = 500


class History:
    """Reads the results of checks."""

    def __init__(self, keys: HealthKeys, config: HealthConfig) -> None:
        self._keys = keys
        self._config = config

    async def checks(self, node_id: str, limit: int) -> list[HealthCheck]:
        """Return a node's newest ``limit`` checks, oldest first."""
        name = validation.check_identifier("node id", node_id)
        last = validation.check_integer("limit", limit, least=1) - 1
        read = command(
            lambda lines: verdicts.decode_history(name, lines),
            "LRANGE",
            self._keys.history(name),
            0,
            min(last, MAX_HISTORY),
        )
        [found] = await refuse_closed(self._keys, read)
        return found

    def read(self, node_id: str, limit: int, *, with_state: bool = False) -> Operation[NodeHistory]:
        """Return a node's newest checks and changes of verdict; ``with_state``, also whether it flaps for a watch."""
        name = validation.check_identifier("node id", node_id)
        return scripts.node_history(
            self._keys,
            self._config,
            name,
            min(limit, MAX_HISTORY),
            lambda reply: spells.decode_history(name, reply),
            with_state=with_state,
        )

    def read_for_flapping(self, node_id: str, window: int = FLAPPING_WINDOW) -> Operation[NodeHistory]:
        """Return the history that the rules of flapping need: a window of checks, for thresholds all checks."""
        if isinstance(self._config.flap_detector, FlapThresholds):
            return self.read(node_id, self._config.max_history, with_state=True)
        return self.read(node_id, window)

    async def availability(self, node_id: str, seconds: float) -> dict[str, Any]:
        """Return a node's availability over the last ``seconds``."""
        validation.check_positive("seconds", seconds)
        return spells.compute_availability(await self.read(node_id, 1), seconds)

    async def heartbeat_age(self, node_id: str) -> dict[str, Any]:
        """Return statistics of the heartbeat's age at the node's checks."""
        return age_statistics.summarize(
            [found.latency_ms for found in await self.checks(node_id, self._config.max_history)]
        )

    def total_checks(self) -> Operation[int]:
        """Return how many checks were ever made."""
        return command(lambda count: int(count or 0), "HGET", self._keys.totals, "total_checks")

    async def transitions(self, limit: int, node_id: str | None = None) -> list[Transition]:
        """Return the newest ``limit`` transitions, oldest first, of one node where it is given."""
        validation.check_integer("limit", limit, least=1, most=MAX_TRANSITIONS_READ)
        wanted = None if node_id is None else validation.check_identifier("node id", node_id)
        found: list[Transition] = []
        end = "+"
        while True:
            page = await self._transitions_before(end)
            found.extend(_decode_matching(page, wanted))
            if len(page) < _PAGE or len(found) >= limit:
                return found[:limit][::-1]
            end = "(" + page[-1][0].decode()

    def _transitions_before(self, end: str) -> Operation[Sequence[StreamEntry]]:
        return command(list[StreamEntry], "XREVRANGE", self._keys.transitions, end, "-", "COUNT", _PAGE)


def _decode_matching(entries: Iterable[StreamEntry], node_id: str | None) -> list[Transition]:
    decoded = (decode_entry(entry) for entry in entries)
    return [change for change in decoded if change is not None and node_id in (None, change.node_id)]
