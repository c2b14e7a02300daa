"""Serves the page with uvicorn, until a signal ends it: the command `edge-redis dashboard`."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis.dashboard._app import Dashboard, dashboard
from edge_redis.dashboard._serve_options import ServeOptions, is_loopback
from edge_redis.errors import EdgeRedisError, MissingExtraError
from edge_redis.settings import Settings

try:
    import uvicorn
except ImportError as error:
    raise MissingExtraError("the page needs uvicorn: pip install 'edge-redis[dashboard]'") from error

_LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]", "::1", "[")
_GRACE_SECONDS: Final = 3
_log: Final = logging.getLogger("edge_redis")


def serve(options: ServeOptions, on_ready: Callable[[str], None]) -> None:
    """Serve the page until SIGINT or SIGTERM. ``on_ready`` receives its URL once it can be asked for.

    Raises:
        StoreError: the server cannot be reached at the start; later outages are shown on the page.
        EdgeRedisError: the port cannot be used.

    """
    asyncio.run(_serve(options, lambda url, _: on_ready(url), handles_signals=True))


class PageThread:
    """A context in which the page is served by a thread of this process; signals are left to the process.

    Raises, on entry:
        StoreError: the server cannot be reached.
        EdgeRedisError: the port cannot be used.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._started: Future[tuple[str, Callable[[], object]]] = Future()
        self._thread = threading.Thread(target=self._run, name="edge-redis-page", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.url, self._stop = self._started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(
                _serve(self._options, lambda url, stop: self._started.set_result((url, stop)), handles_signals=False)
            )
        except BaseException as error:  # noqa: BLE001 -- raised again where the context is entered
            if self._started.done():
                _log.exception("the page has ended")
            else:
                self._started.set_exception(error)


async def _serve(
    options: ServeOptions, on_ready: Callable[[str, Callable[[], object]], None], *, handles_signals: bool
) -> None:
    """Serve until a signal, or a call of the function that ``on_ready`` receives with the URL; from any thread."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        client = options.settings.connect_async()
        stack.push_async_callback(client.aclose)
        sites: dict[str, EdgeRedis] = {}
        for namespace in options.namespaces:
            edge = sites[namespace] = await stack.enter_async_context(options.make_edge(client, namespace))
            await edge.health.summary()  # fails here, before anything is served
        page = dashboard(
            sites,
            clouds=await _open_clouds(stack, options.settings, sites),
            operators=options.operators,
            viewers=options.viewers,
            require_sign_in=not is_loopback(options.host),
            allowed_hosts=_LOCAL_HOSTS if is_loopback(options.host) else ("*",),
        )
        with _listen(options.host, options.port) as listening:
            server = _Server(page, handles_signals=handles_signals)
            url = _url(options.host, listening.getsockname()[1])
            server.on_started = lambda: on_ready(url, partial(loop.call_soon_threadsafe, server.stop))
            await server.serve([listening])


async def _open_clouds(stack: AsyncExitStack, settings: Settings, namespaces: Iterable[str]) -> dict[str, Any]:
    """Open the store of each namespace, where the cloud is another server than the edge's."""
    if settings.cloud_url is None:
        return {}
    return {
        name: await stack.enter_async_context(replace(settings, namespace=name).open_cloud_async())
        for name in namespaces
    }


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EdgeRedisError(f"cannot listen on {host} port {port}: {reason}; choose another with --port") from error


def free_port(wanted: int) -> int:
    """Return ``wanted`` where nothing listens on it at the loopback address, else 0: any free port."""
    try:
        with socket.create_server(("127.0.0.1", wanted)):
            return wanted
    except OSError:
        return 0


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class _Server(uvicorn.Server):
    """uvicorn, with signals that end the command with success, and streams that end before it waits for them."""

    def __init__(self, page: Dashboard, *, handles_signals: bool) -> None:
        config = uvicorn.Config(
            page,
            lifespan="off",
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        super().__init__(config)
        self._page = page
        self._handles_signals = handles_signals
        self.on_started: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._page.close()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        ending = (signal.SIGINT, signal.SIGTERM) if self._handles_signals else ()
        for number in ending:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in ending:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """End the server; a second call waits for nothing."""
        self.force_exit = self.should_exit
        self.should_exit = True
