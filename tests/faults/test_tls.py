"""TLS with certificates of both ends: the library in both APIs, and the command line, on a real server."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

import edge_redis
from edge_redis import EdgeCache, EdgeNode, EdgeRedis, RedisCloudStore, StoreUnavailableError, aio, embedded
from edge_redis.embedded import _port as embedded_port
from edge_redis.settings import Settings
from support.certificates import Authority, Certificate
from support.deadline import eventually
from support.shell import Shell

PASSWORD = "tls-secret"


class Secured(NamedTuple):
    """A server that speaks TLS alone, to clients with a certificate of its authority."""

    port: int
    authority: Authority
    client: Certificate

    def options(self) -> dict[str, str]:
        """Return the client's options."""
        return {
            "ssl_ca_certs": str(self.authority.certificate),
            "ssl_certfile": str(self.client.certificate),
            "ssl_keyfile": str(self.client.key),
        }

    def url(self, **options: str) -> str:
        return f"rediss://:{PASSWORD}@127.0.0.1:{self.port}/0?{urlencode(options or self.options())}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on PATH, which speaks TLS")
    authority = Authority(tmp_path_factory.mktemp("tls"), "site")
    own = authority.sign("server")
    port = embedded_port.Port("127.0.0.1", 0, hold=False).number
    config = {
        "tls-port": str(port),
        "tls-cert-file": f'"{own.certificate}"',
        "tls-key-file": f'"{own.key}"',
        "tls-ca-cert-file": f'"{authority.certificate}"',
        "tls-auth-clients": "yes",
    }
    with embedded.start(prefer="path", appendfsync="no", password=PASSWORD, config=config):
        yield Secured(port, authority, authority.sign("client"))


@pytest.fixture
def refused(secured: Secured, tmp_path: Path) -> dict[str, dict[str, str]]:
    """Options with which the server refuses a client, or the client the server."""
    other = Authority(tmp_path, "other")
    stranger = other.sign("stranger")
    whole = secured.options()
    return {
        "no certificate": {"ssl_ca_certs": whole["ssl_ca_certs"]},
        "certificate of another authority": whole
        | {"ssl_certfile": str(stranger.certificate), "ssl_keyfile": str(stranger.key)},
        "server of another authority": whole | {"ssl_ca_certs": str(other.certificate)},
    }


def test_settings_name_the_certificates_for_services_and_commands(
    secured: Secured, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"rediss://127.0.0.1:{secured.port}/0"
    variables = {f"EDGE_REDIS_{name.upper()}": path for name, path in secured.options().items()}
    settings = Settings.from_environment(variables | {"EDGE_REDIS_URL": url, "EDGE_REDIS_PASSWORD": PASSWORD})
    with settings.open() as edge:
        edge.cache.put("k", 1)

    async def read() -> Any:
        async with settings.open_async() as edge:
            return await edge.cache.get("k")

    assert asyncio.run(read()) == 1
    shell = Shell(url, tmp_path, capfd)
    assert shell.run("status", EDGE_REDIS_PASSWORD=PASSWORD, **variables)[0] == 0
    code, _, err = shell.run("status", EDGE_REDIS_PASSWORD=PASSWORD, EDGE_REDIS_SSL_CA_CERTS="/nowhere.pem")
    assert (code, "/nowhere.pem" in err) == (2, True)


REFUSED = ("no certificate", "certificate of another authority", "server of another authority")


def test_every_service_works_with_certificates(secured: Secured) -> None:
    with EdgeRedis.from_url(secured.url(), namespace="tls") as edge, edge_redis.connect(secured.url()) as client:
        edge.health.register(EdgeNode("till-1", "Till 1"))
        with edge.metrics.track("pay", "till-1"):
            edge.cache.put("k", 1)
        edge.synchronizer("s").update_local({"a": 1})
        with edge.worker(client) as worker:
            while worker.run_once():
                pass
        assert edge.synchronizer("s").is_synced
        assert edge.health.check_cluster()["healthy_nodes"] == edge.metrics.summary()["total"] == 1
        with EdgeCache(client, namespace="tls", near_cache=True) as near:
            assert near.get("k") == 1
            eventually(lambda: near.stats()["near_listening"])


def test_the_asyncio_services_work_with_certificates(secured: Secured) -> None:
    async def main() -> Any:
        async with aio.EdgeRedis.from_url(secured.url(), namespace="tls-aio") as edge:
            await edge.cache.put("k", 2)
            await edge.synchronizer("s").update_local({"a": 1})
            async with edge.worker(edge.client) as worker:
                while await worker.run_once():
                    pass
            return await edge.cache.get("k")

    assert asyncio.run(main()) == 2


@pytest.mark.parametrize("fault", REFUSED)
def test_a_connection_without_the_right_certificates_is_refused(
    secured: Secured, refused: dict[str, dict[str, str]], fault: str
) -> None:
    url = secured.url(**refused[fault])

    async def use() -> None:
        async with aio.connect(url) as client:
            await aio.EdgeCache(client, flush_interval=3600).get("k")

    with edge_redis.connect(url) as client, pytest.raises(StoreUnavailableError) as caught:
        EdgeCache(client, flush_interval=3600).get("k")
    assert PASSWORD not in str(caught.value)
    with pytest.raises(StoreUnavailableError):
        asyncio.run(use())


@pytest.fixture
def shell(secured: Secured, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(secured.url(), tmp_path, capfd)


def test_commands_work_with_the_certificates_in_the_url(secured: Secured, shell: Shell) -> None:
    with EdgeRedis.from_url(secured.url(), namespace="shop") as edge:
        edge.synchronizer("s").update_local({"a": 1})
        code, found = shell.json("doctor")
        assert code == 0, found
        code, out, err = shell.run("worker", "--once", "--cloud-url", secured.url())
        assert (code, out) == (0, ""), err
        assert PASSWORD not in err
        assert edge.synchronizer("s").is_synced
        assert shell.run("metrics", "show")[0] == shell.run("status")[0] == 0
        with RedisCloudStore(edge.client, namespace="shop") as cloud:
            assert cloud.get("s") is not None


@pytest.mark.parametrize("fault", REFUSED)
def test_a_command_without_the_right_certificates_says_so_in_a_line(
    secured: Secured, shell: Shell, refused: dict[str, dict[str, str]], fault: str
) -> None:
    began = time.monotonic()
    code, out, err = shell.run("status", "--url", secured.url(**refused[fault]))
    assert (code, out, err.count("\n")) == (3, "", 1), err
    assert "certificate" in err
    assert PASSWORD not in err
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("missing", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_missing_is_named(secured: Secured, shell: Shell, missing: str) -> None:
    code, out, err = shell.run("status", "--url", secured.url(**(secured.options() | {missing: "/nowhere.pem"})))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "/nowhere.pem" in err


def test_a_key_that_belongs_to_another_certificate_is_refused(secured: Secured, shell: Shell) -> None:
    key = secured.authority.sign("other").key
    code, _, err = shell.run("status", "--url", secured.url(**(secured.options() | {"ssl_keyfile": str(key)})))
    assert (code, err.count("\n")) == (2, 1), err
    assert "cannot be used" in err


def test_a_plain_connection_to_the_port_of_tls_is_refused(secured: Secured, shell: Shell) -> None:
    code, out, err = shell.run("status", "--url", f"redis://:{PASSWORD}@127.0.0.1:{secured.port}/0")
    assert (code, out, err.count("\n")) == (3, "", 1), err
    assert PASSWORD not in err
