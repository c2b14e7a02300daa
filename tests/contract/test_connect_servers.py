"""Clients from URLs, on every kind of server there is: alone, by socket, by TLS, cluster, Sentinel."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from edge_redis import EdgeNode, HealthMonitor, aio, embedded
from edge_redis._io import connect_retry
from edge_redis._io.connect import connect, connect_async
from edge_redis.embedded import _port as embedded_port
from edge_redis.errors import InvalidArgumentError, InvalidTypeError, StoreReadOnlyError, StoreUnavailableError
from support.deadline import eventually
from support.servers import Backend

FAST = {"hz": "100"}
"""A server looks for SIGTERM once a tick."""


def commands(url: str, api: str, *words: tuple[Any, ...], **overrides: Any) -> list[Any]:
    """Send commands with a client made by either function, and return the replies."""
    if api == "blocking":
        with connect(url, **overrides) as client:
            return [client.execute_command(*each) for each in words]

    async def send() -> list[Any]:
        async with connect_async(url, **overrides) as client:
            return [await client.execute_command(*each) for each in words]

    return asyncio.run(send())


@pytest.fixture(params=["blocking", "awaited"])
def api(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def start() -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        yield lambda **kwargs: stack.enter_context(embedded.start(**{"config": FAST, "password": "", **kwargs}))


class TestOneServer:
    def test_says_who_it_is_and_keeps_bytes(self, real: Backend, api: Any) -> None:
        url = f"{real.url}?socket_timeout=2"
        replies = commands(url, api, ("SET", "k", b"\xff"), ("GET", "k"), ("CLIENT", "GETNAME"))
        assert replies[1] == b"\xff"
        assert replies[2] == b"edge-redis"

    def test_with_a_password_and_a_database(self, start: Any, api: Any) -> None:
        server = start(config=FAST | {"requirepass": '"p/:@ w"'})
        url = f"redis://:p%2F%3A%40%20w@{server.host}:{server.port}/3"
        commands(url, api, ("SET", "k", "v"))
        with server.client(password="p/:@ w", db=3) as client:
            assert client.get("k") == b"v"

    def test_by_its_socket(self, start: Any, api: Any, tmp_path: Path) -> None:
        path = tmp_path / "s.sock"
        start(config=FAST | {"unixsocket": f'"{path}"'})
        assert commands(f"unix://{path}?db=2", api, ("SET", "k", "v"), ("GET", "k"))[1] == b"v"

    def test_outlives_a_restart_of_the_server(self, start: Any) -> None:
        server = start()
        with connect(server.url) as client:
            client.set("k", "v")
            server.restart()
            assert client.get("k") == b"v"

    def test_by_tls(self, start: Any, api: Any, tmp_path: Path) -> None:
        if not (shutil.which("redis-server") and shutil.which("openssl")):
            pytest.skip("needs a redis-server with TLS, and openssl")
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        make = ["openssl", "req", "-x509", *curve, "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*make, *names], check=True, capture_output=True)
        port = embedded_port.Port("127.0.0.1", 0, hold=False).number
        tls = {
            "tls-port": str(port),
            "tls-cert-file": f'"{certificate}"',
            "tls-key-file": f'"{key}"',
            "tls-auth-clients": "no",
        }
        start(prefer="path", config=FAST | tls)
        url = f"rediss://127.0.0.1:{port}"
        assert commands(f"{url}?ssl_ca_certs={certificate}", api, ("SET", "k", "v"))
        with pytest.raises(redis.ConnectionError, match="certificate"):
            commands(url, api, ("PING",), retry=None)


class TestUnresponsiveServer:
    """A server that takes connections and never answers: every attempt costs a timeout."""

    @pytest.fixture
    def silent(self) -> Iterator[Any]:
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
            yield f"redis://127.0.0.1:{listener.getsockname()[1]}?socket_timeout=0.2&socket_connect_timeout=0.2"

    def test_ends_within_the_budget(self, silent: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connect_retry, "BUDGET_SECONDS", 0.3)
        began = time.monotonic()
        with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
            commands(silent, api, ("PING",))
        assert time.monotonic() - began < 2.0

    def test_in_the_middle_ends_within_it_too(self, silent: Any, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        # A command that retries reconnects, and reconnecting retries: counts alone would multiply.
        monkeypatch.setattr(connect_retry, "BUDGET_SECONDS", 0.3)
        server = start()
        host, port = silent.removeprefix("redis://").partition("?")[0].split(":")
        with connect(server.url, socket_timeout=0.2, health_check_interval=0) as client:
            client.ping()
            server.stop()
            client.connection_pool.connection_kwargs.update(host=host, port=int(port))
            for connection in client.connection_pool._available_connections:
                connection.host, connection.port = host, int(port)
            began = time.monotonic()
            with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
                client.ping()
            assert time.monotonic() - began < 2.0


class TestCluster:
    @pytest.fixture
    def node(self, start: Any) -> Any:
        server = start(config=FAST | {"cluster-enabled": "yes"})
        with server.client() as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            eventually(lambda: client.cluster("info")["cluster_state"] == "ok")
        return server

    def test_finds_its_way(self, node: Any, api: Any) -> None:
        closed = embedded_port.Port(node.host, 0, hold=False).number
        url = f"redis+cluster://{node.host}:{closed},{node.host}:{node.port}/0"
        assert commands(url, api, ("SET", "k", "v"), ("GET", "k"))[1] == b"v"

    def test_one_that_is_not_there(self) -> None:
        closed = embedded_port.Port("127.0.0.1", 0, hold=False).number
        with pytest.raises(StoreUnavailableError, match="cluster") as caught:
            connect(f"redis+cluster://:hunter2@127.0.0.1:{closed}")
        assert "hunter2" not in str(caught.value)


class TestSentinel:
    @pytest.fixture
    def service(self, start: Any) -> Any:
        """A master, its replica and a Sentinel, all with passwords; and the URL of the service."""
        settings = FAST | {"repl-diskless-sync-delay": "0", "requirepass": "pw", "masterauth": "pw"}
        master = start(config=settings)
        replica = start(config=settings | {"replicaof": f"{master.host} {master.port}"})
        watch = {
            "sentinel monitor": f"service {master.host} {master.port} 1",
            "sentinel auth-pass": "service pw",
            "sentinel down-after-milliseconds": "service 300",
            "sentinel failover-timeout": "service 2000",
            "requirepass": "other",
        }
        sentinel = start(config=watch, sentinel=True)
        assert not sentinel.durable
        with sentinel.client(password="other") as client:
            eventually(lambda: client.sentinel_slaves("service"), seconds=30)
        with master.client(password="pw") as client:
            eventually(lambda: client.wait(1, 100))
        closed = embedded_port.Port("127.0.0.1", 0, hold=False).number
        hosts = f"127.0.0.1:{closed},127.0.0.1:{sentinel.port}"
        return master, replica, f"redis+sentinel://:pw@{hosts}/service/0?sentinel_password=other"

    def test_finds_the_master(self, service: Any, api: Any) -> None:
        master, _, url = service
        replies = commands(url, api, ("SET", "k", "v"), ("INFO", "server"))
        assert replies[1]["tcp_port"] == master.port

    def test_a_client_of_replicas_asks_one_or_the_master_where_there_is_none(self, service: Any) -> None:
        master, replica, url = service
        with connect(url) as client, HealthMonitor(client) as monitor:
            monitor.register(EdgeNode("n1", "one"))
            client.wait(1, 1000)

        async def count() -> int:
            async with connect_async(f"{url}&read_replicas=true") as client, aio.HealthMonitor(client) as monitor:
                with pytest.raises(StoreReadOnlyError):
                    await monitor.heartbeat("n1")
                return len(await monitor.nodes())

        assert asyncio.run(count()) == 1
        with connect(url, read_replicas=True) as client, HealthMonitor(client) as monitor:
            assert client.info("server")["tcp_port"] == replica.port
            assert len(monitor.nodes()) == 1
            with pytest.raises(StoreReadOnlyError):
                monitor.heartbeat("n1")
            replica.kill()
            assert len(monitor.nodes()) == 1
            assert client.info("server")["tcp_port"] == master.port

    def test_follows_a_failover(self, service: Any) -> None:
        master, replica, url = service
        with connect(url) as client:
            client.set("k", "v")
            client.wait(1, 1000)
            master.kill()

            def written() -> bool:
                with contextlib.suppress(redis.RedisError):
                    return bool(client.set("after", "failover"))
                return False

            eventually(written, seconds=60)
            assert client.get("k") == b"v"
            assert client.info("server")["tcp_port"] == replica.port


@pytest.mark.parametrize("make", [connect, connect_async])
def test_replicas_of_one_server_are_refused(make: Callable[..., object]) -> None:
    with pytest.raises(InvalidArgumentError, match="read_replicas needs a URL of Sentinels or of a cluster"):
        make("redis://localhost", read_replicas=True)
    with pytest.raises(InvalidArgumentError, match="give its own URL"):
        make("unix:///s.sock?read_replicas=true")
    with pytest.raises(InvalidTypeError, match="read_replicas"):
        make("redis+sentinel://localhost/service", read_replicas="yes")


def test_one_client_for_many_threads(valkey: Backend) -> None:
    with connect(valkey.url) as client:

        def count() -> None:
            for _ in range(100):
                client.incr("n")

        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.get("n") == b"800"
