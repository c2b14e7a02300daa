"""Parses the URLs of servers.

An error names the part that is wrong and never shows its text: any part may hold a piece of a
password that was not percent-encoded.

    redis://[[user]:password@]host[:6379][/db][?option=value]        rediss:// with TLS
    unix://[[user]:password@]/path/to/socket[?db=0&option=value]
    redis+cluster://[[user]:password@]host[:6379][,host...]          rediss+cluster://
    redis+sentinel://[[user]:password@]host[:26379][,host...]/service[/db]   rediss+sentinel://

Options are arguments of the client library's connection. User and password of a Sentinel URL
are those of the master; the Sentinels' own are ``?sentinel_username=`` and ``sentinel_password=``.
With ``?read_replicas=true`` the client asks replicas.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from redis.connection import parse_url

from edge_redis.errors import InvalidArgumentError, InvalidTypeError

SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
)
_PORTS: Final = {"": 6379, "cluster": 6379, "sentinel": 26379}
_LAST_PORT: Final = 65_535
_ENCODE: Final = "(in a user or password, percent-encode '@', ':', '/', '?', '#', '[', ']', '%' and spaces)"
_HOST: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:,]*))(?::(?P<port>[0-9]{1,5}))?")
_SENTINEL_PATH: Final = re.compile(r"/(?P<service>[^/]+)(?:/(?P<db>[0-9]*))?")
_OF_OTHER_PARTS: Final = frozenset({"host", "port", "path", "connection_class"})
_FALSE: Final = frozenset({"", "0", "f", "false", "n", "no"})


@dataclass(frozen=True)
class Target:
    """The servers that a URL names, and the options of the connections to them."""

    kind: str
    """"" for one server, "unix", "cluster" or "sentinel"."""
    is_tls: bool
    nodes: tuple[tuple[str, int], ...] = ()
    service: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the connections to the servers."""
    sentinel_options: dict[str, str] = field(default_factory=dict)
    """User and password for the Sentinels."""


def parse(url: str) -> Target:
    """Parse a URL.

    Raises:
        InvalidArgumentError: a part of it cannot be used.
        InvalidTypeError: it is not a str.
    """
    parts = _split(url)
    base, _, kind = parts.scheme.partition("+")
    if base == "unix":
        return Target("unix", is_tls=False, options=_parse_unix(parts))
    options = _parse_query(parts.query)
    sentinel_options = {
        name.removeprefix("sentinel_"): options.pop(name)
        for name in ("sentinel_username", "sentinel_password")
        if kind == "sentinel" and name in options
    }
    credentials, nodes = _parse_authority(parts.netloc, _PORTS[kind])
    service, db = _parse_path(parts.path, kind)
    options = credentials | ({"db": db} if db else {}) | options
    if not kind:
        options |= _parse_single(nodes)
    elif not all(host for host, _ in nodes):
        raise InvalidArgumentError(f"the URL needs a host {_ENCODE}")
    return Target(kind, base == "rediss", nodes, service, options, sentinel_options)


def _split(url: str) -> SplitResult:
    if not isinstance(url, str):
        raise InvalidTypeError(f"url must be a str, not {type(url).__name__}")
    if not url.isprintable() or " " in url:
        raise InvalidArgumentError(f"the URL must have no spaces or control characters {_ENCODE}")
    try:
        parts = urlsplit(url)
    except ValueError:  # urlsplit's own message shows parts of the URL
        raise InvalidArgumentError(f"the URL's host is malformed {_ENCODE}") from None
    if parts.scheme not in SCHEMES or not url[len(parts.scheme) :].startswith("://"):
        raise InvalidArgumentError(f"the URL must begin with one of {', '.join(f'{name}://' for name in SCHEMES)}")
    if parts.fragment or url.endswith("#"):
        raise InvalidArgumentError(f"the URL must have no '#' {_ENCODE}")
    return parts


def _parse_query(query: str) -> dict[str, Any]:
    """Return the options, converted to the types that redis-py's own URLs give them."""
    try:
        given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    except ValueError:
        raise InvalidArgumentError(f"the URL's query must be option=value pairs {_ENCODE}") from None
    if given.pop("decode_responses", "").lower() not in _FALSE:
        raise decoding_error()
    options: dict[str, Any] = {}
    for name, value in given.items():
        options |= _convert_option(name, value)
    return options


def _convert_option(name: str, value: str) -> dict[str, Any]:
    if name == "read_replicas":
        return {name: value.lower() not in _FALSE}
    if name in _OF_OTHER_PARTS:
        raise InvalidArgumentError(f"{name} must not be an option in the URL's query")
    convert: Callable[[str], dict[str, Any]] = parse_url
    try:
        return convert(f"redis://?{urlencode({name: value})}")
    except ValueError:
        raise InvalidArgumentError(f"the option {name} in the URL's query has a value it cannot have") from None


def decoding_error() -> InvalidArgumentError:
    """Return the error for a client that would turn replies into text."""
    return InvalidArgumentError("decode_responses must not be set: the values kept in Redis are bytes")


def _parse_credentials(text: str) -> dict[str, str]:
    user, _, password = text.partition(":")
    given = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in given.items() if value}


def _parse_authority(netloc: str, default_port: int) -> tuple[dict[str, str], tuple[tuple[str, int], ...]]:
    userinfo, _, hosts = netloc.rpartition("@")
    if "@" in userinfo:
        raise InvalidArgumentError(f"the URL must have one '@' at most before the host {_ENCODE}")
    nodes = tuple(_parse_node(host, default_port) for host in hosts.split(","))
    return _parse_credentials(userinfo), nodes


def _parse_node(text: str, default_port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise InvalidArgumentError(f"the URL's host must be name, name:port or [IPv6]:port {_ENCODE}")
    port = int(found["port"] or default_port)
    if not 0 < port <= _LAST_PORT:
        raise InvalidArgumentError(f"the URL's port must be from 1 to {_LAST_PORT}")
    return found["v6"] or unquote(found["name"]), port


def _parse_path(path: str, kind: str) -> tuple[str, int]:
    """Return the Sentinels' service name and the database number."""
    if kind == "sentinel":
        found = _SENTINEL_PATH.fullmatch(path)
        if found is None:
            raise InvalidArgumentError("the URL's path must be /service or /service/db, the name the Sentinels know")
        return unquote(found["service"]), int(found["db"] or 0)
    number = path.removeprefix("/")
    if number and not (number.isascii() and number.isdigit()):
        raise InvalidArgumentError(f"the URL's path must be a database number, such as /0 {_ENCODE}")
    return "", int(number or 0)


def _parse_single(nodes: tuple[tuple[str, int], ...]) -> dict[str, Any]:
    if len(nodes) != 1:
        raise InvalidArgumentError("a URL with several hosts must begin with redis+cluster:// or redis+sentinel://")
    host, port = nodes[0]
    return {"host": host or "localhost", "port": port}


def _parse_unix(parts: SplitResult) -> dict[str, Any]:
    userinfo, _, host = parts.netloc.rpartition("@")
    if host or not parts.path.startswith("/"):
        raise InvalidArgumentError("the URL of a socket must be unix:///path/to/socket, with three slashes")
    return {**_parse_credentials(userinfo), **_parse_query(parts.query), "path": unquote(parts.path)}
