"""The clients that services accept, and the checks made when a service is constructed."""

from __future__ import annotations

import codecs
from importlib.util import find_spec
from typing import Any, Final, TypeAlias

import redis
import redis.asyncio

from edge_redis.errors import ClientConfigurationError, InvalidTypeError, MissingExtraError

BlockingClient: TypeAlias = redis.Redis | redis.RedisCluster
AsyncClient: TypeAlias = redis.asyncio.Redis | redis.asyncio.RedisCluster

_BLOCKING: Final[tuple[type, ...]] = (redis.Redis, redis.RedisCluster)
_ASYNC: Final[tuple[type, ...]] = (redis.asyncio.Redis, redis.asyncio.RedisCluster)
_CLUSTER: Final[tuple[type, ...]] = (redis.RedisCluster, redis.asyncio.RedisCluster)


def is_cluster(client: object) -> bool:
    """Return whether ``client`` is a client of a cluster."""
    return isinstance(client, _CLUSTER)


def is_asyncio(client: object) -> bool:
    """Return whether ``client`` is an asyncio client."""
    return isinstance(client, _ASYNC)


def check_blocking_client(client: object) -> None:
    """Raise an error unless ``client`` is a blocking client whose keys are UTF-8 and whose replies are bytes."""
    if isinstance(client, _ASYNC):
        raise InvalidTypeError(
            "this is an asyncio client: use the same class from edge_redis.aio, or a blocking client"
        )
    if not isinstance(client, _BLOCKING):
        raise InvalidTypeError(f"client must be a redis.Redis or redis.RedisCluster, not {type(client).__name__}")
    _refuse_decoding(client)
    _require_lua(client)


def check_asyncio_client(client: object) -> None:
    """Raise an error unless ``client`` is an asyncio client whose keys are UTF-8 and whose replies are bytes."""
    if isinstance(client, _BLOCKING) and not isinstance(client, _ASYNC):
        raise InvalidTypeError("this client is a blocking client: use edge_redis, or give it an asyncio client")
    if not isinstance(client, _ASYNC):
        raise InvalidTypeError(f"client must be a redis.asyncio.Redis or RedisCluster, not {type(client).__name__}")
    _refuse_decoding(client)
    _require_lua(client)


def _require_lua(client: object) -> None:
    """Raise an error for a fakeredis client where Lua is not installed: nearly every call is a script."""
    if type(client).__module__.startswith("fakeredis") and find_spec("lupa") is None:
        raise MissingExtraError("this fakeredis has no Lua: pip install 'edge-redis[fake]'")


def _refuse_decoding(client: Any) -> None:
    encoder = client.get_encoder()
    if codecs.lookup(encoder.encoding).name != "utf-8":  # other processes would not find its keys
        raise ClientConfigurationError(
            f"the client was made with encoding={encoder.encoding!r}; keys are UTF-8: make it without"
        )
    if encoder.decode_responses:
        raise ClientConfigurationError(
            "the client was made with decode_responses=True; values are bytes: make it without"
        )
