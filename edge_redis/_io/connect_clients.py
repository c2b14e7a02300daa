"""The clients that ``connect`` returns: redis-py's, except that each command owns its connection.

So, as in the services, callers wait for a free connection instead of failing, and an interrupted
command cannot leave its reply to the next caller. Pipelines, transactions and subscriptions are
unchanged.
"""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio

from edge_redis._io import asyncio_sender, blocking_sender
from edge_redis._io.call_pool import find_call_pool
from edge_redis._io.replica_views import ReplicaViews


class RedisClient(redis.Redis):
    """A client of one server."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and return its reply."""
        if self.connection is not None:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

        def exchange(connection: Any) -> Any:
            connection.send_command(*args)
            return self.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]

        return blocking_sender.call_on(find_call_pool(self.connection_pool), exchange)


class AsyncRedisClient(redis.asyncio.Redis):
    """A client of one server, for asyncio."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and return its reply."""
        if self.connection is not None or self.single_connection_client:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

        async def exchange(connection: Any) -> Any:
            await connection.send_command(*args)
            return await self.parse_response(connection, args[0], **options)

        return await asyncio_sender.call_on(self.connection_pool, exchange)


def find_sentinels(client: Any) -> Any:
    """Return the clients of the Sentinels that a client uses."""
    return client.connection_pool.sentinel_manager.sentinels


class SentinelClient(RedisClient):
    """A client of a service's master, or of its replicas; closing it closes its Sentinels' clients too."""

    def close(self) -> None:
        """Close the connections to the servers and to the Sentinels."""
        super().close()
        for sentinel in find_sentinels(self):
            sentinel.close()


class AsyncSentinelClient(AsyncRedisClient):
    """``SentinelClient`` for asyncio."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001 -- the library's
        """Close the connections to the servers and to the Sentinels."""
        await super().aclose(close_connection_pool)
        for sentinel in find_sentinels(self):
            await sentinel.aclose()


class ReplicaClusterClient(redis.RedisCluster):
    """A client of a cluster's replicas."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.replica_views = ReplicaViews()
        super().__init__(*args, **options)


class AsyncReplicaClusterClient(redis.asyncio.RedisCluster):
    """``ReplicaClusterClient`` for asyncio."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.replica_views = ReplicaViews()
        super().__init__(*args, **options)


def find_replica_views(client: object) -> ReplicaViews | None:
    """Return what a cluster client knows of its replicas; None where its calls go to masters."""
    if isinstance(client, (ReplicaClusterClient, AsyncReplicaClusterClient)):
        return client.replica_views
    return None
