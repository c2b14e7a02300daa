"""The server, the services and the cloud that the options of a command name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_redis.errors import InvalidArgumentError

_PASSWORD: Final = "EDGE_REDIS_PASSWORD"  # noqa: S105 -- the name of a variable
_CLOUD_PASSWORD: Final = "EDGE_REDIS_CLOUD_PASSWORD"  # noqa: S105 -- the name of a variable
_SQL_SCHEMES: Final = ("sqlite:", "postgresql:", "postgresql+")


@dataclass(frozen=True, slots=True)
class Server:
    """A server and a namespace on it."""

    url: str | None
    password_file: Path | None = None
    namespace: str = "default"
    password: str | None = None
    """In place of a file and of EDGE_REDIS_PASSWORD."""


@contextmanager
def open_client(server: Server) -> Iterator[Any]:
    """Open a blocking client and close it at the end.

    Raises:
        InvalidArgumentError: the URL or the password file cannot be used.
        StoreUnavailableError: a server named by rediss:// does not speak TLS, or refuses this client's certificate.

    """
    from edge_redis import connect
    from edge_redis.cli.tls_check import require_tls

    password = read_password(server.password_file) if server.password is None else server.password
    client = connect(server.url, **({"password": password} if password else {}))
    try:
        require_tls(server.url)
        yield client
    finally:
        client.close()


@contextmanager
def open_services(
    server: Server,
    *,
    heartbeat_timeout: float | None = None,
    cache_size: int | None = None,
) -> Iterator[Any]:
    """Open the services of a namespace and close them at the end."""
    from edge_redis import EdgeRedis

    health = {} if heartbeat_timeout is None else {"heartbeat_timeout_seconds": heartbeat_timeout}
    cache = {} if cache_size is None else {"max_size": cache_size}
    with (
        open_client(server) as client,
        EdgeRedis(client, namespace=server.namespace, health=health, cache=cache) as edge,  # type: ignore[arg-type]
    ):
        yield edge


@contextmanager
def open_cloud(
    edge: Server, cloud_url: str | None, cloud_sql: str | None = None, password_file: Path | None = None
) -> Iterator[Any]:
    """Open the cloud's store: an SQL database, a Redis server, or the edge's own server when none is named.

    The edge's password is never sent to another server: the cloud's Redis has a password of its own, or none.
    """
    if cloud_url is not None and cloud_sql is not None:
        raise InvalidArgumentError("give --cloud-url or --cloud-sql, not both")
    url = cloud_sql or cloud_url
    if url is not None and (cloud_sql is not None or url.startswith(_SQL_SCHEMES)):
        from edge_redis.cloudstores.sql import SqlCloudStore

        with SqlCloudStore(url, namespace=edge.namespace) as store:
            yield store
        return
    from edge_redis import RedisCloudStore

    server = edge
    if url is not None:
        server = Server(url, None, edge.namespace, password=read_cloud_password(password_file) or "")
    with open_client(server) as client, RedisCloudStore(client, namespace=edge.namespace) as redis_store:
        yield redis_store


def read_password(path: Path | None) -> str | None:
    """Return the password from a file or the environment; None when there is none."""
    return os.environ.get(_PASSWORD) if path is None else _read(path)


def read_cloud_password(path: Path | None) -> str | None:
    """Return the password of the cloud's Redis, from a file or the environment; None when there is none."""
    if path is None and (name := os.environ.get(f"{_CLOUD_PASSWORD}_FILE")):
        path = Path(name)
    return os.environ.get(_CLOUD_PASSWORD) if path is None else _read(path)


def _read(path: Path) -> str:
    try:
        return path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"the password file cannot be read: {error}") from error
