"""The operators' actions in a namespace, each with its operator, in a capped stream of Redis.

| key           | type   | holds                                             |
|---------------|--------|---------------------------------------------------|
| <tag>:actions | stream | operator, action, target, detail; newest 1,000    |

The tag is ``er:{<namespace>:site0}``.
"""

from __future__ import annotations

from typing import Any, Final

from edge_redis._core.keys import KeySpace
from edge_redis._core.operation import command
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.clients import AsyncClient
from edge_redis._site.state import Event
from edge_redis.models import from_timestamp

MAX_ACTIONS: Final = 1000
_MAX_CHARS: Final = 500


class ActionLog:
    """Records operators' actions, and reads them."""

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self._runner = AsyncRunner(client)
        self._key = KeySpace(namespace, "site").key("actions")

    async def record(self, operator: str, action: str, target: str, detail: str = "") -> None:
        """Record an action, before it is performed: none is performed that cannot be recorded."""
        fields = {"operator": operator, "action": action, "target": target, "detail": detail}
        words = [word[:_MAX_CHARS] for pair in fields.items() for word in pair]
        operation = command(bytes, "XADD", self._key, "MAXLEN", "~", MAX_ACTIONS, "*", *words)
        await self._runner.run(operation)

    async def latest(self, limit: int) -> list[Event]:
        """Return the newest ``limit`` actions, oldest first."""
        entries = await self._runner.run(command(list[Any], "XREVRANGE", self._key, "+", "-", "COUNT", limit))
        return [_to_event(position, fields) for position, fields in reversed(entries)]


def _to_event(position: bytes, fields: dict[bytes, bytes]) -> Event:
    text = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
    return Event(
        at=from_timestamp(int(position.partition(b"-")[0]) / 1000),
        kind="action",
        name=text.get("action", ""),
        target=text.get("target", ""),
        detail=text.get("detail", ""),
        operator=text.get("operator", ""),
    )
