"""The settings with which a scope is written at its edge, so that an operator's write keeps them."""

from __future__ import annotations

from typing import Final

from edge_redis._core import validation
from edge_redis._core.operation import Operation, command
from edge_redis._core.reply_values import or_empty
from edge_redis._services.options import SynchronizerOptions
from edge_redis._sync.config import strategy_of
from edge_redis._sync.edge_keys import count_shards, make_edge_keys
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.relocation import read_where_it_is

_PARTS: Final = 4
"""Strategy, max_pending, overflow and origin."""


async def read_settings(namespace: str, scope: str) -> SynchronizerOptions:
    """Read the options of the synchronizers that write a scope; the defaults where none has written it."""
    validation.check_identifier("scope", scope)
    edge = make_edge_keys(namespace, count_shards(namespace))
    keys = (await edge.find()).choose(scope)

    def read(each: SyncKeys) -> Operation[bytes]:
        return command(or_empty, "HGET", each.scopes, scope)

    return _decode(await read(keys) or await read_where_it_is(edge, scope, read, b"", keys))


def _decode(settings: bytes) -> SynchronizerOptions:
    text = settings.decode(errors="replace")
    parts = text.split(" ", _PARTS - 1)
    options: SynchronizerOptions = {"conflict_strategy": strategy_of(text)}
    if len(parts) == _PARTS and parts[1].isdigit():
        options["max_pending"] = int(parts[1])
        overflow, _, most_bytes = parts[2].partition(":")
        options["overflow"] = "reject" if overflow == "reject" else "coalesce"
        options["max_pending_bytes"] = int(most_bytes) if most_bytes.isdigit() else None
        options["origin"] = parts[3] or None
    return options
