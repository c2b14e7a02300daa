# Generated from edge_redis/_services/aio/bundle.py by scripts/dev/generate_blocking.py. Do not edit.
"""EdgeRedis for a blocking client."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Any, Self, Unpack

from edge_redis._core.keys import check_namespace
from edge_redis._core.shards import KnownRecord, Shards
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.clients import BlockingClient, check_blocking_client
from edge_redis._io.connect import connect
from edge_redis._io.namespaces import drop_namespace
from edge_redis._services.blocking.cache import EdgeCache
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis._services.blocking.health_watch import HealthWatch
from edge_redis._services.blocking.metrics import EdgeMetrics
from edge_redis._services.blocking.sync import EdgeSynchronizer
from edge_redis._services.blocking.worker import CloudWorker
from edge_redis._services.components import edge_shards
from edge_redis._services.options import (
    CacheOptions,
    HealthOptions,
    MetricsOptions,
    SynchronizerOptions,
    WatchOptions,
    WorkerOptions,
    check_options,
    watch_options,
)
from edge_redis._sync.cloud_store import AsyncCloudStore, CloudStore
from edge_redis._sync.edge_keys import make_edge_keys
from edge_redis._sync.scopes import list_scopes
from edge_redis._sync.synchronizer import Synchronizer
from edge_redis.models import SyncState
from edge_redis.types import ScopeSummary


class EdgeRedis:
    """The services of one namespace on one client, each made at its first use.

    Args:
        client: a blocking client of Redis or Valkey with ``decode_responses=False``.
        namespace: of all services.
        cache: further arguments of EdgeCache, such as ``{"max_size": 10_000}``.
        health: further arguments of HealthMonitor.
        metrics: further arguments of EdgeMetrics.

    Raises:
        InvalidTypeError: not such a client, or a service has no such argument.
        ClientConfigurationError: a client with ``decode_responses=True``.

    """

    def __init__(
        self,
        client: BlockingClient,
        *,
        namespace: str = "default",
        cache: CacheOptions | None = None,
        health: HealthOptions | None = None,
        metrics: MetricsOptions | None = None,
    ) -> None:
        check_blocking_client(client)
        self.client = client
        self.namespace = check_namespace(namespace)
        self._cache_options: CacheOptions = cache or {}
        self._health_options: HealthOptions = health or {}
        self._metrics_options: MetricsOptions = metrics or {}
        check_options("cache", self._cache_options, CacheOptions)
        check_options("health", self._health_options, HealthOptions)
        check_options("metrics", self._metrics_options, MetricsOptions)
        self._opened: weakref.WeakSet[EdgeSynchronizer | CloudWorker | HealthWatch] = weakref.WeakSet()
        self._writers: dict[str, Synchronizer] = {}
        self._owns_client = False
        self._edge_count = KnownRecord()
        self._edge_keys = make_edge_keys(self.namespace, edge_shards(client, self.namespace, known=self._edge_count))

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} namespace={self.namespace!r}>"

    @classmethod
    def from_url(
        cls,
        url: str | None = None,
        *,
        namespace: str = "default",
        connection: Mapping[str, Any] | None = None,
        cache: CacheOptions | None = None,
        health: HealthOptions | None = None,
        metrics: MetricsOptions | None = None,
    ) -> Self:
        """Return the services on a client that is made from a URL, and that ``close`` closes.

        Args:
            url: as in ``connect``; None: the variable ``EDGE_REDIS_URL``, else ``redis://localhost:6379/0``.
            namespace: of all services.
            connection: further arguments of ``connect``, such as ``{"socket_timeout": 2.0}``.
            cache: as in the constructor.
            health: as in the constructor.
            metrics: as in the constructor.

        Raises:
            InvalidArgumentError: the URL or the namespace cannot be used.

        """
        client = connect(url, **(connection or {}))
        bundle = cls(client, namespace=namespace, cache=cache, health=health, metrics=metrics)
        bundle._owns_client = True
        return bundle

    @cached_property
    def cache(self) -> EdgeCache:
        """The cache of this namespace."""
        return EdgeCache(self.client, namespace=self.namespace, **self._cache_options)

    @cached_property
    def health(self) -> HealthMonitor:
        """The health monitor of this namespace."""
        return HealthMonitor(self.client, namespace=self.namespace, **self._health_options)

    @cached_property
    def metrics(self) -> EdgeMetrics:
        """The metrics of this namespace."""
        return EdgeMetrics(self.client, namespace=self.namespace, **self._metrics_options)

    def synchronizer(self, scope: str = "default", **options: Unpack[SynchronizerOptions]) -> EdgeSynchronizer:
        """Return a new synchronizer of ``scope``.

        Args:
            scope: the name of the state that is synchronized.
            options: further arguments of EdgeSynchronizer, such as ``conflict_strategy=ConflictStrategy.LATEST_WINS``.

        Raises:
            InvalidTypeError: EdgeSynchronizer has no such argument.

        """
        check_options("EdgeSynchronizer", options, SynchronizerOptions)
        synchronizer = EdgeSynchronizer(self.client, scope=scope, namespace=self.namespace, **options)
        if (count := synchronizer._component.shard_count) is not None:  # noqa: SLF001 -- a service of this package
            count.share(self._edge_count)
        self._opened.add(synchronizer)
        return synchronizer

    def worker(
        self, cloud: AsyncCloudStore | CloudStore | BlockingClient, **options: Unpack[WorkerOptions]
    ) -> CloudWorker:
        """Return a new worker between this namespace and ``cloud``; ``options`` are further arguments of CloudWorker.

        Args:
            cloud: a cloud store, or a client of the cloud's Redis, which means RedisCloudStore.
            options: as in CloudWorker.

        """
        worker = CloudWorker(self.client, cloud, namespace=self.namespace, **options)
        self._opened.add(worker)
        return worker

    def watch(self, **options: Unpack[WatchOptions]) -> HealthWatch:
        """Return a new watch over the nodes of this namespace.

        Options not given are those of ``health``, so that both judge nodes alike; the others are further
        arguments of HealthWatch.
        """
        merged: WatchOptions = {**watch_options(self._health_options), **options}
        watch = HealthWatch(self.client, namespace=self.namespace, **merged)
        self._opened.add(watch)
        return watch

    def update_many(
        self,
        updates: Mapping[str, dict[str, Any]],
        is_delta: bool = False,  # noqa: FBT001, FBT002 -- as update_local
        **options: Unpack[SynchronizerOptions],
    ) -> dict[str, SyncState]:
        """Write the next version of each of several scopes, as ``update_local`` of a synchronizer of each would.

        A round trip takes about 1,500, or 4 MiB of them, and a call of the script about 50, or 128 KiB. Deltas, MERGE
        and ``signing_key`` take one more, in which the present states are read. Each scope is a write of its own: the
        others are written where one is refused.

        Args:
            updates: the data of each scope.
            is_delta: merge the data into the top level of each state instead of replacing it.
            options: further arguments of EdgeSynchronizer, for all these scopes.

        Returns:
            The state of each scope that was written.

        Raises:
            InvalidArgumentError: some data cannot be encoded, or are over a limit; InvalidTypeError where they are
                of a wrong type. Nothing was written.
            PartialUpdateError: scopes were refused, for the reasons that ``update_local`` names; the others were
                written.
            StoreUnavailableError and other StoreErrors: the server failed; any of the scopes may have been written.

        """
        return BlockingRunner(self.client).run(self._writer(options).update_many(updates, is_delta))

    def _writer(self, options: SynchronizerOptions) -> Synchronizer:
        """Return the writer with these options: always the same one, so that its idempotency keys are used again."""
        key = repr(sorted(options.items()))
        found = self._writers.get(key)
        if found is None:
            shards = edge_shards(self.client, self.namespace, options.get("shards"), self._edge_count)
            known: dict[str, Any] = {**options, "shards": shards}
            found = self._writers.setdefault(key, Synchronizer(namespace=self.namespace, **known))
        return found

    def scopes(self) -> list[ScopeSummary]:
        """Return the scopes that are synchronized in this namespace, sorted by name.

        Each is a dict of scope, version (of the local state), pending (changes that the cloud has not confirmed)
        and conflicts (losing sides that are kept).
        """
        return BlockingRunner(self.client).run(list_scopes(self._edge_keys))

    def drop_namespace(self) -> int:
        """Remove all keys of this namespace; return how many there were.

        Its keys are removed a few hundred at a time, so that the server serves others meanwhile. What other
        services, processes included, write to the namespace during this call may stay.

        Where the edge had several shards, make its synchronizers and workers anew, also those of other processes: the
        ones from before keep to the shards that they know, and others do not see what they write there.
        """
        for name in ("cache", "metrics"):
            if name in self.__dict__:
                getattr(self, name).flush()  # what is buffered now would be written afterwards
        removed = drop_namespace(self.client, self.namespace)
        self._edge_count.record, self._edge_keys.known = None, Shards()  # the next writer may choose another one
        self._writers.clear()
        return removed

    def close(self) -> None:
        """Close the services that were made here and are still in use, and the client where ``from_url`` made it.

        Where one cannot be closed the others are closed all the same, and then its error is raised.
        """
        with ExitStack() as stack:  # which closes in reverse order
            if self._owns_client:
                stack.callback(self.client.close)
            for name in ("metrics", "health", "cache"):
                if name in self.__dict__:
                    stack.callback(getattr(self, name).close)
            for service in tuple(self._opened):
                stack.callback(service.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
