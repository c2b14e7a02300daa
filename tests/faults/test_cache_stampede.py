"""Many processes, or threads, ask for one missing key: one computes, and when it is killed, one other."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
import redis.asyncio

from edge_redis import ComputeFailedError, EdgeCache, aio
from support.checked import present
from support.deadline import eventually
from support.forked import fork_server
from support.servers import Backend

LEASE_SECONDS = 1.0


def ask(url: str, results: Any, barrier: Any, *, killed: bool) -> None:
    with redis.Redis.from_url(url) as client, EdgeCache(client) as cache:

        def compute() -> int:
            number = int(client.incr("computations"))
            if killed and number == 1:
                client.set("holder", os.getpid())
                time.sleep(60)
            time.sleep(0.2)
            return number

        barrier.wait()
        results.put(cache.get_or_compute("k", compute, lease_seconds=LEASE_SECONDS))


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("processes", [4, pytest.param(16, marks=pytest.mark.exploration)])
def test_one_of_many_processes_computes(valkey: Backend, processes: int, *, killed: bool) -> None:
    context = fork_server()
    results, barrier = context.Queue(), context.Barrier(processes)
    workers = [
        context.Process(target=ask, args=(valkey.url, results, barrier), kwargs={"killed": killed})
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    with valkey.client() as client:
        if killed:
            holder = int(eventually(lambda: client.get("holder"), seconds=60))
            began = time.monotonic()
            os.kill(holder, signal.SIGKILL)
        found = [results.get(timeout=60) for _ in range(processes - killed)]
        if killed:
            assert time.monotonic() - began < LEASE_SECONDS + 1.5
        for worker in workers:
            worker.join(10)
        assert int(client.get("computations")) == 1 + killed
    assert found == [1 + killed] * (processes - killed)
    if killed:
        assert sorted(present(worker.exitcode) for worker in workers) == [-signal.SIGKILL] + [0] * (processes - 1)


@pytest.mark.parametrize("threads", [200, pytest.param(1000, marks=pytest.mark.exploration)])
def test_one_of_many_threads_computes(valkey: Backend, threads: int) -> None:
    calls: list[int] = []
    found: list[int] = []

    def compute() -> int:
        calls.append(1)
        time.sleep(0.5)
        return 7

    pool = redis.BlockingConnectionPool.from_url(present(valkey.url), max_connections=100, timeout=60)
    with redis.Redis(connection_pool=pool) as client, EdgeCache(client) as cache:
        barrier = threading.Barrier(threads)

        def ask() -> None:
            barrier.wait()
            found.append(cache.get_or_compute("k", compute, lease_seconds=60))

        callers = [threading.Thread(target=ask) for _ in range(threads)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    pool.disconnect()
    assert (len(calls), found) == (1, [7] * threads)


SHORT_LEASE = 0.15


def other_name(server: Backend) -> str:
    """Return the URL of a server under another name. Its caches share no computation with those of the usual name."""
    return present(server.url).replace("127.0.0.1", "127.1")


@contextmanager
def two_caches(server: Backend) -> Iterator[tuple[EdgeCache, EdgeCache]]:
    """Make two caches that know as little of each other as those of two processes do."""
    with (
        server.client() as client,
        redis.Redis.from_url(other_name(server)) as other,
        EdgeCache(client) as one,
        EdgeCache(other) as two,
    ):
        yield one, two


class Cycle:
    """Two values that are each computed from the other one."""

    def __init__(self) -> None:
        self.started = {"first": threading.Event(), "second": threading.Event()}
        self.errors: list[BaseException] = []

    def compute(self, cache: EdgeCache, name: str) -> Any:
        other = "second" if name == "first" else "first"
        self.started[name].set()
        assert self.started[other].wait(10)
        return self.ask(cache, other)

    def ask(self, cache: EdgeCache, name: str) -> Any:
        return cache.get_or_compute(name, lambda: self.compute(cache, name), lease_seconds=SHORT_LEASE)

    def record(self, cache: EdgeCache, name: str) -> None:
        try:
            self.ask(cache, name)
        except ComputeFailedError as error:
            self.errors.append(error)


def end_all(*threads: threading.Thread) -> None:
    """Start threads and wait for their ends, for much less than the leases are renewed."""
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert time.monotonic() - began < 30 * SHORT_LEASE


@pytest.mark.parametrize("with_waiters", [False, True])
def test_two_caches_whose_computations_need_each_other_get_an_error(valkey: Backend, *, with_waiters: bool) -> None:
    cycle = Cycle()
    with two_caches(valkey) as (one, two):

        def wait_before(cache: EdgeCache, name: str, other: str) -> None:
            """Wait for the other cache's value, so that the function that needs it joins this wait."""
            if with_waiters:
                assert cycle.started[other].wait(10)
                cycle.record(cache, name)

        end_all(
            threading.Thread(target=cycle.record, args=(one, "first")),
            threading.Thread(target=cycle.record, args=(two, "second")),
            threading.Thread(target=wait_before, args=(one, "second", "second")),
            threading.Thread(target=wait_before, args=(two, "first", "first")),
        )
        assert len(cycle.errors) == (4 if with_waiters else 2)
        assert any("it would wait for its own result" in str(error) for error in cycle.errors)
        assert one.get_or_compute("first", lambda: 1) == 1, "no lease is left"


def test_two_asyncio_caches_whose_computations_need_each_other_get_an_error(valkey: Backend) -> None:
    async def scenario() -> list[Any]:
        started = {"first": asyncio.Event(), "second": asyncio.Event()}

        async def ask(cache: aio.EdgeCache, name: str) -> Any:
            other = "second" if name == "first" else "first"

            async def compute() -> Any:
                started[name].set()
                await started[other].wait()
                return await ask(cache, other)

            return await cache.get_or_compute(name, compute, lease_seconds=SHORT_LEASE)

        async with (
            asyncio.timeout(30 * SHORT_LEASE),
            valkey.async_client() as client,
            redis.asyncio.Redis.from_url(other_name(valkey)) as other,
            aio.EdgeCache(client) as one,
            aio.EdgeCache(other) as two,
        ):
            return list(await asyncio.gather(ask(one, "first"), ask(two, "second"), return_exceptions=True))

    errors = asyncio.run(scenario())
    assert all(isinstance(error, ComputeFailedError) for error in errors)
    assert any("it would wait for its own result" in str(error) for error in errors)


def test_a_computation_that_needs_a_value_which_another_process_computes_slowly_computes_it_too(
    valkey: Backend,
) -> None:
    begun, finish = threading.Event(), threading.Event()

    def compute_slowly() -> str:
        begun.set()
        assert finish.wait(10)
        return "slow"

    with two_caches(valkey) as (one, two):
        found: list[str] = []
        slow = threading.Thread(
            target=lambda: found.append(two.get_or_compute("part", compute_slowly, lease_seconds=SHORT_LEASE))
        )
        slow.start()
        assert begun.wait(10)

        def compute_whole() -> str:
            return f"whole, {one.get_or_compute('part', lambda: 'own', lease_seconds=SHORT_LEASE)}"

        assert one.get_or_compute("whole", compute_whole) == "whole, own"
        finish.set()
        slow.join(10)
        assert found == ["slow"]
        assert two.get_many(["whole", "part"]) == {"whole": "whole, own", "part": "slow"}
