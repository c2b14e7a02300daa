"""EdgeRedis for an asyncio client."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from edge_redis._core.keys import namespace_name
from edge_redis._io.clients import AsyncClient
from edge_redis._io.connect import connect_async
from edge_redis._services.aio.cache import EdgeCache
from edge_redis._services.aio.health import HealthMonitor
from edge_redis._services.aio.metrics import EdgeMetrics
from edge_redis._services.aio.sync import EdgeSynchronizer


class EdgeRedis:
    """The services of one namespace on one client, each made at its first use.

    Args:
        client: an asyncio client of Redis or Valkey with ``decode_responses=False``.
        namespace: of all services.
        cache: further keyword arguments of EdgeCache, such as ``{"max_size": 10_000}``.
        health: further keyword arguments of HealthMonitor.
        metrics: further keyword arguments of EdgeMetrics.

    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        namespace: str = "default",
        cache: Mapping[str, Any] | None = None,
        health: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        self.client = client
        self.namespace = namespace_name(namespace)
        self._options = {
            name: {"namespace": self.namespace, **(given or {})}
            for name, given in (("cache", cache), ("health", health), ("metrics", metrics))
        }
        self._synchronizers: list[EdgeSynchronizer] = []
        self._owns_client = False

    @classmethod
    def from_url(cls, url: str | None = None, *, namespace: str = "default", **options: Mapping[str, Any]) -> Self:
        """Return the services on a client that is made from a URL, and that ``close`` closes.

        Args:
            url: as in ``connect``; None: the variable ``EDGE_REDIS_URL``, else ``redis://localhost:6379/0``.
            namespace: of all services.
            options: ``cache``, ``health`` and ``metrics``, as in the constructor.

        Raises:
            InvalidArgumentError: the URL or the namespace cannot be used.

        """
        bundle = cls(connect_async(url), namespace=namespace, **options)
        bundle._owns_client = True
        return bundle

    @cached_property
    def cache(self) -> EdgeCache:
        """The cache of this namespace."""
        return EdgeCache(self.client, **self._options["cache"])

    @cached_property
    def health(self) -> HealthMonitor:
        """The health monitor of this namespace."""
        return HealthMonitor(self.client, **self._options["health"])

    @cached_property
    def metrics(self) -> EdgeMetrics:
        """The metrics of this namespace."""
        return EdgeMetrics(self.client, **self._options["metrics"])

    def synchronizer(self, scope: str = "default", **options: Any) -> EdgeSynchronizer:
        """Return a new synchronizer of ``scope``; ``options`` are further keyword arguments of EdgeSynchronizer."""
        synchronizer = EdgeSynchronizer(self.client, scope=scope, namespace=self.namespace, **options)
        self._synchronizers.append(synchronizer)
        return synchronizer

    async def close(self) -> None:
        """Close the services that were made, and the client where ``from_url`` made it."""
        for name in self._options:
            if name in self.__dict__:
                await getattr(self, name).close()
        for synchronizer in self._synchronizers:
            await synchronizer.close()
        if self._owns_client:
            await self.client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
