"""The last resort: fakeredis' TCP server in a thread of this process. For a look and for tests, not for data."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

import redis

from edge_redis.errors import EmbeddedServerError


class FakeTcpServer:
    """As ``EmbeddedServer``, but nothing of it survives this process."""

    def __init__(self, port: int) -> None:
        try:
            from fakeredis import TcpFakeServer  # noqa: PLC0415 -- an extra, wanted here alone
        except ImportError as error:
            msg = "no server and no fakeredis: pip install 'edge-redis[embedded]'"
            raise EmbeddedServerError(msg) from error
        self.host = "127.0.0.1"
        self._server = TcpFakeServer((self.host, port), server_type="valkey")
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.kind = "fakeredis"
        self.version = "8.0"
        self.pid: int | None = None
        self.data_dir = None
        self.durable = False
        self._thread = threading.Thread(target=self._server.serve_forever, name="edge-redis-fake", daemon=True)
        self._thread.start()
        self._stopped = False

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://{self.host}:{self.port}/0"

    def client(self, **kwargs: Any) -> redis.Redis:  # noqa: ANN401 -- redis.Redis' own
        """Return a new blocking client of this server."""
        return redis.Redis.from_url(self.url, **kwargs)

    def stop(self) -> None:
        """End the server; its data is gone. Again does nothing."""
        if not self._stopped:
            self._stopped = True
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    close = stop

    def kill(self) -> None:
        """End the server: there is no other way for this kind."""
        self.stop()

    def restart(self, timeout: float = 10.0) -> None:
        """Refuse: nothing was kept to restart with.

        Raises:
            EmbeddedServerError: always.

        """
        raise EmbeddedServerError(f"fakeredis keeps nothing to restart with (timeout {timeout} s)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
