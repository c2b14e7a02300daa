"""The object that a caller of ``start`` holds: a running server, until it is stopped or dropped."""

from __future__ import annotations

import threading
import warnings
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import quote

import redis

from edge_redis._core import validation
from edge_redis.embedded._binary import Kind
from edge_redis.embedded._engine import Engine
from edge_redis.embedded._fake import FakeEngine
from edge_redis.embedded._port import make_url
from edge_redis.errors import EmbeddedServerError

AnyEngine: TypeAlias = Engine | FakeEngine


class EmbeddedServer:
    """A running server. Made by ``start``; ends on ``stop()``, with its ``with`` block, or with the process.

    Keep a reference for as long as the server is needed: it ends when the object is garbage-collected.
    """

    def __init__(self, engine: AnyEngine, timeout: float, password: str | None = None) -> None:
        self._engine = engine
        self._password = password
        self._timeout = timeout
        self._is_stopped = False
        self._turn = threading.RLock()
        self._dropped = weakref.finalize(self, _drop, engine)
        self._dropped.atexit = False  # at exit the engine ends the server itself, after the services have flushed

    @property
    def kind(self) -> Kind:
        """``valkey-server``, ``redis-server`` or ``fakeredis``."""
        return self._engine.kind

    @property
    def version(self) -> str:
        """The server's release, or the package's for fakeredis."""
        return self._engine.version

    @property
    def host(self) -> str:
        """The loopback address that it listens on."""
        return self._engine.host

    @property
    def port(self) -> int:
        """The port that it listens on; ``restart()`` keeps it."""
        return self._engine.port

    @property
    def url(self) -> str:
        """``redis://:PASSWORD@HOST:PORT/0``. A ``requirepass`` given in ``config`` is not in it."""
        address = make_url(self.host, self.port)
        return address.replace("://", f"://:{quote(self._password, safe='')}@", 1) if self._password else address

    @property
    def pid(self) -> int | None:
        """Process id of the server; None if it does not run or is fakeredis."""
        return self._engine.pid

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._engine.is_running

    @property
    def data_dir(self) -> Path | None:
        """Folder of the append-only file and of ``server.log``; None for fakeredis."""
        return self._engine.data_dir

    @property
    def password_file(self) -> Path | None:
        """File that only this user may read, with the random password; None if there is no random password."""
        return self._engine.password_file

    @property
    def durable(self) -> bool:
        """Whether data outlives ``kill()`` and ``restart()``: a real server, its append-only file on."""
        return self._engine.is_durable

    def client(self, **kwargs: Any) -> redis.Redis:
        """Return a new client of this server; ``kwargs`` are those of ``redis.Redis``."""
        # In redis-py a URL wins over the arguments: without a database in it, db= can be given.
        return redis.Redis.from_url(self.url.removesuffix("/0"), **kwargs)

    def stop(self) -> None:
        """End the server by SIGTERM, so that its append-only file is complete; remove a private folder.

        Returns when the process is gone; kills it after the timeout. Calling again does nothing. An
        interrupted call still ends the server; calling again waits for that.

        Raises:
            EmbeddedServerError: the watchdog of the server had to be killed.
        """
        try:
            with self._turn:
                self._is_stopped = True
                self._dropped.detach()
                self._engine.close()
        except BaseException:
            self._engine.release()
            raise

    close = stop

    def kill(self) -> None:
        """End the server by SIGKILL, as in a crash; ``restart()`` starts it again.

        Raises:
            EmbeddedServerError: it was stopped, or this process is a fork of the one that started it.
        """
        with self._turn:
            self._require_own()
            self._engine.end(kill=True)

    def restart(self, timeout: float | None = None) -> None:
        """Start the server again on the same port and data, ending it by SIGTERM first where it runs.

        Args:
            timeout: seconds until it must answer; None: that of ``start``.

        Raises:
            EmbeddedServerError: it was stopped, did not start, or this process is a fork of the one that started it.
        """
        with self._turn:
            self._require_own()
            self._engine.end(kill=False)
            self._engine.start(self._timeout if timeout is None else validation.check_positive("timeout", timeout))

    def _require_own(self) -> None:
        if self._is_stopped:
            raise EmbeddedServerError("this embedded server was stopped: start another")
        if self._engine.is_foreign:
            raise EmbeddedServerError("this embedded server belongs to the process this one forked from")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<EmbeddedServer {self.kind} {self.version} at {make_url(self.host, self.port)}>"


def _drop(engine: AnyEngine) -> None:
    if engine.is_foreign:
        return
    engine.release()
    warnings.warn(f"an embedded server on port {engine.port} was dropped without stop()", ResourceWarning, stacklevel=2)
