"""The last flush of an asyncio service at the interpreter's exit, when the service's event loop has ended.

The connections of the service's client belong to the loop that has ended, so a copy of the client
makes the flush, on a loop of its own. That loop resolves host names in its own thread: asyncio's
default is a thread pool, and the interpreter has stopped all pools by then.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import redis.asyncio
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import Sentinel

from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.clients import AsyncClient, is_cluster

T = TypeVar("T")


class _ExitLoop(asyncio.SelectorEventLoop):
    """An event loop without a thread pool."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        return socket.getaddrinfo(*args, **kwargs)


def run_in_new_loop(client: AsyncClient, awaitable: Awaitable[T]) -> T:
    """Run ``awaitable`` in a new event loop, on a copy of ``client``."""

    async def perform() -> T:
        async with AsyncExitStack() as stack:
            return await AsyncRunner(await _copy(client, stack)).run(awaitable)

    with asyncio.Runner(loop_factory=_ExitLoop) as runner:
        return runner.run(perform())


async def _copy(client: Any, stack: AsyncExitStack) -> AsyncClient:
    """Return a client of the same server, or cluster, which ``stack`` closes."""
    if is_cluster(client):
        copy: AsyncClient = _copy_cluster(client)
        stack.push_async_callback(copy.aclose)
        return copy
    pool = client.connection_pool
    options = {name: value for name, value in pool.connection_kwargs.items() if name != "connection_pool"}
    options["connection_class"] = pool.connection_class
    if hasattr(pool, "sentinel_manager"):
        sentinel = _copy_sentinel(pool.sentinel_manager)
        for each in sentinel.sentinels:
            stack.push_async_callback(each.aclose)
        fresh: Any = type(pool)(pool.service_name, sentinel, is_master=pool.is_master, **options)
    else:
        fresh = redis.asyncio.ConnectionPool(**options)
    stack.push_async_callback(fresh.disconnect)
    return redis.asyncio.Redis(connection_pool=fresh)


def _copy_sentinel(manager: Any) -> Any:
    known = [each.connection_pool.connection_kwargs for each in manager.sentinels]
    nodes = [(each["host"], each["port"]) for each in known]
    factory: Any = Sentinel
    return factory(nodes, sentinel_kwargs=manager.sentinel_kwargs, **manager.connection_kwargs)


def _copy_cluster(client: Any) -> redis.asyncio.RedisCluster:
    accepted = inspect.signature(redis.asyncio.RedisCluster.__init__).parameters
    options = {name: value for name, value in client.connection_kwargs.items() if name in accepted}
    options["ssl"] = issubclass(client.connection_kwargs.get("connection_class", object), redis.asyncio.SSLConnection)
    manager = client.nodes_manager
    nodes = {(node.host, node.port) for node in (*manager.startup_nodes.values(), *manager.nodes_cache.values())}
    return redis.asyncio.RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in sorted(nodes)],
        retry=client.retry,
        address_remap=manager.address_remap,
        **options,
    )
