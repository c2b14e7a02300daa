"""The services of an application, from before its first request until after its last."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Any, Final, Protocol

from edge_redis._core import validation
from edge_redis._io.clients import AsyncClient
from edge_redis._io.connect import connect_async
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._services.aio.health_relay import TransitionRelay
from edge_redis._services.options import (
    CacheOptions,
    HealthOptions,
    MetricsOptions,
    WatchOptions,
    WorkerOptions,
)
from edge_redis._sync.cloud_store import AsyncCloudStore, CloudStore
from edge_redis.errors import EdgeRedisError
from edge_redis.integrations.starlette._application import STATE_KEY, Application
from edge_redis.models import EdgeNode, Transition
from edge_redis.settings._checks import is_sql

_log: Final = logging.getLogger("edge_redis")

_RETRY_SECONDS: Final = 2.0
_FIRST_HEARTBEAT_SECONDS: Final = 1.0


class BackgroundService(Protocol):
    """A service that works from ``start()`` until ``close()``: a CloudWorker, a HealthWatch, a TransitionRelay."""

    async def start(self) -> object:
        """Begin to work."""

    async def close(self) -> None:
        """End the work."""


class EdgeLifespan:
    """Opens the services of a Starlette or FastAPI application before its first request; closes them after its last.

    Endpoints find the asyncio EdgeRedis in ``request.state.edge``, and other code in ``app.state.edge``. Each process
    of the web server has services of its own; workers share their work, watches and relays elect a leader. Signals
    are left to the web server. An application starts also while the Redis server cannot be reached.

    Args:
        url: of the server, as in ``connect``; None: the variable ``EDGE_REDIS_URL``, else localhost.
        client: a function that returns an asyncio client, in place of ``url``; the client is closed at the end.
        namespace: of all services.
        cache: further arguments of EdgeCache.
        health: further arguments of HealthMonitor.
        metrics: further arguments of EdgeMetrics.
        node: registered by its heartbeats, which each process sends. The object may be changed at any time, such as its
            status.
        heartbeat_seconds: pause between two heartbeats.
        cloud: starts a CloudWorker: a URL (of Redis, or of a database as in SqlCloudStore), a cloud store, or an
            asyncio client. What is made here is closed here.
        worker: further arguments of that CloudWorker.
        watch: True or the arguments of HealthWatch start one.
        relays: starts a TransitionRelay for each name and sink.
        services: a function of the EdgeRedis that returns further background services to start and to close.
        lifespan: a lifespan of your own, which runs inside this one; its state is added.
        close_seconds: how long the end of each service may take, so that a server that hangs does not hold up the
            end of the application.

    """

    def __init__(
        self,
        *,
        url: str | None = None,
        client: Callable[[], AsyncClient] | None = None,
        namespace: str = "default",
        cache: CacheOptions | None = None,
        health: HealthOptions | None = None,
        metrics: MetricsOptions | None = None,
        node: EdgeNode | None = None,
        heartbeat_seconds: float = 5.0,
        cloud: str | AsyncCloudStore | CloudStore | AsyncClient | None = None,
        worker: WorkerOptions | None = None,
        watch: WatchOptions | bool = False,
        relays: Mapping[str, Callable[[Transition], object]] | None = None,
        services: Callable[[EdgeRedis], Iterable[BackgroundService]] | None = None,
        lifespan: Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]] | None = None,
        close_seconds: float = 10.0,
    ) -> None:
        self.client: Callable[[], AsyncClient] = client or partial(connect_async, url)
        """Makes the client of each run. A test may replace it."""
        validation.check_callable("client", self.client)
        self._bundle: dict[str, Any] = {"namespace": namespace, "cache": cache, "health": health, "metrics": metrics}
        self._node = node
        self._heartbeat_seconds = validation.check_positive("heartbeat_seconds", heartbeat_seconds)
        self._cloud, self._worker = cloud, worker or {}
        self._watch = watch
        self._relays = dict(relays or {})
        self._services = services
        self._lifespan = lifespan
        self._close_seconds = validation.check_positive("close_seconds", close_seconds)

    @contextlib.asynccontextmanager
    async def __call__(self, app: Any) -> AsyncIterator[dict[str, Any]]:
        """Run the services of ``app``; yield the state of its requests."""
        async with AsyncExitStack() as stack:
            client = self.client()
            stack.push_async_callback(self._end, client.aclose)
            edge = EdgeRedis(client, **self._bundle)
            stack.push_async_callback(self._end, edge.close)
            running = Application(edge, stack, self._node, self._heartbeat_seconds)
            await self._start_services(running)
            state: dict[str, Any] = {"edge": edge, STATE_KEY: running}
            if hasattr(app, "state"):
                app.state.edge = edge
            if self._lifespan is not None:
                own = await stack.enter_async_context(self._lifespan(app))
                state.update(own or {})
            yield state

    async def _start_services(self, running: Application) -> None:
        stack, edge = running.stack, running.edge
        if self._node is not None:
            heartbeats = _Heartbeats(running, self._node)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_HEARTBEAT_SECONDS):  # so that the first request finds a healthy node
                    await heartbeats.send()
            _run_in_task(stack, heartbeats.run())
        if self._cloud is not None:
            running.worker = edge.worker(await self._open_cloud(stack, edge), **self._worker)
            await self._start(stack, running.worker)
        if self._watch:
            await self._start(stack, edge.watch(**(self._watch if isinstance(self._watch, dict) else {})))
        shards = (self._bundle["health"] or {}).get("shards")
        for name, sink in self._relays.items():
            relay = TransitionRelay(edge.client, sink, name=name, namespace=edge.namespace, shards=shards)
            await self._start(stack, relay)
        for service in self._services(edge) if self._services else ():
            await self._start(stack, service)

    async def _open_cloud(self, stack: AsyncExitStack, edge: EdgeRedis) -> Any:
        if not isinstance(self._cloud, str):
            return self._cloud
        if is_sql(self._cloud):
            from edge_redis.cloudstores.sql import AsyncSqlCloudStore  # noqa: PLC0415 -- needs an extra of its own

            store = AsyncSqlCloudStore(self._cloud, namespace=edge.namespace)
            stack.push_async_callback(self._end, store.close)
            return store
        client = connect_async(self._cloud)
        stack.push_async_callback(self._end, client.aclose)
        return client

    async def _start(self, stack: AsyncExitStack, service: BackgroundService) -> None:
        stack.push_async_callback(self._end, service.close)
        if not await _is_started(service):
            _run_in_task(stack, _start_when_reachable(service))

    async def _end(self, close: Callable[[], Awaitable[object]]) -> None:
        """Close one service or client; give up after ``close_seconds``, so that the others are closed too."""
        owner = type(getattr(close, "__self__", close)).__name__
        try:
            async with asyncio.timeout(self._close_seconds):
                await close()
        except TimeoutError:
            _log.warning("%s was not closed within %s s: the server does not answer", owner, self._close_seconds)
        except EdgeRedisError as error:
            _log.warning("%s was closed with an error: %s", owner, error)


class _Heartbeats:
    """Sends the heartbeats of a node; an outage is logged when it begins."""

    def __init__(self, running: Application, node: EdgeNode) -> None:
        self._running, self._node = running, node
        self._is_failing = False

    async def send(self) -> None:
        """Send one."""
        try:
            await self._running.edge.health.heartbeat(self._node)
        except EdgeRedisError as error:
            _log.log(logging.DEBUG if self._is_failing else logging.WARNING, "no heartbeat recorded: %s", error)
            self._is_failing = True
        else:
            self._running.last_heartbeat_at, self._is_failing = time.monotonic(), False

    async def run(self) -> None:
        """Send one every so often."""
        while True:
            await asyncio.sleep(self._running.heartbeat_seconds)
            await self.send()


async def _is_started(service: BackgroundService) -> bool:
    """Start a service; return whether it is: a relay reads its position at its start."""
    try:
        started = service.start()
        if inspect.isawaitable(started):
            await started
    except EdgeRedisError as error:
        _log.warning("%s cannot start yet: %s", type(service).__name__, error)
        return False
    return True


async def _start_when_reachable(service: BackgroundService) -> None:
    while True:
        await asyncio.sleep(_RETRY_SECONDS)
        if await _is_started(service):
            return


def _run_in_task(stack: AsyncExitStack, work: Any) -> None:
    """Run a coroutine in a task until the application ends."""
    task = asyncio.get_running_loop().create_task(work, name="edge-redis-lifespan")

    async def end() -> None:
        task.cancel()
        await asyncio.wait((task,), timeout=1.0)

    stack.push_async_callback(end)
