"""Many tasks on one connection to a real server: through cuts in the middle of replies, and ten thousand at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from urllib.parse import urlsplit

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from edge_redis import aio
from edge_redis._io import pipeline
from support.checked import present
from support.proxy import LossyProxy
from support.servers import Backend


def test_no_caller_gets_anothers_value_though_connections_are_cut_in_the_middle_of_replies(valkey: Backend) -> None:
    async def scenario(proxy: LossyProxy) -> None:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        async with aio.connect(url, retry=Retry(NoBackoff(), 10)) as client, aio.EdgeCache(client) as cache:
            await cache.put_many({str(number): f"of {number}" for number in range(30)})
            counts = Counter[int]()

            async def work(number: int) -> None:
                for _ in range(3):
                    assert await cache.get(str(number)) == f"of {number}"
                    counts[await cache.incr("n")] += 1

            await asyncio.gather(*(work(number) for number in range(30)))
            assert counts == dict.fromkeys(range(1, 91), 1), "each was counted once"
            assert proxy.dropped
            proxy.losing = False

    with LossyProxy(present(urlsplit(present(valkey.url)).port), lost=0.1, kept=0.5, least=100) as proxy:
        asyncio.run(scenario(proxy))


def test_ten_thousand_tasks_at_once_use_one_connection_and_none_fails(valkey: Backend) -> None:
    async def scenario() -> None:
        async with aio.connect(valkey.url) as client, aio.EdgeCache(client) as cache:
            await cache.put("k", "v")
            found = await asyncio.gather(*(cache.get("k") for _ in range(10_000)))
            assert found == ["v"] * 10_000
            [own] = [each for each in await client.client_list() if each["cmd"] != "client|list"]
            assert int(own["qbuf"]) + int(own["qbuf-free"]) <= 2 * pipeline.MAX_BYTES

    asyncio.run(scenario())


def test_cancelled_callers_leave_the_connection_to_the_others(valkey: Backend) -> None:
    async def scenario() -> None:
        async with aio.connect(valkey.url) as client, aio.EdgeCache(client) as cache:
            await cache.put_many({str(number): number for number in range(100)})
            before = {each["id"] for each in await client.client_list()}
            tasks = [asyncio.create_task(cache.get(str(number))) for number in range(100)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert found[1::2] == list(range(1, 100, 2))
            assert all(isinstance(each, asyncio.CancelledError) for each in found[::2])
            assert {each["id"] for each in await client.client_list()} == before

    asyncio.run(scenario())
