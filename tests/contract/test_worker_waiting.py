"""CloudWorker.run waits for hints of both ends: nothing is polled, and a lost connection is made good."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from conftest import Maker

from edge_redis import CloudWorker, ConflictStrategy, EdgeSynchronizer, RedisCloudStore, aio, connect, embedded
from edge_redis._sync import pace
from support.clouds import Polled, change
from support.deadline import eventually
from support.servers import Backend

SECONDS = 5.0
"""Far less than the interval at which a worker reads without a hint."""


class Counting:
    """A cloud store that counts how often its feed is read."""

    scopes_at_once = 1

    def __init__(self, store: Any) -> None:
        self._store = store
        self.reads = 0
        self.get, self.apply, self.listen = store.get, store.apply, store.listen

    def changes_since(self, cursor: str, limit: int) -> Any:
        self.reads += 1
        return self._store.changes_since(cursor, limit)


class Site:
    """A worker that runs in the background, on clients of its own, with its two ends."""

    def __init__(self, backend: Backend, stack: ExitStack, **options: Any) -> None:
        self._clients = [stack.enter_context(backend.client()) for _ in range(3)]
        self.sync = EdgeSynchronizer(self._clients[0], scope="shop/1")
        self.cloud = RedisCloudStore(self._clients[0])
        self.store = Counting(RedisCloudStore(self._clients[1]))
        self.worker = stack.enter_context(CloudWorker(self._clients[2], self.store, **options))

    def wait_until_idle(self) -> None:
        """Wait until the worker listens to both ends and has read everything."""
        wake_ups = self.worker._loop._wake_ups
        eventually(lambda: wake_ups.is_listening and not wake_ups.has_come)
        reads = -1
        while reads != self.store.reads:
            reads = self.store.reads
            threading.Event().wait(0.15)


@contextmanager
def running(backend: Backend, **options: Any) -> Iterator[Site]:
    with ExitStack() as stack:
        site = Site(backend, stack, **options)
        site.worker.start()
        site.wait_until_idle()
        yield site


def release(site: Site, sync: Any) -> None:
    assert site.cloud.release_authority("shop/2")


def change_strategy(site: Site, sync: Any) -> None:
    sync.change_strategy(ConflictStrategy.REMOTE_WINS)


@pytest.mark.parametrize("free", [release, change_strategy], ids=lambda each: each.__name__)
def test_a_scope_that_the_cloud_refused_is_tried_again_once_it_may_be_pushed(backend: Backend, free: Any) -> None:
    local = ConflictStrategy.LOCAL_WINS
    with running(backend) as site, backend.client() as client:
        site.cloud.apply("shop/2", [change(1, origin="one")], local)
        sync = EdgeSynchronizer(client, local, scope="shop/2", origin="two")
        sync.update_local({"by": "two"})
        eventually(lambda: any(not event.success for event in sync.sync_history()), seconds=SECONDS)
        site.wait_until_idle()
        assert sync.pending_count
        free(site, sync)
        eventually(lambda: sync.is_synced, seconds=SECONDS)


def carries_both_ways(site: Site, number: int) -> None:
    up = site.sync.update_local({"n": number})
    eventually(lambda: site.cloud.get("shop/1") == up and site.sync.is_synced, seconds=SECONDS)
    down = site.cloud.update("shop/1", {"n": -number})
    eventually(lambda: site.sync.get_local_state() == down, seconds=SECONDS)


def test_changes_are_carried_at_once_both_ways_and_nothing_is_read_meanwhile(backend: Backend) -> None:
    with running(backend) as site:
        reads = site.store.reads
        threading.Event().wait(0.3)
        assert site.store.reads == reads
        for number in range(1, 4):
            carries_both_ways(site, number)


def test_an_awaited_worker_waits_for_both_ends(make: Maker) -> None:
    sync, cloud = make("EdgeSynchronizer", scope="shop/1"), make("RedisCloudStore")
    worker = make("CloudWorker", make.client())
    worker.start()
    for number in range(3):
        up = sync.update_local({"n": number})
        eventually(lambda: cloud.get("shop/1") == up, seconds=SECONDS)  # noqa: B023 -- called before the next round
        down = cloud.update("shop/1", {"n": -number})
        eventually(lambda: sync.get_local_state() == down, seconds=SECONDS)  # noqa: B023


def test_own_pushes_do_not_wake_it(backend: Backend) -> None:
    with running(backend) as site:
        rounds, run_once = [], site.worker.run_once

        def run_counted() -> int:
            rounds.append(run_once())
            return rounds[-1]

        site.worker.run_once = run_counted  # type: ignore[method-assign]
        for number in range(5):
            state = site.sync.update_local({"n": number})
            eventually(lambda: site.cloud.get("shop/1") == state and site.sync.is_synced)  # noqa: B023
        threading.Event().wait(0.2)
        assert (sum(rounds), len(rounds) <= 10) == (5, True)


def test_a_storm_of_hints_is_followed_by_few_rounds(backend: Backend) -> None:
    with running(backend) as site, backend.client() as client:
        reads = site.store.reads
        for _ in range(300):
            client.publish("er:{default:cloud0}:wake", "another:1 ")
            client.publish("er:{default:sync0}:wake", "")
        assert 1 <= eventually(lambda: site.store.reads - reads) <= 20
        carries_both_ways(site, 1)


def test_a_listening_connection_that_is_killed_is_made_again_and_what_came_meanwhile_is_read(
    real: Backend,
) -> None:
    with running(real) as site, real.client() as admin:
        killed = [each for each in admin.client_list() if int(each["sub"])]
        assert len(killed) == 2
        down = site.cloud.update("shop/1", {"n": 1})
        for each in killed:
            admin.execute_command("CLIENT", "KILL", "ID", each["id"])
            site.cloud.update("shop/2", {"n": 1})
        eventually(lambda: site.sync.get_local_state() == down, seconds=SECONDS)
        eventually(lambda: len([each for each in admin.client_list() if int(each["sub"])]) == 2, seconds=SECONDS)
        carries_both_ways(site, 1)


def subscribers(admin: Any) -> set[str]:
    return {each["id"] for each in admin.client_list() if int(each["sub"])}


@contextmanager
def awaited(real: Backend) -> Iterator[Any]:
    """A worker of asyncio that runs in a thread."""
    ended = threading.Event()
    made: list[Any] = []

    async def main() -> None:
        async with real.async_client() as client, aio.CloudWorker(client, client) as worker:
            await worker.start()
            made.append(worker)
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        yield eventually(lambda: made)[0]
    finally:
        ended.set()
        thread.join(SECONDS)


@contextmanager
def blocking(real: Backend) -> Iterator[Any]:
    with real.client() as client, CloudWorker(client, client).start() as worker:
        yield worker


@pytest.mark.parametrize("run", [blocking, awaited], ids=lambda each: each.__name__)
def test_connections_by_which_a_hint_did_not_come_are_made_anew(
    real: Backend, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "READ_SECONDS", 0.2)
    with real.client() as admin, run(real) as worker:
        eventually(lambda: worker._loop._wake_ups.is_listening)
        for each in worker._loop._wake_ups._listeners:
            each._hints._on_hint = dict.fromkeys(each._hints._on_hint, lambda _: None)
        silent, cloud = subscribers(admin), RedisCloudStore(admin)

        def are_new() -> bool:
            cloud.update("s", {"n": 1})
            return worker._loop._wake_ups.is_listening and subscribers(admin).isdisjoint(silent)

        eventually(are_new, seconds=15, every=0.05)


@pytest.mark.parametrize("end", ["edge", "cloud"])
def test_a_server_that_is_started_again_is_listened_to_again(end: str) -> None:
    with ExitStack() as stack:
        servers = {name: stack.enter_context(embedded.start()) for name in ("edge", "cloud")}
        clients = [stack.enter_context(connect(servers[name].url)) for name in ("edge", "cloud", "edge", "cloud")]
        worker = stack.enter_context(CloudWorker(clients[0], clients[1])).start()
        eventually(lambda: worker._loop._wake_ups.is_listening)
        servers[end].kill()
        eventually(lambda: not worker._loop._wake_ups.is_listening)
        servers[end].restart()
        eventually(lambda: worker._loop._wake_ups.is_listening, seconds=15.0)
        sync, cloud = EdgeSynchronizer(clients[2], scope="s"), RedisCloudStore(clients[3])
        for number in range(2):
            up = sync.update_local({"n": number})
            eventually(lambda: cloud.get("s") == up, seconds=15.0)  # noqa: B023 -- called before the next round
            down = cloud.update("s", {"n": -number})
            eventually(lambda: sync.get_local_state() == down, seconds=SECONDS)  # noqa: B023


@pytest.mark.parametrize("end", ["stop", "close"])
def test_a_wait_ends_at_once_and_leaves_no_connection(real: Backend, end: str) -> None:
    with real.client() as admin, real.client() as client:
        worker = CloudWorker(client, client)
        thread = threading.Thread(target=worker.run)
        thread.start()
        wake_ups = worker._loop._wake_ups
        eventually(lambda: wake_ups.is_listening and not wake_ups.has_come)
        began = time.monotonic()
        getattr(worker, end)()
        thread.join(SECONDS)
        assert time.monotonic() - began < SECONDS / 5
        assert not thread.is_alive()
        eventually(lambda: not [each for each in admin.client_list() if int(each["sub"])])
        worker.close()


def test_a_cancellation_ends_a_wait_and_leaves_no_connection(real: Backend) -> None:
    async def main() -> None:
        async with real.async_client() as client, aio.CloudWorker(client, client) as worker:
            task = asyncio.create_task(worker.run())
            async with asyncio.timeout(SECONDS):
                while not worker._loop._wake_ups.is_listening:  # noqa: ASYNC110 -- nothing announces it
                    await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.wait({task}, timeout=SECONDS)
            assert task.cancelled()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert {each.get_name() for each in others} <= {"edge-redis-ticker"}  # runs until the worker is closed

    asyncio.run(main())
    with real.client() as admin:
        eventually(lambda: not [each for each in admin.client_list() if int(each["sub"])])


def test_a_forked_child_listens_on_its_own(real: Backend) -> None:
    with running(real) as site:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                alone = threading.active_count() == 1
                state = RedisCloudStore(real.client()).update("shop/9", {"n": 1})
                site.worker.start()
                sync = EdgeSynchronizer(real.client(), scope="shop/9")
                eventually(lambda: sync.get_local_state() == state, seconds=SECONDS)
                eventually(lambda: site.worker._loop._wake_ups.is_listening, seconds=SECONDS)
                code = 0 if alone else 2
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        carries_both_ways(site, 1)


def test_a_store_that_cannot_be_listened_to_is_read_at_the_interval(backend: Backend) -> None:
    with backend.client() as client:
        cloud = Polled()
        with CloudWorker(client, cloud, poll_interval_seconds=0.03).start():
            eventually(lambda: cloud.reads > 10, seconds=2.0)


class Reporting(Polled):
    """A cloud of the user's own that reports changes."""

    def __init__(self) -> None:
        super().__init__()
        self.wake: Any = None
        self.is_listening = True
        self.started = self.closed = 0

    def listen(self, reader: Any) -> Any:
        self.wake = reader.wake
        assert reader.cursor == ""
        return self

    def start(self) -> None:
        self.started += 1

    def close(self) -> None:
        self.closed += 1


def test_a_store_of_the_user_s_own_may_wake_the_worker(backend: Backend) -> None:
    with backend.client() as client:
        cloud = Reporting()
        worker = CloudWorker(client, cloud).start()
        eventually(lambda: worker._loop._wake_ups.is_listening)
        for _ in range(5):
            reads = cloud.reads
            cloud.wake()
            eventually(lambda: cloud.reads > reads, seconds=SECONDS)  # noqa: B023 -- called before the next round
        worker.close()
        assert (cloud.started, cloud.closed) == (1, 1)


def test_where_the_user_may_not_subscribe_it_polls(real: Backend, caplog: pytest.LogCaptureFixture) -> None:
    with real.client() as admin:
        admin.execute_command("ACL", "SETUSER", "deaf", "reset", "on", ">pw", "~*", "+@all", "resetchannels")
        with real.client(username="deaf", password="pw") as client, CloudWorker(client, client).start():
            sync, cloud = EdgeSynchronizer(admin), RedisCloudStore(admin)
            for number in range(3):
                state = sync.update_local({"n": number})
                eventually(lambda: cloud.get("default") == state, seconds=SECONDS)  # noqa: B023
        admin.execute_command("ACL", "DELUSER", "deaf")
    assert "polling" in caplog.text
