"""Components with the objects that all services of a process share, for blocking and asyncio services alike."""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from edge_redis._cache import fail_open
from edge_redis._cache.access_buffer import AccessBuffer
from edge_redis._cache.config import CacheConfig
from edge_redis._cache.flights import Flights
from edge_redis._cache.near_cache_group import NearCacheGroup
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_subscribers import Subscribers
from edge_redis._cache.shards import ProcessState
from edge_redis._core.shards import CLUSTER_SHARDS, MAX_SHARDS, KnownRecord, ShardCount, check_shards
from edge_redis._io.clients import is_asyncio, is_cluster
from edge_redis._io.shared import Shared
from edge_redis._io.shutdown import new_mutex
from edge_redis._io.threads import current_thread_id, new_future
from edge_redis._metrics.api import Metrics
from edge_redis._metrics.config import MetricsConfig
from edge_redis._metrics.record_buffer import RecordBuffer
from edge_redis._sync.edge_keys import count_shards
from edge_redis._sync.write_queue import WriteQueue

_access_buffers: Final[Shared[AccessBuffer]] = Shared(lambda: AccessBuffer(new_mutex))
"""One buffer of accesses for all caches of this process, server and shard."""

_near_caches: Final[Shared[NearCacheGroup]] = Shared(lambda: NearCacheGroup(new_mutex))
"""All near caches of this process, server and namespace."""

_flights: Final[Shared[Flights]] = Shared(lambda: Flights(new_future))
"""Computations under way of all caches of this process, server and shard."""

_write_queues: Final[Shared[WriteQueue]] = Shared(lambda: WriteQueue(new_mutex, new_future))
"""One queue of writers for all synchronizers of this process, server and namespace."""

_record_buffers: Final[Shared[RecordBuffer]] = Shared(RecordBuffer)
"""One buffer of records for all metrics of this process, server and namespace."""


def default_shards(client: object, most: Any = CLUSTER_SHARDS) -> int:
    """Return the number of shards of a component that is given none, in a namespace without any."""
    return min(CLUSTER_SHARDS, most) if is_cluster(client) and isinstance(most, int) else 1


def make_cache(client: Any, namespace: str, config: CacheConfig) -> fail_open.AnyCache:
    """Return a cache that shares its access buffers, and is known to the near caches of its process."""
    near = None if config.near is None else NearEntries(config.near, time.monotonic, new_mutex, config.codec.decode)
    state = ProcessState(
        partial(_access_buffers.get, client), _near_caches.get(client, namespace), partial(_flights.get, client)
    )
    return fail_open.make_cache(namespace, config, time.monotonic, near, state)


def make_subscribers(
    start: Callable[[Any], object], retire: Callable[[Any], object], forget: Callable[[Any], object]
) -> Subscribers:
    """Return the group of the near caches of a process and server."""
    return Subscribers(start, retire, forget, new_mutex)


def make_metrics(client: Any, config: MetricsConfig) -> Metrics:
    """Return metrics that share their buffer of records."""
    buffer = _record_buffers.get(client, config.namespace)
    return Metrics(config, buffer, thread_id=current_thread_id, blocks_thread=not is_asyncio(client))


def write_queue(client: Any, namespace: str) -> WriteQueue:
    """Return the queue of writers of a namespace at an edge."""
    return _write_queues.get(client, f"{namespace}:edge")


def edge_shards(client: Any, namespace: str, given: object = None, known: KnownRecord | None = None) -> ShardCount:
    """Return the number of shards of the edge, which objects with the same ``known`` read once."""
    return count_shards(namespace, check_shards(given), default_shards(client, MAX_SHARDS), known)


def consumer_name() -> str:
    """Return a new, distinct name for a worker that is given none."""
    return f"{platform.node() or 'worker'}-{os.getpid()}-{secrets.token_hex(3)}"
