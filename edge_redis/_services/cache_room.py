"""What an EdgeCache is made of, blocking or awaited: a room, and what the process shares."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

from edge_redis._cache.api import Cache
from edge_redis._cache.buffer import AccessBuffer
from edge_redis._cache.config import CLUSTER_SHARDS, Settings
from edge_redis._cache.near import Copies, Near
from edge_redis._io.runner import is_cluster
from edge_redis._io.shared import Shared
from edge_redis._io.shutdown import new_mutex

_buffers: Final[Shared[AccessBuffer]] = Shared(lambda: AccessBuffer(new_mutex))
"""One buffer of accesses for all caches of this process, server and shard, blocking and awaited."""

_copies: Final[Shared[Copies]] = Shared(lambda: Copies(new_mutex))
"""All near caches of this process, server and namespace."""


def default_shards(client: object, max_size: Any) -> int:
    """Return how many shards a cache has that names no number."""
    return min(CLUSTER_SHARDS, max_size) if is_cluster(client) and isinstance(max_size, int) else 1


def cache_room(client: Any, namespace: str, settings: Settings) -> Cache:
    """Return the room of a cache, using what all caches of this process and namespace share."""
    near = None if settings.near is None else Near(settings.near, time.monotonic, new_mutex)
    room = Cache(namespace, settings, time.monotonic, near)
    room.share(partial(_buffers.get, client), _copies.get(client, namespace))
    return room
