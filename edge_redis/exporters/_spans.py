"""OpenTelemetry spans of the services' public calls: the classes' methods are replaced while a tracer is installed."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from types import TracebackType
from typing import Any, ClassVar, Final, Self

import edge_redis
from edge_redis import aio
from edge_redis._core import validation
from edge_redis._io.lifecycle import AsyncLoopService, BlockingLoopService
from edge_redis.errors import EdgeRedisError, MissingExtraError

try:
    from opentelemetry import context, trace
except ImportError as error:  # pragma: no cover -- the tests install it
    raise MissingExtraError("tracing needs OpenTelemetry: pip install 'edge-redis[opentelemetry]'") from error

SERVICES: Final = (
    "EdgeCache",
    "EdgeMetrics",
    "EdgeRedis",
    "EdgeSynchronizer",
    "CloudWorker",
    "HealthMonitor",
    "HealthWatch",
    "RedisCloudStore",
    "TransitionRelay",
)
"""Classes whose calls are traced, in both APIs."""

_LIFECYCLE: Final = frozenset({"close", "start", "run"})
_NAME: Final = "edge_redis"
_ROUND: Final = context.create_key("edge-redis-round")


class EdgeTracer:
    """Makes a span of each public call of all services, blocking and asyncio, while it is installed.

    Traced are the calls that may use the server: methods, and properties such as ``cache.size``. A span is named for
    the class and the method (``EdgeCache.get``), is of kind CLIENT, and has the attributes of OpenTelemetry's
    conventions for database clients: db.system.name, db.operation.name, db.namespace (the database's number),
    server.address, server.port and, after an exception, error.type; besides edge_redis.service, edge_redis.namespace
    and edge_redis.scope. Keys, values and arguments are never recorded. ``get_or_compute`` encloses ``compute``, whose
    own spans are its children. Calls of functions that ``cached`` decorates, and iterators, have no span.

    Until ``install``, and after ``uninstall``, calls run the classes' own methods, at no cost::

        tracer = EdgeTracer().install()

    Args:
        tracer_provider: an OpenTelemetry provider; None for the global one.
        rounds: whether to trace the rounds that workers, watches and relays make by themselves in ``run`` and after
            ``start``: several a second each, also when idle. Without, what is called inside them is not traced either.

    Raises:
        InvalidTypeError: an argument is of another type.

    """

    _installed: ClassVar[EdgeTracer | None] = None
    _mutex: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, tracer_provider: trace.TracerProvider | None = None, *, rounds: bool = False) -> None:
        if tracer_provider is not None:
            validation.check_instance("tracer_provider", tracer_provider, trace.TracerProvider)
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        self._rounds = validation.check_instance("rounds", rounds, bool)
        self._replaced: list[tuple[type, str, Any]] = []

    def install(self) -> Self:
        """Trace all calls from now on, also those of services that exist already; return this tracer.

        Raises:
            EdgeRedisError: another tracer is installed in this process.

        """
        with self._mutex:
            if EdgeTracer._installed is self:
                return self
            if EdgeTracer._installed is not None:
                raise EdgeRedisError("another EdgeTracer is installed in this process: uninstall it first")
            EdgeTracer._installed = self
            for name in SERVICES:
                self._replace_methods(name)
            if not self._rounds:
                self._replace(BlockingLoopService, "_round", _without_spans(BlockingLoopService._round))  # noqa: SLF001 -- its rounds
                self._replace(AsyncLoopService, "_round", _without_async_spans(AsyncLoopService._round))  # noqa: SLF001 -- the same
        return self

    def uninstall(self) -> None:
        """Put the classes' own methods back. Doing so again does nothing."""
        with self._mutex:
            if EdgeTracer._installed is self:
                for owner, name, member in reversed(self._replaced):
                    setattr(owner, name, member)
                self._replaced.clear()
                EdgeTracer._installed = None

    def __enter__(self) -> Self:
        return self.install()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.uninstall()

    def _replace_methods(self, service: str) -> None:
        awaited, blocked = getattr(aio, service), getattr(edge_redis, service)
        for name, member in list(vars(awaited).items()):
            if name.startswith("_") or name in _LIFECYCLE:
                continue
            if inspect.iscoroutinefunction(member.fget if isinstance(member, property) else member):
                operation = f"{service}.{name}"
                self._replace(awaited, name, _rebuild(member, partial(self._trace_async, operation)))
                own = vars(blocked)[name]
                traced = _rebuild(own, partial(self._trace, operation))
                for alias in [alias for alias, value in vars(blocked).items() if value is own]:  # as __contains__ is
                    self._replace(blocked, alias, traced)

    def _replace(self, owner: type, name: str, member: Any) -> None:
        self._replaced.append((owner, name, vars(owner)[name]))
        setattr(owner, name, member)

    def _trace(self, operation: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(service: Any, *args: Any, **kwargs: Any) -> Any:
            with self._span(operation, service):
                return function(service, *args, **kwargs)

        return call

    def _trace_async(self, operation: str, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(function)
        async def call(service: Any, *args: Any, **kwargs: Any) -> Any:
            with self._span(operation, service):
                return await function(service, *args, **kwargs)

        return call

    @contextmanager
    def _span(self, operation: str, service: Any) -> Iterator[None]:
        if context.get_value(_ROUND):
            yield
            return
        attributes = _attributes(operation, service)
        with self._tracer.start_as_current_span(operation, kind=trace.SpanKind.CLIENT, attributes=attributes) as span:
            try:
                yield
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                raise


def _rebuild(member: Any, replace: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
    """Return a method or property whose function is replaced."""
    if isinstance(member, property):
        assert member.fget is not None
        return property(replace(member.fget), doc=member.__doc__)
    return replace(member)


def _attributes(operation: str, service: Any) -> dict[str, str | int]:
    class_name, _, name = operation.partition(".")
    found: dict[str, Any] = {
        "db.system.name": "redis",
        "db.operation.name": name,
        "edge_redis.service": class_name,
        "edge_redis.namespace": service.namespace,
        "edge_redis.scope": getattr(getattr(service, "_component", None), "scope", None),
    }
    pool = getattr(_client_of(service), "connection_pool", None)  # a cluster's client has none
    options = getattr(pool, "connection_kwargs", {})
    found["db.namespace"] = str(options["db"]) if "db" in options else None
    found["server.address"] = options.get("host") or options.get("path")
    found["server.port"] = options.get("port")
    return {key: value for key, value in found.items() if value is not None}


def _client_of(service: Any) -> Any:
    runner = getattr(service, "_runner", service)  # a bundle has the client itself
    return getattr(runner, "client", None)


def _without_spans(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(service: Any) -> Any:
        token = context.attach(context.set_value(_ROUND, True))  # noqa: FBT003 -- a value
        try:
            return function(service)
        finally:
            context.detach(token)

    return call


def _without_async_spans(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def call(service: Any) -> Any:
        token = context.attach(context.set_value(_ROUND, True))  # noqa: FBT003 -- a value
        try:
            return await function(service)
        finally:
            context.detach(token)

    return call
