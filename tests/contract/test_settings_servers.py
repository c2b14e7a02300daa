"""Clients and services that settings make, on a real server with a password; and how commands use settings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_redis import StoreRefusedError, embedded
from edge_redis.settings import Settings
from support.checked import present
from support.shell import Shell

PASSWORD = "s3cret-word"


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.EmbeddedServer]:
    with embedded.start(appendfsync="no", password=PASSWORD) as running:
        yield running


@pytest.fixture
def settings(server: embedded.EmbeddedServer, tmp_path: Path) -> Settings:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    with server.client() as client:
        client.flushall()
    return Settings(
        url=f"redis://{server.host}:{server.port}/0",
        password_file=tmp_path / "password",
        namespace="shop",
        heartbeat_timeout=7.0,
        client_name="till-1",
        socket_timeout=20.0,
        max_connections=8,
    )


def test_services_are_opened_with_the_settings(settings: Settings) -> None:
    with settings.open(cache={"max_size": 3}) as edge:
        edge.cache.put("k", 1)
        assert (edge.namespace, edge.cache.stats()["max_size"]) == ("shop", 3)
        assert edge.health.summary()["timeout_seconds"] == 7.0
        assert edge.client.client_getname() == "till-1"
        made: Any = edge.client
        pool = made.connection_pool
        assert (pool.connection_kwargs["socket_timeout"], pool.max_connections) == (20.0, 8)
    with settings.connect(client_name="till-2") as client:
        assert client.client_getname() == "till-2"
    with settings.open(health={"heartbeat_timeout_seconds": 9.0}) as edge:
        assert edge.health.summary()["timeout_seconds"] == 9.0

    async def read() -> Any:
        async with settings.open_async() as edge, settings.connect_async() as client:
            assert await client.client_getname() == "till-1"
            assert (await edge.health.summary())["timeout_seconds"] == 7.0
            return await edge.cache.get("k")

    assert asyncio.run(read()) == 1


def test_a_password_that_changed_in_its_file_is_used_by_the_next_client(settings: Settings) -> None:
    present(settings.password_file).write_text("stale")
    with settings.connect() as client, pytest.raises(Exception, match="invalid username-password"):
        client.ping()
    present(settings.password_file).write_text(PASSWORD)
    with settings.connect() as client:
        assert client.ping()


@pytest.mark.parametrize("kind", ["own server", "redis", "sqlite"])
def test_a_worker_carries_changes_to_the_cloud_of_the_settings(settings: Settings, tmp_path: Path, kind: str) -> None:
    url = {"own server": None, "redis": f"{settings.url}?db=1", "sqlite": f"sqlite:///{tmp_path}/cloud.db"}[kind]
    used = replace(settings, cloud_url=url, cloud_password=PASSWORD if kind == "redis" else None)
    with used.open() as edge, used.open_cloud() as cloud:
        edge.synchronizer("till-1").update_local({"n": 1})
        with edge.worker(cloud) as worker:
            assert worker.run_once() == 1
        assert present(cloud.get("till-1")).data == {"n": 1}

    async def carry() -> Any:
        async with used.open_async() as edge, used.open_cloud_async() as cloud:
            await edge.synchronizer("till-2").update_local({"n": 2})
            async with edge.worker(cloud) as worker:
                await worker.run_once()
            return present(await cloud.get("till-2")).data

    assert asyncio.run(carry()) == {"n": 2}


def test_the_cloud_never_receives_the_password_of_the_edge(settings: Settings) -> None:
    used = replace(settings, cloud_url=settings.url)
    with used.open_cloud() as cloud, pytest.raises(StoreRefusedError):
        cloud.get("till-1")


def test_the_command_line_uses_the_settings_that_are_no_options(
    server: embedded.EmbeddedServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(f"redis://{server.host}:{server.port}/0", tmp_path, capfd)
    file = tmp_path / "edge.toml"
    file.write_text('client-name = "tried"\nmax-connections = 0\n')
    code, _, err = shell.run("--config", str(file), "nodes", EDGE_REDIS_PASSWORD=PASSWORD)
    assert (code, err) == (2, f"edge-redis: {file}: max_connections must be at least 1, not 0\n")
    file.write_text('client-name = "tried"\n')
    with server.client() as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.slowlog_reset()
        assert shell.run("--config", str(file), "nodes", EDGE_REDIS_PASSWORD=PASSWORD)[0] == 0
        assert b"tried" in {each["client_name"] for each in client.slowlog_get(50)}
    code, _, err = shell.run("nodes", EDGE_REDIS_PASSWORD=PASSWORD, EDGE_REDIS_SOCKET_TIMEOUT="soon")
    assert (code, err) == (2, "edge-redis: EDGE_REDIS_SOCKET_TIMEOUT must be a number, not 'soon'\n")
    file.write_text(f'password = "{PASSWORD}"\n')
    code, _, err = shell.run("--config", str(file), "nodes")
    assert code == 2
    assert "password must not stand in the settings file" in err
    assert PASSWORD not in err
