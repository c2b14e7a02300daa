"""Many processes, or threads, ask for one missing key: one computes, and when it is killed, one other."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest
import redis

from edge_redis import EdgeCache
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
