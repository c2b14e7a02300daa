"""Settings: an immutable record of where the servers of an application are, which makes clients and services."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from edge_redis.errors import InvalidArgumentError, InvalidTypeError
from edge_redis.settings._checks import check, check_from, convert_text, hide_secrets, is_sql
from edge_redis.settings._sources import (
    CONNECTION_NAMES,
    SECRETS,
    VARIABLES,
    find_file,
    merge,
    read_environment,
    read_file,
    select_settings,
)

# Clients and services are imported where they are made: the command line reads settings before it loads redis.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from edge_redis import aio
    from edge_redis._io.clients import AsyncClient, BlockingClient
    from edge_redis._services.blocking.bundle import EdgeRedis
    from edge_redis._services.options import CacheOptions, HealthOptions, MetricsOptions
    from edge_redis.cloudstores import AsyncCloudStore, CloudStore

_URLS: Final = frozenset({"url", "cloud_url", "cloud_sql"})
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """Where the servers of an application are, and how to log in to them.

    ``load`` reads them from arguments, the environment and a file. Everything is checked here, except that files are
    read when a connection is made. ``repr`` shows no password.

    Args:
        url: of the edge's server, as in ``connect``; None: the variable ``EDGE_REDIS_URL``, else localhost.
        password: of the edge's server, in place of the one in the URL.
        password_file: the file that holds it.
        namespace: of all services.
        heartbeat_timeout: age of its heartbeat at which a node is unhealthy, unless it has a timeout of its own.
        cloud_url: of the cloud: a Redis server or an SQL database; None: the edge's own server.
        cloud_sql: URL of an SQL database, in place of ``cloud_url``.
        cloud_password: of the cloud's Redis, which never receives the edge's password.
        cloud_password_file: the file that holds it.
        ssl_ca_certs: file of the authorities that are trusted. This and the following options are those of the
            connections to the edge's server; the cloud's stand in the query of its URL.
        ssl_certfile: file of this client's certificate.
        ssl_keyfile: file of the certificate's key.
        socket_timeout: limit for a reply; None: the URL's, else as in ``connect``.
        socket_connect_timeout: limit for making a connection; None: the URL's, else as in ``connect``.
        max_connections: of a client at most; None: the URL's, else any number.
        client_name: shown by CLIENT LIST; None: the URL's, else ``edge-redis``.

    Raises:
        InvalidArgumentError: a value cannot be used, or two exclude each other.
        InvalidTypeError: a value is of the wrong type.

    """

    url: str | None = None
    password: str | None = None
    password_file: Path | None = None
    namespace: str = "default"
    heartbeat_timeout: float = 60.0
    cloud_url: str | None = None
    cloud_sql: str | None = None
    cloud_password: str | None = None
    cloud_password_file: Path | None = None
    ssl_ca_certs: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    socket_timeout: float | None = None
    socket_connect_timeout: float | None = None
    max_connections: int | None = None
    client_name: str | None = None

    def __post_init__(self) -> None:
        """Check everything."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.default is not None:
                object.__setattr__(self, field.name, check(field.name, value))
        for one, other in (("password", "password_file"), ("cloud_password", "cloud_password_file")):
            self._refuse_both(one, other)
        self._refuse_both("cloud_url", "cloud_sql")
        tls_files = [name for name in _TLS_FILES if getattr(self, name) is not None]
        if tls_files and self.url is not None and not self.url.startswith("rediss"):
            raise InvalidArgumentError(f"{tls_files[0]} is for TLS: the URL must begin with rediss")
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise InvalidArgumentError("ssl_keyfile is the key of a certificate: give ssl_certfile too")

    def __repr__(self) -> str:
        shown = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if field.name in SECRETS:
                value = "***"
            shown.append(f"{field.name}={hide_secrets(value) if field.name in _URLS else value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    @classmethod
    def load(
        cls, path: Path | str | None = None, *, environment: Mapping[str, str] | None = None, **given: Any
    ) -> Self:
        """Return the settings; an argument wins over the environment, that over the file, and that over the default.

        Args:
            path: of a TOML file; None: the one that ``EDGE_REDIS_CONFIG`` names, else
                ``$XDG_CONFIG_HOME/edge-redis/config.toml`` (``~/.config``) where it exists.
            environment: in place of ``os.environ``.
            given: settings by their names; None counts as not given.

        Raises:
            InvalidArgumentError: a value cannot be used, or the file cannot be read; the message names the source.
            InvalidTypeError: a value is of the wrong type, or there is no such setting.

        """
        variables = os.environ if environment is None else environment
        file = find_file(variables) if path is None else Path(path)
        unknown = sorted(given.keys() - _known())
        if unknown:
            raise InvalidTypeError(f"there is no setting {unknown[0]!r}")
        in_file = {} if file is None else _read_file(file)
        return cls(**merge(in_file, _read_environment(variables), given))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Return the settings in the environment, without a file.

        Args:
            environment: in place of ``os.environ``.

        Raises:
            InvalidArgumentError: a value cannot be used; the message names the variable.

        """
        return cls(**merge(_read_environment(os.environ if environment is None else environment), {}))

    @classmethod
    def from_toml(cls, path: Path | str) -> Self:
        """Return the settings in a TOML file, without the environment.

        Args:
            path: of the file.

        Raises:
            InvalidArgumentError: the file cannot be read, or a value cannot be used.
            InvalidTypeError: a value is of the wrong type.

        """
        return cls(**merge(_read_file(Path(path))))

    def connect(self, **overrides: Any) -> BlockingClient:
        """Return a blocking client of the edge's server, as ``edge_redis.connect`` does. Close it at the end.

        Args:
            overrides: arguments of redis-py's connections, which win over the settings.

        Raises:
            InvalidArgumentError: the password file cannot be read, or an option is not for this kind of URL.

        """
        from edge_redis._io.connect import connect

        return connect(self.url, **(self._connection_options() | overrides))

    def connect_async(self, **overrides: Any) -> AsyncClient:
        """Return an asyncio client of the edge's server. Arguments and errors are those of ``connect``."""
        from edge_redis._io.connect import connect_async

        return connect_async(self.url, **(self._connection_options() | overrides))

    def open(
        self,
        *,
        cache: CacheOptions | None = None,
        health: HealthOptions | None = None,
        metrics: MetricsOptions | None = None,
    ) -> EdgeRedis:
        """Return the services of the namespace, on a client of their own that ``close`` closes.

        Args:
            cache: further arguments of EdgeCache.
            health: further arguments of HealthMonitor, which win over ``heartbeat_timeout``.
            metrics: further arguments of EdgeMetrics.

        Raises:
            InvalidArgumentError: as in ``connect``.

        """
        from edge_redis._services.blocking.bundle import EdgeRedis

        return EdgeRedis.from_url(
            self.url,
            namespace=self.namespace,
            connection=self._connection_options(),
            cache=cache,
            health=self._health_options(health),
            metrics=metrics,
        )

    def open_async(
        self,
        *,
        cache: CacheOptions | None = None,
        health: HealthOptions | None = None,
        metrics: MetricsOptions | None = None,
    ) -> aio.EdgeRedis:
        """Return the services of the namespace for asyncio. Arguments and errors are those of ``open``."""
        from edge_redis._services.aio.bundle import EdgeRedis

        return EdgeRedis.from_url(
            self.url,
            namespace=self.namespace,
            connection=self._connection_options(),
            cache=cache,
            health=self._health_options(health),
            metrics=metrics,
        )

    @contextmanager
    def open_cloud(self) -> Iterator[CloudStore]:
        """Open the cloud's store for a ``with`` block: an SQL database, a Redis server, or the edge's own server.

        Raises:
            InvalidArgumentError: as in ``connect``.
            MissingExtraError: a database needs SQLAlchemy.

        """
        from edge_redis._io.connect import connect
        from edge_redis._services.blocking.cloud import RedisCloudStore

        if (database := self._find_database()) is not None:
            from edge_redis.cloudstores.sql import SqlCloudStore

            with SqlCloudStore(database, namespace=self.namespace) as store:
                yield store
            return
        client = self.connect() if self.cloud_url is None else connect(self.cloud_url, **self._cloud_options())
        with client, RedisCloudStore(client, namespace=self.namespace) as redis_store:
            yield redis_store

    @asynccontextmanager
    async def open_cloud_async(self) -> AsyncIterator[AsyncCloudStore]:
        """Open the cloud's store for an ``async with`` block. Errors are those of ``open_cloud``."""
        from edge_redis._io.connect import connect_async
        from edge_redis._services.aio.cloud import RedisCloudStore

        if (database := self._find_database()) is not None:
            from edge_redis.cloudstores.sql import AsyncSqlCloudStore

            async with AsyncSqlCloudStore(database, namespace=self.namespace) as store:
                yield store
            return
        url, options = self.cloud_url, self._cloud_options()
        client = self.connect_async() if url is None else connect_async(url, **options)
        async with client, RedisCloudStore(client, namespace=self.namespace) as redis_store:
            yield redis_store

    def _refuse_both(self, one: str, other: str) -> None:
        if getattr(self, one) is not None and getattr(self, other) is not None:
            raise InvalidArgumentError(f"give {one} or {other}, not both")

    def _find_database(self) -> str | None:
        url = self.cloud_sql or self.cloud_url
        return url if url is not None and is_sql(url) else None

    def _connection_options(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in CONNECTION_NAMES}
        options = {name: str(each) if isinstance(each, Path) else each for name, each in found.items() if each}
        return options | _password_option(self.password, self.password_file)

    def _cloud_options(self) -> dict[str, Any]:
        return _password_option(self.cloud_password, self.cloud_password_file)

    def _health_options(self, health: HealthOptions | None) -> HealthOptions:
        return {"heartbeat_timeout_seconds": self.heartbeat_timeout, **(health or {})}


def _known() -> frozenset[str]:
    return frozenset(field.name for field in fields(Settings))


def _read_file(path: Path) -> dict[str, Any]:
    found = select_settings(read_file(path), _known(), path)
    return {name: check_from(str(path), name, value) for name, value in found.items()}


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found = read_environment(environment, _known())
    return {name: convert_text(VARIABLES[name], name, value) for name, value in found.items()}


def _password_option(password: str | None, path: Path | None) -> dict[str, str]:
    if path is not None:
        try:
            password = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgumentError(f"the password file cannot be read: {error}") from error
    return {"password": password} if password else {}
