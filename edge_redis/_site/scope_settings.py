"""The settings with which a scope is written at its edge, so that an operator's write keeps them."""

from __future__ import annotations

from typing import Final

from edge_redis._core.operation import command, identity
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._services.options import SynchronizerOptions
from edge_redis._sync.config import strategy_of
from edge_redis._sync.keys import SyncKeys

_PARTS: Final = 4
"""Strategy, max_pending, overflow and origin."""


async def read_settings(edge: EdgeRedis, scope: str) -> SynchronizerOptions:
    """Return the options of the synchronizers that write a scope; the defaults where none wrote it."""
    key = SyncKeys(edge.namespace, "sync").scopes
    found = await AsyncRunner(edge.client).run(command(identity, "HGET", key, scope))
    return parse_settings((found or b"").decode(errors="replace"))


def parse_settings(text: str) -> SynchronizerOptions:
    """Return the options that the settings of a scope stand for."""
    parts = text.split(" ", _PARTS - 1)
    options: SynchronizerOptions = {"conflict_strategy": strategy_of(text)}
    if len(parts) == _PARTS and parts[1].isdigit():
        options["max_pending"] = int(parts[1])
        options["overflow"] = "reject" if parts[2] == "reject" else "coalesce"
        options["origin"] = parts[3] or None
    return options
