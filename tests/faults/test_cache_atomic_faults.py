"""The atomic calls of EdgeCache where replies are lost: the library sends them again, and they apply once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

import edge_redis
import edge_redis.aio
from edge_redis._cache.script_requests import ABSENT, equal_condition
from edge_redis._cache.scripts import Scripts
from edge_redis._core import codec
from edge_redis._core.operation import Operation
from edge_redis._io.blocking_runner import BlockingRunner
from support.checked import present
from support.near import component_of
from support.proxy import LossyProxy
from support.servers import Backend

CALLS = 40


def check_once(cache: Any, proxy: LossyProxy) -> None:
    """Make every atomic call many times, and check that each applied once."""
    assert [cache.incr("n") for _ in range(CALLS)] == list(range(1, CALLS + 1))
    assert [cache.add(f"a{number}", number) for number in range(CALLS)] == [True] * CALLS
    assert [cache.compare_and_set("n", CALLS + number, CALLS + number + 1) for number in range(CALLS)] == [True] * CALLS
    assert [cache.pop(f"a{number}") for number in range(CALLS // 2)] == list(range(CALLS // 2))
    rest = range(CALLS // 2, CALLS)
    assert [cache.compare_and_delete(f"a{number}", number) for number in rest] == [True] * len(rest)
    assert cache.get("n") == 2 * CALLS
    assert proxy.dropped > 10


@pytest.mark.parametrize("kind", ["blocking", "awaited"])
def test_calls_whose_replies_are_lost_apply_once(valkey: Backend, kind: str) -> None:
    port = present(urlsplit(present(valkey.url)).port)
    with LossyProxy(port, lost=0.1) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        if kind == "blocking":
            with edge_redis.connect(url) as client, edge_redis.EdgeCache(client) as cache:
                check_once(cache, proxy)
                proxy.losing = False
            return

        async def scenario() -> None:
            async with edge_redis.connect_async(url) as client, edge_redis.aio.EdgeCache(client) as cache:
                assert [await cache.incr("n") for _ in range(CALLS)] == list(range(1, CALLS + 1))
                assert [await cache.add(f"a{number}", number) for number in range(CALLS)] == [True] * CALLS
                assert [await cache.pop(f"a{number}") for number in range(CALLS)] == list(range(CALLS))
                assert proxy.dropped > 5
                proxy.losing = False

        asyncio.run(scenario())


CallId = tuple[str, int]
Build = Callable[[Scripts, Any, CallId], Operation[Any]]

RESENT: dict[str, tuple[Build, Any, Any]] = {
    "add": (
        lambda scripts, writer, call: scripts.put(
            (writer.encode_entry("new", 1, 60),), writer.make_options("", ABSENT), call
        ),
        "new",
        None,
    ),
    "incr": (
        lambda scripts, writer, call: scripts.incr(
            writer.encode_entry("k", 5, 60), writer.make_options().bounds, 5, call
        ),
        "k",
        None,
    ),
    "compare_and_set": (
        lambda scripts, writer, call: scripts.put(
            (writer.encode_entry("k", 2, 60),), writer.make_options("", equal_condition(codec.canonical(1))), call
        ),
        "k",
        None,
    ),
    "compare_and_delete": (lambda scripts, _, call: scripts.compare_and_delete("k", codec.canonical(1), call), "k", 1),
    "pop": (lambda scripts, _, call: scripts.pop("k", call), "k", None),
}
"""The operation of a call, the key that it changes, and the value that another client then puts; None for any."""


@pytest.mark.parametrize("name", RESENT)
def test_a_call_that_is_sent_again_undoes_nothing_that_another_client_did_meanwhile(
    backend: Backend, name: str
) -> None:
    build, key, value = RESENT[name]
    other_value = 1 if value is None else value
    with backend.client() as client, edge_redis.EdgeCache(client) as cache, edge_redis.EdgeCache(client) as other:
        cache.put("k", 1)
        shard = component_of(cache).shards.of(key)
        operation = build(shard.scripts, shard.writer, ("caller", 1))
        runner = BlockingRunner(client)
        first = runner.run(operation)
        other.put(key, other_value)
        assert runner.run(operation) == first
        assert other.get(key) == other_value
        other.delete(key)
        assert runner.run(operation) == first
        assert key not in other


@pytest.mark.parametrize("remove", ["pop", "delete", "compare_and_delete"])
def test_an_entry_is_removed_from_a_server_without_memory(real: Backend, remove: str) -> None:
    with real.client() as client, edge_redis.EdgeCache(client) as cache:
        cache.put("k", "value")
        cache.get("k")
        client.config_set("maxmemory", 1)
        try:
            removed = getattr(cache, remove)("k", *(["value"] if remove == "compare_and_delete" else []))
        finally:
            client.config_set("maxmemory", 0)
        assert removed == ("value" if remove == "pop" else True)
        assert "k" not in cache
