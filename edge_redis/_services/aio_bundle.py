"""EdgeRedis for asyncio clients."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from edge_redis._io.connect import connect_async
from edge_redis._io.runner import AsyncClient
from edge_redis._services.aio_cache import EdgeCache
from edge_redis._services.aio_health import HealthMonitor
from edge_redis._services.aio_metrics import EdgeMetrics
from edge_redis._services.aio_state import EdgeSynchronizer
from edge_redis._services.bundle import Bundle


class EdgeRedis(Bundle[AsyncClient]):
    """The four services of ``namespace``, each made at its first use; ``close`` closes what was made.

    ``cache``, ``health`` and ``metrics`` are further keyword arguments of EdgeCache, HealthMonitor
    and EdgeMetrics: ``EdgeRedis(client, cache={"max_size": 10_000})``.
    """

    @classmethod
    def from_url(cls, url: str | None = None, *, namespace: str = "default", **options: Mapping[str, Any]) -> Self:
        """Return the services on a client that ``connect_async(url)`` makes and ``close`` closes.

        Raises:
            InvalidArgumentError: a URL or a namespace that cannot be used.

        """
        made = cls(connect_async(url), namespace=namespace, **options)
        made._owns_client = True
        return made

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
        """Return a new synchronizer of ``scope``; ``options`` are those of EdgeSynchronizer."""
        made = EdgeSynchronizer(self.client, scope=scope, namespace=self.namespace, **options)
        self._synchronizers.append(made)
        return made

    async def close(self) -> None:
        """Close the services that were made, and the client where ``from_url`` made it."""
        for service in self._made():
            await service.close()
        if self._owns_client:
            await self.client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
