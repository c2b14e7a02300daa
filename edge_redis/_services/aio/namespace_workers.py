"""NamespaceWorkers for an asyncio client."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Self, Unpack

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.keys import check_namespace
from edge_redis._io.clients import AsyncClient
from edge_redis._io.lifecycle import AsyncLoopService
from edge_redis._io.loop import every
from edge_redis._io.shutdown import new_mutex
from edge_redis._io.wake_ups import Listener, Wake
from edge_redis._services.aio.cloud import RedisCloudStore
from edge_redis._services.aio.worker import CloudWorker
from edge_redis._services.listening import Listening, share_listeners
from edge_redis._services.options import WorkerOptions
from edge_redis._sync.cloud_store import AsyncCloudStore, CloudStore
from edge_redis._sync.transfer import TokenBucket
from edge_redis.errors import EdgeRedisError
from edge_redis.types import WorkerLag, WorkerStatus

_log = logging.getLogger("edge_redis")

_CHECK_SECONDS: Final = 60.0


class NamespaceWorkers(AsyncLoopService[Component]):
    """A CloudWorker for each of several namespaces of one edge, with one lifecycle.

    Each works by itself: one that fails, or has much to do, does not hold up the others. They share one connection to
    each server for the hints of changes, and the limit of bytes a second.

    Args:
        edge_client: a client of the edge's Redis or Valkey.
        cloud: a client of the cloud's Redis, which means a RedisCloudStore of each namespace; or the store of each
            namespace, by their names.
        namespaces: names of the namespaces, each with all of its scopes.
        options: further arguments of each CloudWorker. ``max_bytes_per_second`` is of all namespaces together.

    Raises:
        InvalidArgumentError, InvalidTypeError: there is no namespace, a store is missing, or an option is wrong.

    """

    def __init__(
        self,
        edge_client: AsyncClient,
        cloud: AsyncClient | Mapping[str, AsyncCloudStore | CloudStore],
        namespaces: Sequence[str],
        **options: Unpack[WorkerOptions],
    ) -> None:
        names = _check_namespaces(namespaces)
        rate = options.get("max_bytes_per_second")
        if rate is not None:
            rate = validation.check_positive("max_bytes_per_second", rate)
        bucket = None if rate is None else TokenBucket(rate, time.monotonic, new_mutex=new_mutex)
        stores: Mapping[str, AsyncCloudStore | CloudStore]
        if isinstance(cloud, Mapping):
            stores, self._own_stores = cloud, {}
        else:
            stores = self._own_stores = {name: RedisCloudStore(cloud, namespace=name) for name in names}
        missing = [name for name in names if name not in stores]
        if missing:
            raise validation.value_error("cloud", missing[0], "must have a store of each namespace")
        if rate is not None:
            options["max_bytes_per_second"] = rate / len(names)  # bounds each transfer; the bucket has the whole rate
        self._parts = {name: _Worker(edge_client, stores[name], bucket, namespace=name, **options) for name in names}
        self._has_stopped = False
        component = Component()
        component.namespace = ", ".join(names)
        super().__init__(edge_client, component, every(_CHECK_SECONDS), _Sharing(edge_client, self._parts))

    @property
    def workers(self) -> Mapping[str, CloudWorker]:
        """The CloudWorker of each namespace."""
        return MappingProxyType(self._parts)

    async def run_once(self) -> int:
        """Let the worker of each namespace do one round, in turn; return how many changes they handled.

        A namespace that fails is logged, and the others go on.

        Raises:
            StoreUnavailableError and others: as ``CloudWorker.run_once``, where one failed and none handled anything.

        """
        handled, failure = 0, None
        for name, worker in self.workers.items():
            try:
                handled += await worker.run_once()
            except EdgeRedisError as error:
                _log.warning("the worker of namespace %s: %s", name, error)
                failure = failure or error
        if failure is not None and not handled:
            raise failure
        return handled

    async def _round(self) -> int:
        """Start the workers: each has a loop of its own."""
        for worker in self.workers.values():
            if not self._has_stopped:
                await worker.start()
        if self._has_stopped:
            self._stop_workers()
        return 0

    async def run(self, *, handle_signals: bool = True) -> None:
        """Work until ``stop()`` or, in the main thread, SIGTERM or SIGINT; the rounds under way are finished.

        While a server or the cloud cannot be reached, this is logged and tried again.

        Args:
            handle_signals: False leaves signals alone. Else handlers that the application has set are called
                as well, and put back afterwards.

        """
        try:
            await super().run(handle_signals=handle_signals)
        finally:
            self._stop_workers()
            for worker in self._parts.values():
                await worker.finish()

    def stop(self) -> None:
        """End the work after the rounds under way; callable from any thread and from a signal handler.

        ``run`` then returns at once, also when it is called later; ``start`` begins again.
        """
        self._has_stopped = True
        super().stop()
        self._stop_workers()

    async def start(self) -> Self:
        """Work in the background from now on until ``stop()`` or ``close()``, also if nothing refers to this object.

        Signals are left alone. Errors are logged, and the work is tried again. Starting twice does nothing.
        """
        self._has_stopped = False
        await super().start()
        return self

    def _stop_workers(self) -> None:
        for worker in self.workers.values():
            worker.stop()

    async def lag(self) -> dict[str, WorkerLag]:
        """Return what ``CloudWorker.lag`` returns, for each namespace."""
        return {name: await worker.lag() for name, worker in self.workers.items()}

    async def status(self) -> dict[str, WorkerStatus]:
        """Return what ``CloudWorker.status`` returns, for each namespace."""
        return {name: await worker.status() for name, worker in self.workers.items()}

    async def close(self) -> None:
        """Stop, wait for the rounds under way, and close the workers and the stores that this object made.

        The clients stay open.
        """
        self.stop()
        await self._loop.end()
        for worker in self.workers.values():
            await worker.close()
        for store in self._own_stores.values():
            await store.close()
        await super().close()


class _Worker(CloudWorker):
    """One of several workers."""

    def __init__(
        self,
        edge_client: AsyncClient,
        cloud: AsyncCloudStore | CloudStore,
        bucket: TokenBucket | None,
        *,
        namespace: str,
        **options: Unpack[WorkerOptions],
    ) -> None:
        self._shared_bucket = bucket
        super().__init__(edge_client, cloud, namespace=namespace, **options)

    def _find_shared_bucket(self) -> TokenBucket | None:
        return self._shared_bucket

    @property
    def listening_and_wake(self) -> tuple[Listening, Wake]:
        """What makes this worker's listeners, and what they call to wake it."""
        return self._listening, self._loop.wake

    async def finish(self) -> None:
        """Wait until the round under way has ended."""
        await self._loop.end()


class _Sharing:
    """Makes the listeners of all workers, which the loop of NamespaceWorkers starts and closes."""

    def __init__(self, edge_client: AsyncClient, parts: Mapping[str, _Worker]) -> None:
        self._edge_client = edge_client
        self._workers = [part.listening_and_wake for part in parts.values()]

    def __call__(self, wake: Wake) -> list[Listener]:  # noqa: ARG002 -- each worker has a loop of its own
        return share_listeners(self._edge_client, self._workers)


def _check_namespaces(namespaces: object) -> list[str]:
    if isinstance(namespaces, (str, bytes)) or not isinstance(namespaces, Sequence):
        raise validation.type_error("namespaces", namespaces, "a sequence of names")
    names = [*dict.fromkeys(check_namespace(each) for each in namespaces)]
    if not names:
        raise validation.value_error("namespaces", namespaces, "must have one namespace at least")
    return names
