"""The nodes that flap, as the leading watch records them in Redis and in the stream of transitions."""

from __future__ import annotations

from collections.abc import Container, Sequence

from edge_redis._core.operation import Batch, Operation, command
from edge_redis._health import scripts
from edge_redis._health.config import HealthConfig
from edge_redis._health.flapping import FlapDetector
from edge_redis._health.history import History
from edge_redis._health.keys import HealthKeys
from edge_redis._health.slices import SLICE, sliced
from edge_redis.models import EdgeNodeStatus, HealthCheck


class FlappingWatch:
    """Finds the nodes that began or ceased to flap."""

    def __init__(self, keys: HealthKeys, config: HealthConfig, history: History) -> None:
        self._keys = keys
        self._config = config
        self._history = history
        self._detector = FlapDetector(config.flap_detector)

    async def update(self, term: int, changed: Sequence[str]) -> None:
        """Record what changed, for the nodes whose verdict changed and those that were flapping."""
        members = await command(set[bytes], "SMEMBERS", self._keys.flapping)
        known = {node_id.decode("utf-8", "replace") for node_id in members}
        for some in sliced(sorted({*changed, *known}), SLICE * 4):
            histories = await Batch([self._history.all_checks(node_id) for node_id in some])
            pairs = zip(some, histories, strict=True)
            changes = [found for node_id, checks in pairs if (found := self._record(term, node_id, checks, known))]
            if changes:
                await Batch(changes)

    def _record(
        self, term: int, node_id: str, checks: Sequence[HealthCheck], known: Container[str]
    ) -> Operation[int] | None:
        """Return the operation that records a change, or None where there is none or the node is in maintenance."""
        verdicts = [found.healthy for found in checks]
        flaps = self._detector.is_flapping(verdicts, was=node_id in known)
        in_maintenance = checks and checks[-1].details["status"] == EdgeNodeStatus.MAINTENANCE
        if flaps == (node_id in known) or in_maintenance:
            return None
        verdict = "healthy" if checks and checks[-1].healthy else "unhealthy"
        reason = self._detector.reason(verdicts)
        return scripts.record_flapping(self._keys, self._config, term, node_id, verdict, reason, flaps=flaps)
