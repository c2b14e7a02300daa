"""Chooses how commands are sent on a blocking client."""

from __future__ import annotations

import redis

from edge_redis._io.blocking_calls import Calls, calls_of
from edge_redis._io.clients import BlockingClient
from edge_redis._io.cluster_calls import ClusterCalls


def find_calls(client: BlockingClient) -> Calls:
    """Return the object that sends commands on ``client``."""
    return ClusterCalls(client) if isinstance(client, redis.RedisCluster) else calls_of(client)
