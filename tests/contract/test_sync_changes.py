"""Notice of states that came down: changes(), on_remote_change(), and what is left of a desired state."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from typing import Any

import pytest

import edge_redis.aio
from edge_redis import (
    CloudWorker,
    ConflictStrategy,
    EdgeSynchronizer,
    InvalidArgumentError,
    InvalidTypeError,
    RedisCloudStore,
    SyncState,
    shadow_difference,
)
from support.servers import Backend

POLL = {"poll_seconds": 0.005}


def carry(worker: Any) -> None:
    while worker.run_once():
        pass


def test_changes_gives_the_state_after_what_came_down(backend: Backend) -> None:
    with (
        backend.client() as client,
        EdgeSynchronizer(client) as sync,
        CloudWorker(client, client) as worker,
        RedisCloudStore(client) as cloud,
    ):
        cloud.update("default", {"before": 1})
        carry(worker)
        changes = sync.changes(timeout=0.02, **POLL)
        sync.update_local({"own": 1})
        carry(worker)
        assert list(changes) == []  # neither what came before, nor its own write

        changes = sync.changes(timeout=30.0, **POLL)
        cloud.update("default", {"n": 1})
        carry(worker)
        assert next(changes) == sync.get_local_state() == cloud.get("default")
        cloud.update("default", {"n": 2})
        carry(worker)
        cloud.update("default", {"n": 3})
        carry(worker)
        assert getattr(next(changes), "data", None) == {"n": 3}  # two changes, one state
        cloud.delete("default")
        carry(worker)
        assert next(changes) is None
        sync.close()
        assert list(changes) == []


def test_a_state_that_lost_is_left_out(backend: Backend) -> None:
    with backend.client() as client, EdgeSynchronizer(client, ConflictStrategy.LOCAL_WINS) as sync:
        sync.update_local({"mine": 1})
        changes = sync.changes(timeout=0.02, **POLL)
        assert sync.apply_remote(SyncState.from_data({"theirs": 1}, 5)) is False
        assert list(changes) == []


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_callback_gets_each_state_until_the_synchronizer_is_closed(
    backend: Backend, strategy: ConflictStrategy
) -> None:
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def fail(state: SyncState | None) -> None:
        raise RuntimeError("of the user")

    with (
        backend.client() as client,
        EdgeSynchronizer(client, strategy) as sync,
        CloudWorker(client, client) as worker,
        RedisCloudStore(client) as cloud,
    ):
        sync.on_remote_change(fail, **POLL)
        sync.on_remote_change(found.put, **POLL)
        for n in range(2):
            cloud.update("default", {"n": n})
            carry(worker)
            assert found.get(timeout=10).data == {"n": n}
        sync.close()
        sync.close()
        cloud.update("default", {"n": 3})
        carry(worker)
        assert found.empty()


def test_awaited_changes_and_callbacks(backend: Backend) -> None:
    async def run() -> None:
        client, loop = backend.async_client(), asyncio.get_running_loop()
        seen: asyncio.Queue[Any] = asyncio.Queue()
        awaited: asyncio.Queue[Any] = asyncio.Queue()

        def callback(state: SyncState | None) -> None:
            loop.call_soon_threadsafe(seen.put_nowait, state)

        async with (
            client,
            edge_redis.aio.EdgeSynchronizer(client) as sync,
            edge_redis.aio.CloudWorker(client, client) as worker,
            edge_redis.aio.RedisCloudStore(client) as cloud,
        ):
            await sync.on_remote_change(awaited.put, **POLL)
            await sync.on_remote_change(callback, **POLL)
            begun = asyncio.Event()

            async def read() -> SyncState | None:
                begun.set()
                return await anext(changes)

            changes = sync.changes(timeout=30.0, **POLL)
            reading = asyncio.create_task(read())
            await begun.wait()
            async with asyncio.timeout(20):
                n = 0
                while not reading.done():  # the iteration begins at some moment after the task did
                    n += 1
                    await cloud.update("default", {"n": n})
                    while await worker.run_once():
                        pass
                    await asyncio.sleep(0.01)
                last = await sync.get_local_state()
                for states in (seen, awaited):
                    while (await states.get()) != last:
                        pass
            assert (await reading) is not None

    asyncio.run(run())


@pytest.mark.parametrize("poll_seconds", [0, -1.0, float("nan")])
def test_bad_arguments_are_refused(backend: Backend, poll_seconds: float) -> None:
    async def coroutine(state: SyncState | None) -> None:
        pass

    with backend.client() as client, EdgeSynchronizer(client) as sync:
        with pytest.raises(InvalidArgumentError, match="poll_seconds"):
            sync.on_remote_change(print, poll_seconds=poll_seconds)
        with pytest.raises(InvalidArgumentError, match="poll_seconds"):
            sync.changes(poll_seconds=poll_seconds)
        with pytest.raises(InvalidTypeError, match=r"edge_redis\.aio"):
            sync.on_remote_change(coroutine)
        with pytest.raises(InvalidTypeError, match="callback"):
            sync.on_remote_change("print")  # type: ignore[arg-type]


def test_a_callback_survives_an_outage_of_the_server(valkey: Backend) -> None:
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with valkey.client() as client, EdgeSynchronizer(client) as sync, RedisCloudStore(client) as cloud:
        sync.on_remote_change(found.put, **POLL)
        with valkey.client() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)
        cloud.update("default", {"n": 1})
        with CloudWorker(client, client) as worker:
            carry(worker)
        assert found.get(timeout=10).data == {"n": 1}
        assert found.empty()


NAN = float("nan")


@pytest.mark.parametrize(
    ("desired", "reported", "left"),
    [
        ({}, {}, {}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, None, {"a": 1}),
        (None, {"a": 1}, {}),
        ({"a": 1}, {"a": 1, "b": 2}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": 2}}),
        ({"a": {"b": 1}}, {"a": 3}, {"a": {"b": 1}}),
        ({"a": {}}, {"a": {"b": 1}}, {}),
        ({"a": [1, 2]}, {"a": [2, 1]}, {"a": [1, 2]}),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}]}, {}),
        ({"a": 1}, {"a": True}, {"a": 1}),
        ({"a": 1.0}, {"a": 1}, {"a": 1.0}),
        ({"a": None}, {}, {"a": None}),
        ({"a": None}, {"a": None}, {}),
        ({"a": NAN}, {"a": NAN}, {}),
        ({"a": b"x"}, {"a": "x"}, {"a": b"x"}),
    ],
)
def test_what_is_left_of_a_desired_state(desired: Any, reported: Any, left: Any) -> None:
    assert shadow_difference(desired, reported) == left


@pytest.mark.parametrize("call", [lambda: shadow_difference([], {}), lambda: shadow_difference({}, "x")])  # type: ignore[arg-type]
def test_only_dicts_have_a_difference(call: Callable[[], object]) -> None:
    with pytest.raises(InvalidTypeError, match="Mapping"):
        call()
