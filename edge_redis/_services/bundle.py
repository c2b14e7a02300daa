"""EdgeRedis: the services of one namespace on one client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from edge_redis._core.keys import namespace_name
from edge_redis._io.connect import connect
from edge_redis._io.runner import BlockingClient
from edge_redis._services.cache import EdgeCache
from edge_redis._services.health import HealthMonitor
from edge_redis._services.metrics import EdgeMetrics
from edge_redis._services.state import EdgeSynchronizer

C = TypeVar("C")


class Bundle(Generic[C]):
    """What both bundles share: the client, the namespace, and the options of services not yet made."""

    def __init__(
        self,
        client: C,
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
        self._synchronizers: list[Any] = []
        self._owns_client = False

    def _made(self) -> Iterator[Any]:
        """Yield the services made so far."""
        yield from (self.__dict__[name] for name in self._options if name in self.__dict__)
        yield from self._synchronizers


class EdgeRedis(Bundle[BlockingClient]):
    """The four services of ``namespace``, each made at its first use; ``close`` closes what was made.

    ``cache``, ``health`` and ``metrics`` are further keyword arguments of EdgeCache, HealthMonitor
    and EdgeMetrics: ``EdgeRedis(client, cache={"max_size": 10_000})``.
    """

    @classmethod
    def from_url(cls, url: str | None = None, *, namespace: str = "default", **options: Mapping[str, Any]) -> Self:
        """Return the services on a client that ``connect(url)`` makes and ``close`` closes.

        Raises:
            InvalidArgumentError: a URL or a namespace that cannot be used.

        """
        made = cls(connect(url), namespace=namespace, **options)
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

    def close(self) -> None:
        """Close the services that were made, and the client where ``from_url`` made it."""
        for service in self._made():
            service.close()
        if self._owns_client:
            self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
