"""Making clients that are set up well: timeouts, retries that end, health checks, a name.

The same URLs, options and errors for blocking and asyncio clients. Nothing is sent yet when a
client is returned, with one exception that is the library's: a blocking cluster client reads
the cluster's layout when it is made.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.exceptions
import redis.sentinel

from edge_redis._io import connect_retry
from edge_redis._io.clients import AsyncClient, BlockingClient
from edge_redis._io.connect_clients import AsyncMasterClient, AsyncRedisClient, MasterClient, RedisClient
from edge_redis._io.connect_name import introduce, introduce_async
from edge_redis._io.connect_url import Target, decoding_refused, parse
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis.errors import EdgeRedisError, InvalidArgumentError

__all__ = ["DEFAULTS", "ENVIRONMENT_VARIABLE", "connect", "connect_async"]

ENVIRONMENT_VARIABLE: Final = "EDGE_REDIS_URL"
_DEFAULT_URL: Final = "redis://localhost:6379/0"

DEFAULTS: Final[Mapping[str, Any]] = {
    "socket_timeout": 5.0,  # seconds for a reply
    "socket_connect_timeout": 5.0,  # seconds
    "socket_keepalive": True,  # notices a peer that vanished
    "health_check_interval": 30,  # seconds idle after which a connection is checked before use
    "client_name": "edge-redis",  # in CLIENT LIST
}
"""What every client gets, unless its URL or its arguments say otherwise."""

_OF_SENTINELS_TOO: Final = ("socket_", "ssl_", "client_name", "health_check_interval", "protocol")
_UNEXPECTED: Final = re.compile(r"unexpected keyword argument '(\w+)'")


@dataclass(frozen=True)
class _Library:
    """redis-py's classes for blocking or for asyncio clients."""

    client: Any
    pool: Any
    connections: Mapping[str, Any]
    cluster: Any
    cluster_node: Any
    sentinel: Any
    master_client: Any
    retry: Callable[[], Any]
    retry_of_sentinels: Callable[[], Any]
    introduce: Callable[..., Any]


_BLOCKING: Final = _Library(
    client=RedisClient,
    pool=redis.ConnectionPool,
    connections={
        "": redis.Connection,
        "tls": redis.SSLConnection,
        "unix": redis.UnixDomainSocketConnection,
    },
    cluster=redis.RedisCluster,
    cluster_node=redis.cluster.ClusterNode,
    sentinel=redis.sentinel.Sentinel,
    master_client=MasterClient,
    retry=connect_retry.make_retry,
    retry_of_sentinels=connect_retry.make_single_attempt,
    introduce=introduce,
)
_ASYNC: Final = _Library(
    client=AsyncRedisClient,
    pool=redis.asyncio.ConnectionPool,
    connections={
        "": redis.asyncio.Connection,
        "tls": redis.asyncio.SSLConnection,
        "unix": redis.asyncio.UnixDomainSocketConnection,
    },
    cluster=redis.asyncio.RedisCluster,
    cluster_node=redis.asyncio.cluster.ClusterNode,
    sentinel=redis.asyncio.sentinel.Sentinel,
    master_client=AsyncMasterClient,
    retry=connect_retry.make_async_retry,
    retry_of_sentinels=connect_retry.make_async_single_attempt,
    introduce=introduce_async,
)


def connect(url: str | None = None, **overrides: Any) -> BlockingClient:
    """Return a blocking client; nothing is sent yet.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, ``redis+cluster://`` (makes a
            ``redis.RedisCluster``, which reads the cluster's layout at once) or
            ``redis+sentinel://host,host/service`` (a client of the service's master). None:
            what the variable ``EDGE_REDIS_URL`` says, else ``redis://localhost:6379/0``.
        overrides: Arguments of the library's connections, which win over the URL.

    Raises:
        InvalidArgumentError: The URL or an argument cannot be used. A password is never shown.
        InvalidTypeError: The URL is not a str.
        StoreUnavailableError: A cluster cannot be reached.
    """
    client: BlockingClient = _make_client(_BLOCKING, url, overrides)
    return client


def connect_async(url: str | None = None, **overrides: Any) -> AsyncClient:
    """Return an asyncio client; nothing is sent yet. Arguments and errors are those of ``connect``."""
    client: AsyncClient = _make_client(_ASYNC, url, overrides)
    return client


def _make_client(library: _Library, url: str | None, overrides: dict[str, Any]) -> Any:
    target = _target(url)
    options = _options(library, target, overrides)
    make = {"cluster": _cluster, "sentinel": _master}.get(target.kind, _single)
    try:
        return make(library, target, options)
    except EdgeRedisError:
        raise
    except (TypeError, ValueError, redis.RedisError) as error:
        raise InvalidArgumentError(f"this client cannot be made: {_error_text(error, options)}") from None


def _target(url: str | None) -> Target:
    if url is not None:
        return parse(url)
    try:
        return parse(os.environ.get(ENVIRONMENT_VARIABLE) or _DEFAULT_URL)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{ENVIRONMENT_VARIABLE}: {error}") from None


def _options(library: _Library, target: Target, overrides: dict[str, Any]) -> dict[str, Any]:
    options = {**DEFAULTS, "retry": library.retry(), **target.options, **overrides}
    if options.pop("decode_responses", False):
        raise decoding_refused()
    if target.kind == "cluster":
        options.pop("client_name", None)  # a user that may not run CLIENT could not connect
    elif options["client_name"]:
        options.setdefault("redis_connect_func", library.introduce)
    if target.kind == "unix" and "socket_keepalive" not in overrides:
        del options["socket_keepalive"]  # TCP only
    return options


def _single(library: _Library, target: Target, options: dict[str, Any]) -> Any:
    kind = "tls" if target.is_tls else target.kind
    pool = library.pool(**{"connection_class": library.connections[kind], **options})
    _try_options(pool)
    return library.client.from_pool(pool)


def _master(library: _Library, target: Target, options: dict[str, Any]) -> Any:
    tls = {"ssl": True} if target.is_tls else {}
    of_sentinels = {name: value for name, value in options.items() if name.startswith(_OF_SENTINELS_TOO)}
    of_sentinels |= {**target.sentinel_options, **tls, "retry": library.retry_of_sentinels()}
    sentinel = library.sentinel(target.nodes, sentinel_kwargs=of_sentinels, **options, **tls)
    client = sentinel.master_for(target.service, redis_class=library.master_client)
    _try_options(client.connection_pool)
    return client


def _cluster(library: _Library, target: Target, options: dict[str, Any]) -> Any:
    if options.pop("db", 0):
        raise InvalidArgumentError("a cluster has database 0 alone")
    known = {*inspect.signature(library.cluster.__init__).parameters, *DEFAULTS, *redis.cluster.REDIS_ALLOWED_KEYS}
    for name in options:
        if name not in known:  # redis-py would ignore it
            raise InvalidArgumentError(_unknown_option_text(name))
    nodes = [library.cluster_node(host, port) for host, port in target.nodes]
    tls = {"ssl": True} if target.is_tls else {}
    try:
        return library.cluster(startup_nodes=nodes, **options, **tls)
    except (*LIBRARY_ERRORS, redis.exceptions.RedisClusterException) as error:
        raise translate(error, "reading the cluster's layout") from error


def _try_options(pool: Any) -> None:
    """Make a connection object, which sends nothing, so that a wrong option fails here and not at the first command."""
    pool.connection_class(**pool.connection_kwargs)


def _error_text(error: Exception, options: Mapping[str, Any]) -> str:
    text = str(error)
    unexpected = _UNEXPECTED.search(text)
    if unexpected:
        return _unknown_option_text(unexpected[1])
    secrets = (value for name, value in options.items() if "password" in name and isinstance(value, str) and value)
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _unknown_option_text(name: str) -> str:
    return f"{name} is not a connection option, neither in the URL's query nor as an argument"
