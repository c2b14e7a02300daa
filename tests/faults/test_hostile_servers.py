"""Servers that are none, or broken: an error of this package in both APIs, soon and without many connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest
import redis
import redis.asyncio
from conftest import Maker
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

import edge_redis
import edge_redis.aio
from edge_redis import CorruptDataError, StoreUnavailableError
from edge_redis._core.operation import Operation
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.blocking_runner import BlockingRunner
from support.deadline import deadline
from support.fuzzing.servers import Answer, HostileServer, polite, rude

GET: Final = Operation(("GET", "a"), bytes)
MAX_CONNECTIONS: Final = 40
"""Of one call with all its retries; redis-py alone makes several hundred until Python stops its recursion."""


def run_blocking(client: Any) -> bytes:
    try:
        return BlockingRunner(client).run(GET)
    finally:
        client.close()


def run_awaited(make: Any) -> bytes:
    async def run() -> bytes:
        client = make()
        try:
            return await AsyncRunner(client).run(GET)
        finally:
            await client.aclose()

    return asyncio.run(run())


CALLS: Final[dict[str, Any]] = {
    "blocking": lambda url: run_blocking(edge_redis.connect(url)),
    "awaited": lambda url: run_awaited(lambda: edge_redis.aio.connect(url)),
    "blocking, a client of redis-py": lambda url: run_blocking(redis.Redis.from_url(url, health_check_interval=30)),
    "awaited, a client of redis-py": lambda url: run_awaited(
        lambda: redis.asyncio.Redis.from_url(url, health_check_interval=30)
    ),
}


@pytest.fixture
def server() -> Iterator[HostileServer]:
    made = HostileServer(lambda *_: None)
    yield made
    made.close()


@pytest.mark.parametrize("protocol", ["", "?protocol=2"], ids=["default", "resp2"])
@pytest.mark.parametrize("call", CALLS)
def test_a_balancer_without_servers_is_an_unavailable_store(call: str, protocol: str, server: HostileServer) -> None:
    with deadline(call), pytest.raises(StoreUnavailableError):
        CALLS[call](server.url(protocol))
    assert server.connections <= MAX_CONNECTIONS


def test_a_cluster_behind_such_a_balancer_is_an_unavailable_store(server: HostileServer) -> None:
    url = f"redis+cluster://127.0.0.1:{server.port}"
    with deadline("blocking"), pytest.raises(StoreUnavailableError):
        edge_redis.connect(url)
    with deadline("awaited"), pytest.raises(StoreUnavailableError):
        run_awaited(lambda: edge_redis.aio.connect(url))


ONCE: Final[dict[str, Any]] = {
    "blocking": lambda url: run_blocking(edge_redis.connect(url, retry=Retry(NoBackoff(), 0))),
    "awaited": lambda url: run_awaited(lambda: edge_redis.aio.connect(url, retry=AsyncRetry(NoBackoff(), 0))),
}
"""A call without retries."""

GARBLED: Final[dict[str, Answer]] = {
    "a web server": rude(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    "no number at login": rude(b"*x\r\n"),
    "no number": polite(b":5x\r\n"),
    "a length that is none": polite(b"$1_0\r\n"),
    "a key of a map that is a map": polite(b"%1\r\n%0\r\n:1\r\n"),
    "deeper than any reply": polite(b"*1\r\n" * 3000 + b":1\r\n"),
    "cut off": polite(b"$5\r\nhal"),
}


@pytest.mark.parametrize("answer", GARBLED)
@pytest.mark.parametrize("call", ONCE)
def test_bytes_that_are_no_reply_are_an_unavailable_store(call: str, answer: str, server: HostileServer) -> None:
    server.answer = GARBLED[answer]
    with deadline(call), pytest.raises(StoreUnavailableError):
        ONCE[call](server.url("?protocol=2&socket_timeout=0.1"))


@pytest.mark.parametrize("call", ONCE)
def test_a_reply_of_another_type_is_corrupt(call: str, server: HostileServer) -> None:
    server.answer = polite(b"*1\r\n$1\r\na\r\n")
    with deadline(call), pytest.raises(CorruptDataError):
        ONCE[call](server.url("?protocol=2"))


def test_an_error_of_a_users_function_stays_as_it_is(make: Maker) -> None:
    cache = make("EdgeCache")
    with pytest.raises(ValueError, match="no number") as caught:
        cache.get_or_compute("a", partial(int, "no number"))
    assert type(caught.value) is ValueError
