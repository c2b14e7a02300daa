"""Chooses how commands are sent on a client."""

from __future__ import annotations

from types import FunctionType
from typing import Any, Final

import redis
import redis.asyncio

from edge_redis._io.asyncio_cluster import AsyncClusterSender
from edge_redis._io.asyncio_sender import AsyncClientSender, AsyncOwnedSender, AsyncSharedSender
from edge_redis._io.asyncio_sources import is_shareable
from edge_redis._io.blocking_sender import ClientSender, OwnedSender
from edge_redis._io.clients import AsyncClient, BlockingClient
from edge_redis._io.cluster_sender import ClusterSender
from edge_redis._io.command_sender import AsyncCommandSender, CommandSender

_OWN_MODULES: Final = ("redis.client", "redis.asyncio.client", "edge_redis._io.connect_clients")


def _overrides_methods(client: Any) -> bool:
    """Return whether ``client`` overrides the methods that send commands, as instrumented clients do."""
    if "execute_command" in vars(client) or "pipeline" in vars(client) or not hasattr(client, "connection_pool"):
        return True
    methods = (type(client).execute_command, type(client).pipeline)
    return not all(isinstance(method, FunctionType) and method.__module__ in _OWN_MODULES for method in methods)


def find_sender(client: BlockingClient) -> CommandSender:
    """Return the object that sends commands on ``client``."""
    if isinstance(client, redis.RedisCluster):
        return ClusterSender(client)
    return ClientSender(client) if _overrides_methods(client) else OwnedSender(client)


def find_async_sender(client: AsyncClient) -> AsyncCommandSender:
    """Return the object that sends commands on ``client``."""
    if isinstance(client, redis.asyncio.RedisCluster):
        return AsyncClusterSender(client)
    if _overrides_methods(client) or client.single_connection_client:
        return AsyncClientSender(client)
    return AsyncSharedSender(client) if is_shareable(client) else AsyncOwnedSender(client)
