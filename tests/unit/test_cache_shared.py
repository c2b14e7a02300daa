"""Which caches of a process share a buffer."""

import gc
import os
import signal
import threading

import fakeredis
import pytest
import redis
import redis.asyncio

from edge_redis._io.shared import Shared, server_identity


class Shareable:
    """What services of a process share."""


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


def test_a_forked_child_does_not_wait_for_a_lock_of_its_parent() -> None:
    client, is_making, go_on = fakeredis.FakeRedis(), threading.Event(), threading.Event()

    def make() -> object:
        if threading.current_thread() is not threading.main_thread():
            is_making.set()
            assert go_on.wait(20)
        return Shareable()

    shared: Shared[object] = Shared(make)
    thread = threading.Thread(target=lambda: shared.get(client, "one"))
    thread.start()
    assert is_making.wait(20)
    child = os.fork()
    if not child:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            shared.get(client, "two")
            os._exit(0)
        finally:
            os._exit(1)
    go_on.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
