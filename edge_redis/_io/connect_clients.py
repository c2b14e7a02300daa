"""The clients that ``connect`` returns: redis-py's own, whose commands are calls that own their connection.

So any number of callers wait for a connection, also outside of the services, and a command that is
interrupted leaves no reply for another one. Pipelines, transactions and subscriptions are redis-py's.
"""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio

from edge_redis._io import asyncio_calls, blocking_calls
from edge_redis._io.call_pool import find_call_pool


class RedisClient(redis.Redis):
    """A client of one server."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and return its reply."""
        if self.connection is not None:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

        def talk(connection: Any) -> Any:
            connection.send_command(*args)
            return self.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]

        return blocking_calls.call_on(find_call_pool(self.connection_pool), talk)


class AsyncRedisClient(redis.asyncio.Redis):
    """The same for asyncio."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and return its reply."""
        if self.connection is not None or self.single_connection_client:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

        async def talk(connection: Any) -> Any:
            await connection.send_command(*args)
            return await self.parse_response(connection, args[0], **options)

        return await asyncio_calls.call_on(self.connection_pool, talk)


def sentinels_of(client: Any) -> Any:
    """Return the clients of the Sentinels that a client of a master asks."""
    return client.connection_pool.sentinel_manager.sentinels


class MasterClient(RedisClient):
    """A client of a service's master that closes the clients of the Sentinels with it."""

    def close(self) -> None:
        """Close the connections to the master and to the Sentinels."""
        super().close()
        for sentinel in sentinels_of(self):
            sentinel.close()


class AsyncMasterClient(AsyncRedisClient):
    """The same for asyncio."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001 -- the library's
        """Close the connections to the master and to the Sentinels."""
        await super().aclose(close_connection_pool)
        for sentinel in sentinels_of(self):
            await sentinel.aclose()
