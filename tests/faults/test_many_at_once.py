"""More callers than connections wait for one; a full pool is never taken for a server that is gone."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

import edge_redis
import edge_redis.aio
from edge_redis import EdgeCache
from edge_redis._io import asyncio_pool, call_pool
from edge_redis.errors import ClientConfigurationError, ConnectionPoolFullError, StoreUnavailableError
from support.deadline import eventually
from support.servers import Backend

MODES: list[dict[str, Any]] = [{}, {"on_error": "miss"}]


@pytest.mark.parametrize("options", MODES, ids=["raise", "miss"])
@pytest.mark.parametrize("make_client", [edge_redis.connect, redis.Redis.from_url], ids=["connect", "from_url"])
def test_threads_wait_for_a_connection(valkey: Backend, make_client: Any, options: dict[str, Any]) -> None:
    callers = 40
    with make_client(valkey.url, max_connections=8) as client, EdgeCache(client, **options) as cache:
        cache.put("k", "v")
        gate = threading.Barrier(callers)

        def read(_: int) -> list[Any]:
            gate.wait()
            return [cache.get("k", "(miss)") for _ in range(20)]

        with ThreadPoolExecutor(callers) as threads:
            found = Counter(value for values in threads.map(read, range(callers)) for value in values)
        assert found == {"v": 20 * callers}
        assert len(client.client_list()) <= 8 + 2, "no more connections than the pool may have, and one of its own"


@pytest.mark.parametrize("options", MODES, ids=["raise", "miss"])
@pytest.mark.parametrize(
    "make_client", [edge_redis.aio.connect, redis.asyncio.Redis.from_url], ids=["connect", "from_url"]
)
def test_tasks_wait_for_a_connection(valkey: Backend, make_client: Any, options: dict[str, Any]) -> None:
    async def main() -> Counter[Any]:
        async with (
            make_client(valkey.url, max_connections=8) as client,
            edge_redis.aio.EdgeCache(client, **options) as cache,
        ):
            await cache.put("k", "v")
            return Counter(await asyncio.gather(*(cache.get("k", "(miss)") for _ in range(200))))

    assert asyncio.run(main()) == {"v": 200}


@pytest.mark.parametrize("make_client", [edge_redis.connect, redis.Redis.from_url], ids=["connect", "from_url"])
def test_a_thread_that_calls_again_does_not_overtake_those_that_wait(
    valkey: Backend, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_client(valkey.url, max_connections=1) as client, EdgeCache(client, flush_interval=3600) as cache:
        cache.put("k", "v")
        pool = call_pool.find_call_pool(client.connection_pool)
        assert isinstance(pool, call_pool.CallPool)
        parse, order, places = client.parse_response, [], Counter[str]()

        def slowly(*args: Any, **options: Any) -> Any:
            order.append(threading.current_thread().name)
            eventually(lambda: pool.waiting == 3 or len(order) > 1)
            return parse(*args, **options)

        monkeypatch.setattr(client, "parse_response", slowly)

        def read(times: int) -> None:
            for _ in range(times):
                places[cache.get("k")] += 1

        again = threading.Thread(target=read, args=[5], name="again")
        others = [threading.Thread(target=read, args=[1], name="waiting") for _ in range(3)]
        again.start()
        eventually(lambda: order)
        for thread in others:
            thread.start()
        for thread in (again, *others):
            thread.join(30)
        assert places == {"v": 8}
        assert order == ["again", "waiting", "waiting", "waiting", "again", "again", "again", "again"]


@pytest.mark.parametrize(
    "make_client", [edge_redis.aio.connect, redis.asyncio.Redis.from_url], ids=["connect", "from_url"]
)
def test_a_task_that_calls_again_does_not_overtake_those_that_wait(
    valkey: Backend, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> list[str]:
        async with (
            make_client(valkey.url, max_connections=1) as client,
            edge_redis.aio.EdgeCache(client, flush_interval=3600) as cache,
        ):
            await cache.put("k", "v")
            parse, order, begun, go_on = client.parse_response, [], asyncio.Event(), asyncio.Event()

            async def slowly(*args: Any, **options: Any) -> Any:
                task = asyncio.current_task()
                assert task is not None
                order.append(task.get_name())
                begun.set()
                await go_on.wait()
                return await parse(*args, **options)

            monkeypatch.setattr(client, "parse_response", slowly)

            async def read(times: int) -> None:
                for _ in range(times):
                    assert await cache.get("k") == "v"

            again = asyncio.create_task(read(5), name="again")
            await begun.wait()
            others = [asyncio.create_task(read(1), name="waiting") for _ in range(3)]
            for _ in range(10):
                await asyncio.sleep(0)
            go_on.set()
            await asyncio.gather(again, *others)
            return list(order)

    order = asyncio.run(main())
    assert order == ["again", "waiting", "waiting", "waiting", "again", "again", "again", "again"]


def test_direct_commands_on_a_connected_client_wait_too(valkey: Backend) -> None:
    async def main() -> set[Any]:
        async with edge_redis.aio.connect(valkey.url, max_connections=4) as client:
            return set(await asyncio.gather(*(client.ping() for _ in range(50))))

    with edge_redis.connect(valkey.url, max_connections=4) as client, ThreadPoolExecutor(30) as threads:
        assert set(threads.map(lambda _: client.ping(), range(100))) == {True}
    assert asyncio.run(main()) == {True}


def test_waiting_ends_with_an_error_that_says_so(valkey: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_pool, "WAIT_SECONDS", 0.1)
    with edge_redis.connect(valkey.url, max_connections=1) as client:
        cache = EdgeCache(client, on_error="miss", flush_interval=3600)
        cache.put("k", 1)
        holder = call_pool.BorrowedConnection()
        pool = call_pool.find_call_pool(client.connection_pool)
        monkeypatch.setattr(pool, "_wait_seconds", 0.1)
        pool.open(holder)
        with pytest.raises(ConnectionPoolFullError, match=r"all 1 connections .* were in use") as failure:
            cache.get("k")
        assert not isinstance(failure.value, StoreUnavailableError)
        pool.close(holder)
        assert cache.get("k") == 1
        assert cache.stats()["circuit"] == "closed"


def test_waiting_ends_with_an_error_that_says_so_when_awaited(valkey: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio_pool, "WAIT_SECONDS", 0.1)

    async def main() -> None:
        client: Any = edge_redis.aio.connect(valkey.url, max_connections=1)
        async with client:
            cache = edge_redis.aio.EdgeCache(client, on_error="miss", flush_interval=3600)
            await cache.put("k", 1)
            holder = await client.connection_pool.get_connection()
            with pytest.raises(ConnectionPoolFullError, match=r"all 1 connections .* were in use"):
                await cache.get("k")
            await client.connection_pool.release(holder)
            assert await cache.get("k") == 1
            await cache.close()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_client_serves_one_open_event_loop_after_another(valkey: Backend) -> None:
    client = edge_redis.aio.connect(valkey.url)
    cache = edge_redis.aio.EdgeCache(client, flush_interval=3600)

    async def use(number: int) -> Any:
        await cache.put("k", number)
        return await cache.get("k")

    assert [asyncio.run(use(number)) for number in range(4)] == [0, 1, 2, 3]
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(use(4)) == 4
    with pytest.raises(ClientConfigurationError, match="another event loop"):
        asyncio.run(use(5))
    loop.run_until_complete(cache.close())
    loop.run_until_complete(client.aclose())
    loop.close()
    gc.collect()  # the connections of the loops that were closed are collected, and complain, within this test


def test_a_cancelled_call_leaves_no_reply_and_keeps_its_place(valkey: Backend) -> None:
    async def main() -> None:
        async with edge_redis.aio.connect(valkey.url, max_connections=2) as client:
            cache = edge_redis.aio.EdgeCache(client, flush_interval=3600)
            await cache.put_many({f"k{number}": f"v{number}" for number in range(10)})
            for turn in range(300):
                task = asyncio.ensure_future(cache.get("k0"))
                for _ in range(turn % 12):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert await cache.get(f"k{turn % 10}") == f"v{turn % 10}"
            await cache.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "make_client", [edge_redis.aio.connect, redis.asyncio.Redis.from_url], ids=["connect", "from_url"]
)
def test_a_connection_that_the_server_closed_while_it_was_idle_is_made_again(valkey: Backend, make_client: Any) -> None:
    async def main() -> list[Any]:
        async with (
            redis.asyncio.Redis.from_url(str(valkey.url)) as other,
            make_client(valkey.url) as client,
            edge_redis.aio.EdgeCache(client, flush_interval=3600) as cache,
        ):
            found = []
            await cache.put("k", "v")
            for _ in range(3):
                await other.client_kill_filter(_type="normal", skipme=True)
                while len(await other.client_list()) > 1:
                    pass
                found.append(await cache.get("k"))
            return found

    assert asyncio.run(main()) == ["v"] * 3


def test_a_connection_that_is_lost_while_it_is_made_is_made_again(valkey: Backend) -> None:
    client: Any
    with edge_redis.connect(valkey.url) as client:
        connection = client.connection_pool.make_connection()
        on_connect = connection.on_connect

        def lose_once() -> None:
            connection.on_connect = on_connect
            connection.disconnect()
            connection.connect()

        connection.on_connect = lose_once
        connection.connect()
        connection.send_command("CLIENT", "GETNAME")
        assert connection.read_response() == b"edge-redis"
        connection.disconnect()


def test_an_asyncio_connection_that_is_lost_while_it_is_made_is_made_again(valkey: Backend) -> None:
    async def main() -> Any:
        client: Any
        async with edge_redis.aio.connect(valkey.url) as client:
            connection = client.connection_pool.make_connection()
            on_connect = connection.on_connect

            async def lose_once() -> None:
                connection.on_connect = on_connect
                await connection.disconnect()
                await connection.connect()

            connection.on_connect = lose_once
            await connection.connect()
            await connection.send_command("CLIENT", "GETNAME")
            name = await connection.read_response()
            await connection.disconnect()
            return name

    assert asyncio.run(main()) == b"edge-redis"
