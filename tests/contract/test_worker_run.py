"""CloudWorker.run: until stopped, through outages, with the signal handlers put back."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from edge_redis import CloudWorker, EdgeSynchronizer, RedisCloudStore, StoreUnavailableError, aio
from support.deadline import eventually
from support.servers import Backend


@pytest.fixture
def edge(backend: Backend) -> Iterator[Any]:
    with backend.client() as client:
        yield client


def test_runs_in_a_thread_until_stopped(edge: Any, backend: Backend) -> None:
    with backend.client() as cloud_client, CloudWorker(edge, cloud_client) as worker:
        thread = threading.Thread(target=worker.run)
        thread.start()
        sync = EdgeSynchronizer(edge, scope="room")
        cloud = RedisCloudStore(cloud_client)
        for number in range(3):
            state = sync.update_local({"n": number})
            eventually(lambda: cloud.get("room") == state)  # noqa: B023 -- called before the next round
        worker.stop()
        thread.join(5)
        assert not thread.is_alive()


def test_a_run_after_stop_returns_at_once_and_handles_nothing(edge: Any) -> None:
    synchronizer = EdgeSynchronizer(edge, scope="room")
    synchronizer.update_local({"n": 1})
    worker = CloudWorker(edge, edge)
    worker.stop()
    worker.run()
    assert synchronizer.pending_count == 1


def test_closing_ends_a_run(edge: Any) -> None:
    worker = CloudWorker(edge, edge)
    thread = threading.Thread(target=worker.run)
    thread.start()
    worker.close()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_the_handlers_are_put_back(edge: Any, number: Any) -> None:
    before = {known: signal.getsignal(known) for known in (signal.SIGTERM, signal.SIGINT)}
    worker = CloudWorker(edge, edge)
    threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
    worker.run()
    assert {known: signal.getsignal(known) for known in before} == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_awaited_one(backend: Backend, number: Any) -> None:
    before = {known: signal.getsignal(known) for known in (signal.SIGTERM, signal.SIGINT)}

    async def main() -> None:
        async with backend.async_client() as client, aio.CloudWorker(client, client) as worker:
            sync = aio.EdgeSynchronizer(client, scope="room")
            await sync.update_local({"n": 1})
            asyncio.get_running_loop().call_later(0.2, os.kill, os.getpid(), number)
            await worker.run()
            assert await sync.is_synced

    asyncio.run(main())
    assert {known: signal.getsignal(known) for known in before} == before


def test_an_awaited_one_runs_in_a_task_until_stopped(backend: Backend) -> None:
    async def main() -> None:
        async with backend.async_client() as client, aio.CloudWorker(client, client) as worker:
            task = asyncio.create_task(worker.run())
            sync, cloud = aio.EdgeSynchronizer(client, scope="room"), aio.RedisCloudStore(client)
            state = await sync.update_local({"n": 1})
            async with asyncio.timeout(10):
                while await cloud.get("room") != state:  # noqa: ASYNC110 -- the worker tells nobody
                    await asyncio.sleep(0.005)
            worker.stop()
            await asyncio.wait_for(task, 5)

    asyncio.run(main())


class Flaky:
    """A cloud whose link can be cut."""

    def __init__(self, store: Any) -> None:
        self.store, self.cut, self.tries = store, True, 0

    def _link(self) -> None:
        self.tries += 1
        if self.cut:
            raise StoreUnavailableError("cut off")

    def get(self, scope: Any) -> Any:
        return self.store.get(scope)

    def apply(self, scope: Any, changes: Any, strategy: Any) -> Any:
        self._link()
        return self.store.apply(scope, changes, strategy)

    def changes_since(self, cursor: Any, limit: Any) -> Any:
        self._link()
        return self.store.changes_since(cursor, limit)


def test_after_an_outage_it_resumes_by_itself_both_ways(
    edge: Any, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    with backend.client() as cloud_client:
        cloud = RedisCloudStore(cloud_client)
        link = Flaky(cloud)
        sync = EdgeSynchronizer(edge, scope="room")
        with CloudWorker(edge, link, max_deliveries=2) as worker:
            thread = threading.Thread(target=worker.run)
            thread.start()
            state = sync.update_local({"n": 1})
            away = cloud.update("elsewhere", {"n": 2})
            eventually(lambda: link.tries >= 4)
            assert cloud.get("room") is None
            link.cut = False
            eventually(lambda: cloud.get("room") == state and sync.is_synced)
            other = EdgeSynchronizer(edge, scope="elsewhere")
            eventually(lambda: other.get_local_state() == away)
            worker.stop()
            thread.join(5)
        # Said once, not twice a second, and once that it is over.
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
