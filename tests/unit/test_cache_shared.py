"""Which caches of a process share a buffer."""

import gc

import fakeredis
import pytest
import redis
import redis.asyncio

from edge_redis._io.shared import Shared, server_identity


def pair(one: str, two: str) -> tuple[redis.Redis, redis.asyncio.Redis]:
    return redis.Redis.from_url(one), redis.asyncio.Redis.from_url(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("redis://localhost:1", "redis://127.0.0.1:1/0"),
        ("unix:///tmp/s?db=1", "unix:///tmp/s?db=1"),
    ],
)
def test_clients_of_the_same_database_are_the_same(one: str, two: str) -> None:
    first, second = pair(one, two)
    assert server_identity(first) == server_identity(second)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("redis://h:1/2", "redis://h:1/3"),
        ("redis://h:1", "redis://h:2"),
        ("redis://h:1", "redis://i:1"),
        ("unix:///tmp/s", "unix:///tmp/t"),
    ],
)
def test_other_databases_are_not(one: str, two: str) -> None:
    first, second = pair(one, two)
    assert server_identity(first) != server_identity(second)


def test_in_process_servers_are_distinguished() -> None:
    server = fakeredis.FakeServer()
    one, two, three = (fakeredis.FakeRedis(server=of) for of in (server, server, fakeredis.FakeServer()))
    assert server_identity(one) == server_identity(two) != server_identity(three)
    assert server_identity(fakeredis.FakeAsyncRedis(server=server)) == server_identity(one)


def test_an_object_lives_as_long_as_somebody_holds_it() -> None:
    made: list[int] = []

    class Thing:
        def __init__(self) -> None:
            made.append(len(made))

    shared = Shared(Thing)
    client = redis.Redis(host="h")
    first = shared.get(client, "a")
    assert shared.get(redis.Redis(host="h"), "a") is first
    assert shared.get(client, "b") is not first
    del first
    gc.collect()
    assert isinstance(shared.get(client, "a"), Thing)
    assert made == [0, 1, 2]
