"""Maintenance that an operator sets, apart from the status that the node itself reports."""

from __future__ import annotations

from edge_redis._core import validation
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._health import scripts
from edge_redis._health.checker import Checker
from edge_redis._health.config import HealthConfig
from edge_redis._health.keys import HealthKeys
from edge_redis._health.registry import unknown_error

_NO_END = ""
_NOW = "0"


class Maintenance:
    """Begins and ends the maintenance of nodes."""

    def __init__(self, keys: HealthKeys, config: HealthConfig, checker: Checker) -> None:
        self._keys = keys
        self._config = config
        self._checker = checker
        self._idempotency = IdempotencyKeys()

    async def begin(self, node_id: str, seconds: float | None, reason: str) -> None:
        """Begin a node's maintenance, for ``seconds`` or until it is ended; or change one that lasts."""
        duration_ms: float | str = _NO_END
        if seconds is not None:
            duration_ms = validation.check_positive("seconds", seconds) * 1000
        await self._set(node_id, duration_ms, validation.check_text("reason", reason))

    async def end(self, node_id: str) -> bool:
        """End a node's maintenance, which the check that follows writes to the stream; return whether it was in one."""
        was_in_maintenance = await self._set(node_id, _NOW, "")
        if was_in_maintenance:
            await self._checker.check_node(node_id)
        return was_in_maintenance

    async def _set(self, node_id: str, duration_ms: float | str, reason: str) -> bool:
        name = validation.check_identifier("node id", node_id)
        with self._idempotency.acquire() as key:
            reply = await scripts.set_maintenance(self._keys, self._config, name, duration_ms, reason, key)
        if not reply:
            raise unknown_error([name])
        return reply == b"1"
