"""The settings with which a scope is written at its edge, so that an operator's write keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_redis._core import validation
from edge_redis._core.operation import Operation, command
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._services.options import SynchronizerOptions
from edge_redis._sync.config import strategy_of
from edge_redis._sync.keys import SyncKeys

if TYPE_CHECKING:
    from edge_redis import EdgeRedis
    from edge_redis.aio import EdgeRedis as AsyncEdgeRedis

_PARTS: Final = 4
"""Strategy, max_pending, overflow and origin."""


async def read_settings(edge: AsyncEdgeRedis, scope: str) -> SynchronizerOptions:
    """Return the options of the synchronizers that write a scope; the defaults where none wrote it."""
    return parse_settings(await AsyncRunner(edge.client).run(_read(edge.namespace, scope)))


def read_settings_blocking(edge: EdgeRedis, scope: str) -> SynchronizerOptions:
    """Return the same with the services of a blocking client."""
    return parse_settings(BlockingRunner(edge.client).run(_read(edge.namespace, scope)))


def _read(namespace: str, scope: str) -> Operation[str]:
    validation.check_identifier("scope", scope)
    return command(
        lambda found: (found or b"").decode(errors="replace"), "HGET", SyncKeys(namespace, "sync").scopes, scope
    )


def parse_settings(text: str) -> SynchronizerOptions:
    """Return the options that the settings of a scope stand for."""
    parts = text.split(" ", _PARTS - 1)
    options: SynchronizerOptions = {"conflict_strategy": strategy_of(text)}
    if len(parts) == _PARTS and parts[1].isdigit():
        options["max_pending"] = int(parts[1])
        options["overflow"] = "reject" if parts[2] == "reject" else "coalesce"
        options["origin"] = parts[3] or None
    return options
