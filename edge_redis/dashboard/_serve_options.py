"""The options of `edge-redis dashboard`, and its files of tokens."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_redis._io.clients import AsyncClient
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis.errors import InvalidArgumentError
from edge_redis.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The sites of a page, its address, and its visitors."""

    settings: Settings
    """The server and the cloud of all sites."""
    namespaces: Sequence[str]
    host: str
    port: int
    operators: Mapping[str, str] = field(default_factory=dict)
    viewers: Mapping[str, str] = field(default_factory=dict)
    open_edge: Callable[[AsyncClient, str], EdgeRedis] | None = None
    """Opens the services of a namespace; None: EdgeRedis with the heartbeat timeout of the settings."""

    def __post_init__(self) -> None:
        """Refuse an address that others can reach without tokens."""
        if len(set(self.namespaces)) < len(self.namespaces):
            raise InvalidArgumentError("a namespace is named twice")
        if not is_loopback(self.host) and not self.operators and not self.viewers:
            raise InvalidArgumentError(
                f"{self.host} can be reached by others: name a file of tokens with --token-file or "
                "--viewer-token-file, or listen on 127.0.0.1"
            )

    def make_edge(self, client: AsyncClient, namespace: str) -> EdgeRedis:
        """Return the services of a namespace."""
        if self.open_edge is not None:
            return self.open_edge(client, namespace)
        timeout = self.settings.heartbeat_timeout
        return EdgeRedis(client, namespace=namespace, health={"heartbeat_timeout_seconds": timeout})


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host's address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_tokens(path: Path | None, default_name: str) -> dict[str, str]:
    """Return the tokens in a file by their names; each line is ``name:token``, or a token alone.

    Raises:
        InvalidArgumentError: the file cannot be read, or holds no token.

    """
    if path is None:
        return {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"the file of tokens cannot be read: {error}") from error
    found: dict[str, str] = {}
    for line in lines:
        text = line.strip()
        if text and not text.startswith("#"):
            name, colon, token = text.partition(":")
            found[name.strip() if colon else default_name] = token.strip() if colon else text
    if not found:
        raise InvalidArgumentError(f"{path} holds no token: write a line `name:token` for each")
    return found
