"""The server, the services and the cloud that the options of a command name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge_redis.cli import settings as files
from edge_redis.errors import StoreUnavailableError
from edge_redis.settings import Settings
from edge_redis.settings._checks import is_sql


def load_settings(url: str | None, password_file: Path | None = None, namespace: str = "default") -> Settings:
    """Return the settings of a command: its options, and from the environment and the settings file what has no option.

    Raises:
        InvalidArgumentError: a setting cannot be used; the message names its source.

    """
    return Settings.load(files.file_in_use(), url=url, password_file=password_file, namespace=namespace)


def with_cloud(
    server: Settings, cloud_url: str | None, cloud_sql: str | None = None, password_file: Path | None = None
) -> Settings:
    """Return settings with the cloud that the options of a command name.

    Raises:
        InvalidArgumentError: both options name a cloud.

    """
    password = None if password_file is not None else server.cloud_password
    file = password_file if password_file is not None else server.cloud_password_file
    return replace(server, cloud_url=cloud_url, cloud_sql=cloud_sql, cloud_password=password, cloud_password_file=file)


def _require_tls(server: Settings) -> None:
    if urlsplit(server.url or "").scheme == "rediss":
        from edge_redis.cli.tls_check import require_tls  # loads ssl, which most commands do not need

        require_tls(server)


@contextmanager
def open_client(server: Settings, **overrides: Any) -> Iterator[Any]:
    """Open a blocking client and close it at the end; ``overrides`` are further arguments of its connections.

    Raises:
        InvalidArgumentError: the URL or the password file cannot be used.
        StoreUnavailableError: a server named by rediss:// does not speak TLS, or refuses this client's certificate.

    """
    _require_tls(server)
    client = server.connect(**overrides)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def allow_partial_outage(client: Any, log: Callable[[str], object]) -> Iterator[None]:
    """Log an outage of some masters of a cluster, whose others have answered; raise any other outage."""
    from edge_redis._io.clients import is_cluster
    from edge_redis.cli.failures import describe

    try:
        yield
    except StoreUnavailableError as error:
        if not is_cluster(client):
            raise
        log(f"a part of the cluster cannot be reached: {describe(error)}")


@contextmanager
def open_services(
    server: Settings,
    *,
    heartbeat_timeout: float | None = None,
    cache_size: int | None = None,
) -> Iterator[Any]:
    """Open the services of a namespace and close them at the end."""
    _require_tls(server)
    timeout = server.heartbeat_timeout if heartbeat_timeout is None else heartbeat_timeout
    with server.open(
        health={"heartbeat_timeout_seconds": timeout}, cache={} if cache_size is None else {"max_size": cache_size}
    ) as edge:
        yield edge


@contextmanager
def open_cloud(
    edge: Settings, cloud_url: str | None, cloud_sql: str | None = None, password_file: Path | None = None
) -> Iterator[Any]:
    """Open the cloud's store: an SQL database, a Redis server, or the edge's own server when none is named.

    The edge's password is never sent to another server: the cloud's Redis has a password of its own, or none.
    """
    settings = with_cloud(edge, cloud_url, cloud_sql, password_file)
    if cloud_url is not None and not is_sql(cloud_url):
        _require_tls(Settings(url=cloud_url))
    with settings.open_cloud() as store:
        yield store
