"""Buffers at the end of a process: flushed at exit, in a multiprocessing child too, and never twice after a fork."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import pytest
import redis

from edge_redis import EdgeMetrics, ServiceClosedError
from support.servers import Backend

PRELUDE = """
import asyncio, multiprocessing, os, sys
import redis, redis.asyncio
import edge_redis, edge_redis.aio
from edge_redis import InvocationRecord

URL = sys.argv[1]
SLOW = {"flush_interval": 60.0, "flush_every": 100_000}

def record(metrics, times=1):
    for _ in range(times):
        metrics.record(InvocationRecord("f", "n", 1.0, True))
"""


def run(backend: Backend, body: str) -> None:
    """Run a program to its end; it must print nothing on standard error."""
    program = PRELUDE + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, backend.url or ""], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")


def total(backend: Backend) -> int:
    with backend.client() as client, EdgeMetrics(client) as metrics:
        return metrics.total_invocations()


def test_a_blocking_buffer_is_flushed_at_exit(valkey: Backend) -> None:
    run(
        valkey,
        """
        metrics = edge_redis.EdgeMetrics(redis.Redis.from_url(URL), **SLOW)
        record(metrics, 5)
        """,
    )
    assert total(valkey) == 5


def test_an_awaited_buffer_is_flushed_at_exit(valkey: Backend) -> None:
    run(
        valkey,
        """
        async def main():
            client = redis.asyncio.Redis.from_url(URL)
            global metrics
            metrics = edge_redis.aio.EdgeMetrics(client, **SLOW)
            for _ in range(3):
                await metrics.record(InvocationRecord("f", "n", 1.0, True))
            await client.aclose()
        asyncio.run(main())
        """,
    )
    assert total(valkey) == 3


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_multiprocessing_child_flushes_its_own_and_nothing_of_its_parent(
    valkey: Backend, method: str, tmp_path: Any
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        PRELUDE
        + textwrap.dedent(
            f"""
            def child(url):
                record(edge_redis.EdgeMetrics(redis.Redis.from_url(url), **SLOW), 7)

            if __name__ == "__main__":
                metrics = edge_redis.EdgeMetrics(redis.Redis.from_url(URL), **SLOW)
                record(metrics, 5)
                process = multiprocessing.get_context("{method}").Process(target=child, args=(URL,))
                process.start()
                process.join()
                assert process.exitcode == 0
            """
        )
    )
    done = subprocess.run([sys.executable, str(program), str(valkey.url)], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert total(valkey) == 12


def test_a_forked_child_goes_on_with_the_service_and_leaves_the_parents_buffer_alone(valkey: Backend) -> None:
    run(
        valkey,
        """
        metrics = edge_redis.EdgeMetrics(redis.Redis.from_url(URL), **SLOW)
        record(metrics, 5)
        pid = os.fork()
        if pid == 0:
            record(metrics, 2)
            metrics.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        record(metrics, 1)
        """,
    )
    assert total(valkey) == 8


def test_a_tick_flushes_by_itself(valkey: Backend) -> None:
    run(
        valkey,
        """
        import time
        metrics = edge_redis.EdgeMetrics(redis.Redis.from_url(URL), flush_interval=0.05, flush_every=100_000)
        record(metrics, 5)
        other = edge_redis.EdgeMetrics(redis.Redis.from_url(URL))
        end = time.monotonic() + 10
        while other.total_invocations() != 5:
            assert time.monotonic() < end
        """,
    )


def test_what_a_dropped_service_buffered_is_flushed_by_the_next_tick(valkey: Backend) -> None:
    run(
        valkey,
        """
        import gc, threading, time, weakref
        metrics = edge_redis.EdgeMetrics(redis.Redis.from_url(URL), flush_interval=0.02, flush_every=100_000)
        record(metrics, 5)
        gone = weakref.ref(metrics)
        del metrics
        gc.collect()
        assert gone() is None
        end = time.monotonic() + 10
        with edge_redis.EdgeMetrics(redis.Redis.from_url(URL)) as other:
            while other.total_invocations() != 5:
                assert time.monotonic() < end
        while threading.active_count() > 1:
            assert time.monotonic() < end
        """,
    )


def test_what_a_dropped_service_buffered_is_flushed_at_exit(valkey: Backend) -> None:
    run(valkey, "record(edge_redis.EdgeMetrics(redis.Redis.from_url(URL), **SLOW), 5)")
    assert total(valkey) == 5


def test_a_service_that_is_closed_and_dropped_does_not_live_on(valkey: Backend) -> None:
    run(
        valkey,
        """
        import gc, threading, weakref
        metrics = edge_redis.EdgeMetrics(redis.Redis.from_url(URL), flush_interval=0.01)
        record(metrics)
        metrics.close()
        gone = weakref.ref(metrics)
        del metrics
        gc.collect()
        assert gone() is None
        assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
        """,
    )


def test_a_closed_service_says_so(make: Any) -> None:
    for name in ("EdgeCache", "HealthMonitor", "EdgeMetrics", "EdgeSynchronizer"):
        service = make(name)
        service.close()
        service.close()
        with pytest.raises(ServiceClosedError, match=f"this {name} is closed"):
            service.summary() if name != "EdgeCache" else service.stats()


def test_closing_leaves_the_client_open(valkey: Backend) -> None:
    with redis.Redis.from_url(str(valkey.url)) as client:
        with EdgeMetrics(client):
            pass
        assert client.ping()
