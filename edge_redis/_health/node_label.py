"""The name and location of a node, by which operators know it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from edge_redis._core import codec
from edge_redis._core.operation import Operation, command
from edge_redis._health.keys import HealthKeys
from edge_redis.errors import CorruptDataError


def read_label(keys: HealthKeys, node_id: str) -> Operation[tuple[str, str]]:
    """Return a node's name and location; empty where it is not registered, or where they do not decode."""
    return command(_decode_label, "HMGET", keys.node(node_id), "profile", "location")


def _decode_label(reply: list[Any]) -> tuple[str, str]:
    profile, location = reply
    name: Any = ""
    with suppress(CorruptDataError, TypeError, ValueError, IndexError, KeyError):
        name = codec.decode(profile or b"")[0]
    return name if isinstance(name, str) else "", (location or b"").decode("utf-8", "replace")
