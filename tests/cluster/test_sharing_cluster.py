"""Many asyncio tasks on a real cluster while slots move and a master is killed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff

from edge_redis import StoreLoadingError, StoreUnavailableError, aio
from edge_redis._core.slots import hash_slot
from edge_redis.embedded import EmbeddedServer
from support.cluster import Cluster

TASKS = 20
KEYS = [str(number) for number in range(60)]


@asynccontextmanager
async def opened(cluster: Cluster, retry: AsyncRetry | None = None, **options: Any) -> AsyncIterator[aio.EdgeCache]:
    async with cluster.async_client(retry=retry) as client, aio.EdgeCache(client, **options) as cache:
        yield cache


def count_connections(node: EmbeddedServer) -> int:
    """Count the connections of clients, without the one that asks."""
    with node.client() as client:
        return len(client.client_list(_type="normal")) - 1


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(main())


def test_thousands_of_tasks_at_once_use_few_connections_and_none_fails(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with opened(cluster) as cache:
            await cache.put_many({key: f"of {key}" for key in KEYS})
            keys = KEYS * 40
            assert await asyncio.gather(*map(cache.get, keys)) == [f"of {key}" for key in keys]
            assert all(count_connections(node) <= 2 for node in cluster.masters), "redis-py reads the slots on its own"

    run(scenario)


def test_each_call_takes_effect_once_while_its_slot_moves(cluster: Cluster) -> None:
    slot = hash_slot("default:cache0")

    async def scenario() -> None:
        async with opened(cluster, shards=1) as cache:
            await cache.put_many(dict.fromkeys(KEYS, "kept"))
            counts = Counter[int]()
            moving = asyncio.create_task(asyncio.to_thread(lambda: list(cluster.moving_slot(slot))))

            async def work() -> None:
                while not moving.done():
                    with contextlib.suppress(StoreLoadingError):  # the slot has moved in part: nothing was written
                        counts[await cache.incr("n")] += 1

            await asyncio.gather(moving, *(work() for _ in range(TASKS)))
            counts[await cache.incr("n")] += 1
            assert counts == dict.fromkeys(range(1, len(counts) + 1), 1)
            assert await cache.get_many(KEYS) == dict.fromkeys(KEYS, "kept")
            assert all(count_connections(node) <= 2 for node in cluster.masters)

    run(scenario)
    cluster.flush()
    cluster.return_slot(slot)


def test_a_master_that_is_killed_fails_the_calls_for_its_keys_alone(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with opened(cluster, AsyncRetry(NoBackoff(), 3)) as cache:
            await cache.put_many({key: f"of {key}" for key in KEYS})
            lost = {key.partition(b"}:v:")[2].decode() for key in cluster.keys_by_master()[1] if b"}:v:" in key}
            reading = [asyncio.create_task(cache.get(key)) for key in KEYS * 5]
            await asyncio.sleep(0)
            cluster.masters[1].kill()
            try:
                outcomes = await asyncio.gather(*reading, return_exceptions=True)
                for key, outcome in zip(KEYS * 5, outcomes, strict=True):
                    is_expected = outcome == f"of {key}" or (key in lost and isinstance(outcome, StoreUnavailableError))
                    assert is_expected, (key, outcome)
            finally:
                cluster.masters[1].restart()
                cluster.wait_until_ok()
            assert await cache.get_many(KEYS) == {key: f"of {key}" for key in KEYS}

    run(scenario)
