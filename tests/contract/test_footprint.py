"""Many services of a process use few threads, tasks and connections beside those of their calls."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from edge_redis import EdgeCache, aio
from support.deadline import eventually
from support.servers import Backend

COUNTS = [pytest.param(40, id="40"), pytest.param(500, id="500", marks=pytest.mark.exploration)]


def own_threads() -> int:
    return sum(thread.name.startswith("edge-redis-") for thread in threading.enumerate())


def listening_connections(client: Any) -> int:
    return sum(int(each["sub"]) for each in client.client_list())


@pytest.mark.parametrize("count", COUNTS)
def test_many_caches_share_a_ticker_and_a_listener(valkey: Backend, count: int) -> None:
    with valkey.client() as client:
        caches = [EdgeCache(client, namespace=f"cache-{number}", near_cache=True) for number in range(count)]
        for cache in caches:
            cache.put("k", 1)
        eventually(lambda: all(cache.stats()["near_listening"] for cache in caches), seconds=30)
        eventually(lambda: all(cache.get("k") and cache.stats()["near_size"] for cache in caches), seconds=30)
        eventually(lambda: (own_threads() <= 3, listening_connections(client)) == (True, 1))
        with EdgeCache(client, namespace="cache-7") as writer:
            writer.put("k", 2)
            eventually(lambda: caches[7].get("k") == 2)
            caches[3].close()
            writer.put("k", 3)
            eventually(lambda: caches[7].get("k") == 3)
        for cache in caches:
            cache.close()
        assert own_threads() == 0
        eventually(lambda: listening_connections(client) == 0)


@pytest.mark.parametrize("count", COUNTS)
def test_many_caches_of_a_loop_share_a_task_and_a_connection(valkey: Backend, count: int) -> None:
    async def scenario() -> None:
        async with valkey.async_client() as client:
            caches = [aio.EdgeCache(client, namespace=f"cache-{number}", near_cache=True) for number in range(count)]
            async with asyncio.timeout(30):
                for cache in caches:
                    await cache.put("k", 1)
                for cache in caches:
                    while not (await cache.stats())["near_listening"]:  # noqa: ASYNC110 -- nothing announces it
                        await asyncio.sleep(0.01)
                while sum(int(each["sub"]) for each in await client.client_list()) != 1:  # noqa: ASYNC110 -- the same
                    await asyncio.sleep(0.01)
            names = [task.get_name() for task in asyncio.all_tasks()]
            assert (names.count("edge-redis-listener"), names.count("edge-redis-ticker")) == (1, 1)
            for cache in caches:
                await cache.close()
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())
