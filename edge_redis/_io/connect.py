"""Makes clients that are set up well: timeouts, bounded retries, health checks, a name.

URLs, options and errors are the same for blocking and asyncio clients. No command is sent when a
client is made, except by redis-py's blocking cluster client, which reads the cluster's layout.
"""

from __future__ import annotations

import functools
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

from edge_redis._core import validation
from edge_redis._io import connect_retry
from edge_redis._io.clients import AsyncClient, BlockingClient
from edge_redis._io.connect_clients import (
    AsyncRedisClient,
    AsyncReplicaClusterClient,
    AsyncSentinelClient,
    RedisClient,
    ReplicaClusterClient,
    SentinelClient,
)
from edge_redis._io.connect_name import name_connection, name_connection_async
from edge_redis._io.connect_url import Target, decoding_error, parse
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis._io.handshake import UNREADABLE, unreadable
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
"""The options of every client, unless its URL or its arguments say otherwise."""

_SENTINEL_OPTIONS: Final = ("socket_", "ssl_", "client_name", "health_check_interval", "protocol", "driver_info")
_LIBRARY_OPTIONS: Final = frozenset({"driver_info", "lib_name", "lib_version"})
_UNEXPECTED: Final = re.compile(r"unexpected keyword argument '(\w+)'")


@dataclass(frozen=True)
class _Library:
    """redis-py's classes for blocking or for asyncio clients."""

    client: Any
    pool: Any
    connections: Mapping[str, Any]
    cluster: Any
    replica_cluster: Any
    cluster_node: Any
    sentinel: Any
    sentinel_client: Any
    retry: Callable[[], Any]
    sentinel_retry: Callable[[], Any]
    name_connection: Callable[..., Any]


_BLOCKING: Final = _Library(
    client=RedisClient,
    pool=redis.ConnectionPool,
    connections={
        "": redis.Connection,
        "tls": redis.SSLConnection,
        "unix": redis.UnixDomainSocketConnection,
    },
    cluster=redis.RedisCluster,
    replica_cluster=ReplicaClusterClient,
    cluster_node=redis.cluster.ClusterNode,
    sentinel=redis.sentinel.Sentinel,
    sentinel_client=SentinelClient,
    retry=connect_retry.make_retry,
    sentinel_retry=connect_retry.make_single_attempt,
    name_connection=name_connection,
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
    replica_cluster=AsyncReplicaClusterClient,
    cluster_node=redis.asyncio.cluster.ClusterNode,
    sentinel=redis.asyncio.sentinel.Sentinel,
    sentinel_client=AsyncSentinelClient,
    retry=connect_retry.make_async_retry,
    sentinel_retry=connect_retry.make_async_single_attempt,
    name_connection=name_connection_async,
)


def connect(url: str | None = None, *, read_replicas: bool | None = None, **overrides: Any) -> BlockingClient:
    """Return a blocking client; nothing is sent yet.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, ``redis+cluster://`` (makes a
            ``redis.RedisCluster``, which reads the cluster's layout at once) or
            ``redis+sentinel://host,host/service`` (a client of the service's master). None:
            the variable ``EDGE_REDIS_URL``, else ``redis://localhost:6379/0``.
        read_replicas: ask the replicas of a cluster or of a Sentinels' service, and the master only where none
            answers: for views, whose answers may lag. What writes raises ``StoreReadOnlyError`` at a replica. None:
            what the URL says (``?read_replicas=true``), else no.
        overrides: arguments of redis-py's connections, which win over the URL.

    Raises:
        InvalidArgumentError: the URL or an argument cannot be used. A password is never shown.
        InvalidTypeError: the URL is not a str.
        StoreUnavailableError: a cluster cannot be reached.
    """
    client: BlockingClient = _make_client(_BLOCKING, url, read_replicas, overrides)
    return client


def connect_async(url: str | None = None, *, read_replicas: bool | None = None, **overrides: Any) -> AsyncClient:
    """Return an asyncio client; nothing is sent yet. Arguments and errors are those of ``connect``."""
    client: AsyncClient = _make_client(_ASYNC, url, read_replicas, overrides)
    return client


def _make_client(library: _Library, url: str | None, read_replicas: object, overrides: dict[str, Any]) -> Any:
    target = _parse_target(url)
    if read_replicas is not None:
        overrides["read_replicas"] = validation.check_instance("read_replicas", read_replicas, bool)
    options = _merge_options(library, target, overrides)
    make = {"cluster": _make_cluster, "sentinel": _make_of_sentinels}.get(target.kind, _make_single)
    try:
        return make(library, target, options)
    except EdgeRedisError:
        raise
    except (TypeError, ValueError, redis.RedisError) as error:
        raise InvalidArgumentError(f"this client cannot be made: {_describe_error(error, options)}") from None


def _parse_target(url: str | None) -> Target:
    if url is not None:
        return parse(url)
    try:
        return parse(os.environ.get(ENVIRONMENT_VARIABLE) or _DEFAULT_URL)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{ENVIRONMENT_VARIABLE}: {error}") from None


def _merge_options(library: _Library, target: Target, overrides: dict[str, Any]) -> dict[str, Any]:
    options = {**DEFAULTS, "retry": library.retry(), **target.options, **overrides}
    if options.pop("decode_responses", False):
        raise decoding_error()
    if target.kind == "cluster":
        options.pop("client_name", None)  # a user that may not run CLIENT could not connect
    elif options["client_name"]:
        options.setdefault("redis_connect_func", library.name_connection)
    if options.keys().isdisjoint(_LIBRARY_OPTIONS):
        options |= _make_driver_option(is_cluster=target.kind == "cluster")
    if target.kind == "unix" and "socket_keepalive" not in overrides:
        del options["socket_keepalive"]  # TCP only
    return options


def _make_driver_option(*, is_cluster: bool) -> dict[str, Any]:
    """Return the option by which connections say the library's name and version to the server, where there is one.

    Without it, redis-py from 7.2 on reads its package's metadata for each connection, which takes 0.6 ms.
    """
    if not hasattr(redis, "DriverInfo") or (is_cluster and "driver_info" not in redis.cluster.REDIS_ALLOWED_KEYS):
        return {}
    return {"driver_info": _make_driver_info()}


@functools.cache
def _make_driver_info() -> Any:
    return redis.DriverInfo()


def _make_single(library: _Library, target: Target, options: dict[str, Any]) -> Any:
    if options.pop("read_replicas", False):
        raise InvalidArgumentError(
            "read_replicas needs a URL of Sentinels or of a cluster; to read from one replica, give its own URL"
        )
    kind = "tls" if target.is_tls else target.kind
    pool = library.pool(**{"connection_class": library.connections[kind], **options})
    _try_options(pool)
    return library.client.from_pool(pool)


def _make_of_sentinels(library: _Library, target: Target, options: dict[str, Any]) -> Any:
    tls = {"ssl": True} if target.is_tls else {}
    reads_replicas = options.pop("read_replicas", False)
    sentinel_options = {name: value for name, value in options.items() if name.startswith(_SENTINEL_OPTIONS)}
    sentinel_options |= {**target.sentinel_options, **tls, "retry": library.sentinel_retry()}
    sentinel = library.sentinel(target.nodes, sentinel_kwargs=sentinel_options, **options, **tls)
    make = sentinel.slave_for if reads_replicas else sentinel.master_for
    client = make(target.service, redis_class=library.sentinel_client)
    _try_options(client.connection_pool)
    return client


def _make_cluster(library: _Library, target: Target, options: dict[str, Any]) -> Any:
    reads_replicas = options.pop("read_replicas", False)
    if options.pop("db", 0):
        raise InvalidArgumentError("a cluster has only database 0")
    known = {*inspect.signature(library.cluster.__init__).parameters, *DEFAULTS, *redis.cluster.REDIS_ALLOWED_KEYS}
    for name in options:
        if name not in known:  # redis-py would ignore it
            raise InvalidArgumentError(_describe_unknown_option(name))
    nodes = [library.cluster_node(host, port) for host, port in target.nodes]
    tls = {"ssl": True} if target.is_tls else {}
    make = library.replica_cluster if reads_replicas else library.cluster
    if reads_replicas:  # the library then says READONLY on each connection, without which a replica answers MOVED
        options["load_balancing_strategy"] = redis.cluster.LoadBalancingStrategy.ROUND_ROBIN_REPLICAS
    try:
        return make(startup_nodes=nodes, **options, **tls)
    except UNREADABLE as error:  # among them the recursion of redis-py where a server closes each connection
        raise translate(unreadable(error), "reading the cluster's layout") from error
    except (*LIBRARY_ERRORS, redis.exceptions.RedisClusterException) as error:
        raise translate(error, "reading the cluster's layout") from error


def _try_options(pool: Any) -> None:
    """Make a connection object, which sends nothing, so that a wrong option fails here and not at the first command."""
    pool.connection_class(**pool.connection_kwargs)


def _describe_error(error: Exception, options: Mapping[str, Any]) -> str:
    text = str(error)
    unexpected = _UNEXPECTED.search(text)
    if unexpected:
        return _describe_unknown_option(unexpected[1])
    secrets = (value for name, value in options.items() if "password" in name and isinstance(value, str) and value)
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _describe_unknown_option(name: str) -> str:
    return f"{name} is not a connection option, neither in the URL's query nor as an argument"
