"""The network link between a demo site's worker and its cloud: a TCP relay that can be cut."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

_CHUNK_BYTES: Final = 65_536
_DEFAULT_PORT: Final = 6379


def can_relay(url: str) -> bool:
    """Return whether a server is reached by plain TCP: a relay would break TLS host names and Unix sockets."""
    return urlsplit(url).scheme == "redis"


class CloudLink:
    """A context in which ``url`` leads to a server through a relay on the loopback address.

    Args:
        url: of the server, ``redis://``.

    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "localhost", parts.port or _DEFAULT_PORT)
        self._parts = parts
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="edge-redis-cloud-link", daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_cut = False

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._relay, "127.0.0.1", 0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The server's URL with the address of the relay."""
        assert self._server is not None, "inside the context"
        port = self._server.sockets[0].getsockname()[1]
        user, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()

    @property
    def is_cut(self) -> bool:
        """Whether connections are refused."""
        return self._is_cut

    def cut(self) -> None:
        """Abort all connections, and those that are opened from now on."""
        self._is_cut = True
        self._loop.call_soon_threadsafe(self._abort)

    def restore(self) -> None:
        """Accept connections again."""
        self._is_cut = False

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._abort()
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        if pending:  # each ends by the abort of its connection
            await asyncio.wait(pending, timeout=1.0)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self._is_cut:
                return
            there_reader, there = await asyncio.open_connection(*self._target)
            self._writers.add(there)
            try:
                await asyncio.gather(_copy(reader, there), _copy(there_reader, writer))
            finally:
                self._writers.discard(there)
                there.transport.abort()
        except OSError:
            pass  # the server ended, or the link was cut: the worker sees its connection end
        finally:
            self._writers.discard(writer)
            writer.transport.abort()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK_BYTES):
        target.write(chunk)
        await target.drain()
    with suppress(OSError):
        target.write_eof()
