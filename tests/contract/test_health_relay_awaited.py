"""TransitionRelay on an asyncio client: sinks awaited or in a thread, and no delivery twice by two tasks."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest

from edge_redis import EdgeNode, InvalidTypeError, ServiceClosedError, Transition, TransitionRelay, aio
from support.servers import Backend

BOTH = [("a", "unhealthy"), ("a", "recovered")]


async def flap(client: Any) -> None:
    """Let a node fail and recover once."""
    async with aio.HealthMonitor(client) as monitor:
        for seconds in (100.0, 1.0):
            await monitor.check_node(EdgeNode("a", "a", last_heartbeat=datetime.now(UTC) - timedelta(seconds=seconds)))


def test_sinks_are_awaited_or_called_in_a_thread(backend: Backend) -> None:
    async def scenario() -> None:
        client = backend.async_client()
        got: list[tuple[str, str]] = []
        threads: list[threading.Thread] = []

        def plain(change: Transition) -> None:
            threads.append(threading.current_thread())
            got.append((change.node_id, change.state))

        async def awaited(change: Transition) -> None:
            await asyncio.sleep(0)
            got.append((change.node_id, change.state))

        for name, sink in (("plain", plain), ("awaited", awaited)):
            got.clear()
            async with aio.TransitionRelay(client, sink, name=name) as relay:
                assert await relay.run_once() == 0
                await flap(client)
                assert await relay.run_once() == 2
                assert got == BOTH
                assert await relay.stats() == {"delivered": 2, "dropped": 0, "lost": 0, "attempts": 0, "last_error": ""}
            with pytest.raises(ServiceClosedError):
                await relay.run_once()
        assert threading.main_thread() not in threads
        await client.aclose()

    asyncio.run(scenario())


def test_two_rounds_at_once_deliver_each_once_and_the_next_relay_goes_on() -> None:
    async def scenario() -> None:
        client = fakeredis.FakeAsyncRedis()
        got: list[str] = []

        async def slow(change: Transition) -> None:
            got.append(change.state)
            await asyncio.sleep(0.02)

        async with aio.TransitionRelay(client, slow) as relay:
            await relay.run_once()
            await flap(client)
            assert sorted(await asyncio.gather(*(relay.run_once() for _ in range(5)))) == [0, 0, 0, 0, 2]
            await flap(client)
        assert got == ["unhealthy", "recovered"]
        async with aio.TransitionRelay(client, slow) as other:
            assert await other.run_once() == 2
        await client.aclose()

    asyncio.run(scenario())


def test_in_the_background_and_again_after_a_failure() -> None:
    async def scenario() -> None:
        client = fakeredis.FakeAsyncRedis()
        got: list[str] = []
        done = asyncio.Event()
        failures = [OSError("not now")]

        async def sink(change: Transition) -> None:
            if failures:
                raise failures.pop()
            got.append(change.state)
            if len(got) == 2:
                done.set()

        async with await aio.TransitionRelay(client, sink, interval_seconds=0.01, backoff_seconds=0.01).start():
            await flap(client)
            await asyncio.wait_for(done.wait(), 30)
        assert got == ["unhealthy", "recovered"]
        await client.aclose()

    asyncio.run(scenario())


def test_a_coroutine_is_no_sink_of_the_blocking_relay() -> None:
    async def sink(_: Transition) -> None: ...

    with pytest.raises(InvalidTypeError, match="aio"):
        TransitionRelay(fakeredis.FakeRedis(), sink)
