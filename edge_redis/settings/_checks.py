"""Checks of single settings. No error shows a URL or a password."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from edge_redis._core import validation
from edge_redis._core.keys import check_namespace
from edge_redis.errors import EdgeRedisError, InvalidArgumentError, InvalidTypeError

_SQL_SCHEMES: Final = ("sqlite:", "postgresql:", "postgresql+")
_MASK: Final = "***"


def is_sql(url: str) -> bool:
    """Return whether the URL of a cloud names an SQL database."""
    return url.startswith(_SQL_SCHEMES)


def check(name: str, value: Any) -> Any:
    """Return the value of a setting, a path as a ``Path``.

    Raises:
        InvalidArgumentError, InvalidTypeError: it cannot be used.

    """
    return _CHECKS[name](name, value)


def check_from(source: str, name: str, value: Any) -> Any:
    """Return a checked value; an error names the source."""
    try:
        return check(name, value)
    except EdgeRedisError as error:
        raise type(error)(f"{source}: {error}") from None


def convert_text(variable: str, name: str, text: str) -> Any:
    """Return the checked value of an environment variable."""
    value: Any = text
    converters: dict[Callable[[str, Any], Any], type] = {_check_seconds: float, _check_count: int}
    convert = converters.get(_CHECKS[name])
    if convert is not None:
        try:
            value = convert(text)
        except ValueError:
            raise InvalidArgumentError(f"{variable} must be a number, not {text[:60]!r}") from None
    return check_from(variable, name, value)


def hide_secrets(url: str) -> str:
    """Return a URL without its passwords, for people."""
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")  # an unencoded password may hold any character, '/' and '?' included
    name, colon, _ = user.partition(":")
    place, question, query = place.partition("?")
    options = [(key, _MASK if "password" in key.lower() else value) for key, value in parse_qsl(query)]
    shown = f"{name}{':' + _MASK if colon else ''}{at}{place}"
    return f"{scheme}{separator}{shown}{question}{urlencode(options, safe='/*:.')}"


def _check_url(_: str, value: Any) -> str:
    from edge_redis._io.connect_url import parse  # noqa: PLC0415 -- loads redis, which the command's help does without

    parse(value)
    return str(value)


def _check_cloud_url(name: str, value: Any) -> str:
    return value if isinstance(value, str) and is_sql(value) else _check_url(name, value)


def _check_sql(name: str, value: Any) -> str:
    if not is_sql(_check_secret(name, value)):
        raise InvalidArgumentError(f"{name} must begin with one of {', '.join(_SQL_SCHEMES)}")
    return str(value)


def _check_secret(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidTypeError(f"{name} must be a str, not {type(value).__name__}")
    return value


def _check_path(name: str, value: Any) -> Path:
    if not isinstance(value, (str, os.PathLike)):
        raise validation.type_error(name, value, "a path")
    if not os.fspath(value):
        raise InvalidArgumentError(f"{name} must not be empty")
    return Path(value)


def _check_seconds(name: str, value: Any) -> float:
    return validation.check_positive(name, value)


def _check_count(name: str, value: Any) -> int:
    return validation.check_integer(name, value, least=1)


def _check_namespace(_: str, value: Any) -> str:
    return check_namespace(value)


_CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "url": _check_url,
    "password": _check_secret,
    "password_file": _check_path,
    "namespace": _check_namespace,
    "heartbeat_timeout": _check_seconds,
    "cloud_url": _check_cloud_url,
    "cloud_sql": _check_sql,
    "cloud_password": _check_secret,
    "cloud_password_file": _check_path,
    "ssl_ca_certs": _check_path,
    "ssl_certfile": _check_path,
    "ssl_keyfile": _check_path,
    "socket_timeout": _check_seconds,
    "socket_connect_timeout": _check_seconds,
    "max_connections": _check_count,
    "client_name": validation.check_identifier,
}
