"""Where a probe connects: a target such as ``tcp://{node_id}.shop.internal:22``, filled in for a node.

The target is split before anything is filled in, and each part is checked for itself, so that what is filled in cannot
end the part that it stands in.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import quote

from edge_redis._core import validation
from edge_redis.errors import InvalidArgumentError, ProbeRefusedError
from edge_redis.probes._networks import Address

NODE_ID: Final = "{node_id}"
ADDRESS: Final = "{address}"

MAX_TARGET_BYTES: Final = 8192
MAX_PORT: Final = 65535
_MAX_HOST: Final = 253

_PARTS: Final = re.compile(
    r"(?:(?P<scheme>[a-z]+)://)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.{}-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>[/?][!-~]*)?"
)
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PART_OF_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")


@dataclass(frozen=True, slots=True)
class Target:
    """A host and port to connect to, and a path to ask for."""

    host: str
    port: int
    path: str = ""
    is_secured: bool = False
    """Whether it is asked over TLS."""
    is_named: bool = False
    """Whether the operator wrote the host, with no placeholder in it."""

    @property
    def address(self) -> Address | None:
        """The address that the host is; None where it is a name."""
        return parse_address(self.host)

    @property
    def authority(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address | None:
    """Return the IP address that a text is; None where it is none."""
    with suppress(ValueError):
        return ip_address(text)
    return None


class TargetTemplate:
    """A target with placeholders. ``ports`` has the default port of each allowed scheme, which may be None.

    Raises:
        InvalidArgumentError: it cannot be a target of these schemes.

    """

    def __init__(self, text: str, ports: dict[str, int | None], *, scheme: str = "") -> None:
        validation.check_identifier("target", text, limit=MAX_TARGET_BYTES)
        parts = _PARTS.fullmatch(text)
        if parts is None:
            raise validation.value_error("target", text, f"must have the form {_describe(ports)}")
        self.scheme = parts["scheme"] or scheme
        if self.scheme not in ports:
            raise validation.value_error("target", text, f"must have the form {_describe(ports)}")
        self._host = parts["host"]
        self._port = self._check_port(text, parts["port"], ports[self.scheme])
        self._path = self._check_path(text, parts["path"] or "", allowed=self.scheme.startswith("http"))
        if "{" in self._host.replace(NODE_ID, "") and self._host != ADDRESS:
            rule = f"may have {NODE_ID} in its host, or {ADDRESS} as the whole host"
            raise validation.value_error("target", text, rule)
        self.fill("n", "n")  # checks what the operator wrote

    @property
    def needs_address(self) -> bool:
        """Whether the host is filled in from what is known of the node."""
        return self._host == ADDRESS

    def fill(self, node_id: str, address: str) -> Target:
        """Return the target for a node.

        Raises:
            InvalidArgumentError: the id or the address cannot stand where the template has it.

        """
        return Target(
            self._fill_host(node_id, address),
            self._port,
            self._fill_path(node_id),
            is_secured=self.scheme in {"https", "tls"},
            is_named="{" not in self._host,
        )

    def _fill_host(self, node_id: str, address: str) -> str:
        if self._host == ADDRESS:
            return check_host("address", address)
        if self._host == NODE_ID:
            return check_host("node id", node_id)
        if NODE_ID in self._host and not _PART_OF_LABEL.fullmatch(node_id):
            raise validation.value_error("node id", node_id, "must have letters, digits, - and _ alone in a host name")
        return check_host("target", self._host.replace(NODE_ID, node_id).strip("[]"))

    def _fill_path(self, node_id: str) -> str:
        path = self._path.replace(NODE_ID, quote(node_id, safe=""))
        if NODE_ID in self._path and {".", ".."} & set(path.partition("?")[0].split("/")):
            raise validation.value_error("node id", node_id, "must not be dots alone in a path")
        return path

    @staticmethod
    def _check_port(text: str, port: str | None, default: int | None) -> int:
        number = default if port is None else int(port)
        if number is None or not 0 < number <= MAX_PORT:
            raise validation.value_error("target", text, f"must have a port from 1 to {MAX_PORT}")
        return number

    @staticmethod
    def _check_path(text: str, path: str, *, allowed: bool) -> str:
        if path and not allowed:
            raise validation.value_error("target", text, "must end after the port")
        if "#" in path or "{" in path.replace(NODE_ID, "") or "}" in path.replace(NODE_ID, ""):
            raise validation.value_error(
                "target", text, f"must have no #, and no placeholder but {NODE_ID}, in its path"
            )
        return path if path.startswith("/") or not allowed else f"/{path}"


def _describe(ports: dict[str, int | None]) -> str:
    tail, port = ("/path", "[:port]") if "http" in ports else ("", ":port")
    return " or ".join(f"{scheme}://host{port}{tail}" for scheme in ports)


def check_host(name: str, host: object) -> str:
    """Return a text that is an IP address or a host name of ASCII characters."""
    if not isinstance(host, str):
        raise validation.type_error(name, host, "text")
    if "%" not in host and parse_address(host) is not None:  # % names an interface of this machine
        return host
    if len(host) > _MAX_HOST or not _HOST.fullmatch(host):
        raise validation.value_error(name, host, "must be a host name or an IP address")
    return host


def refuse(error: InvalidArgumentError | TypeError, node_id: str) -> ProbeRefusedError:
    """Return the error for a node whose data cannot be used."""
    return ProbeRefusedError(f"node {node_id!r} cannot be probed: {error}")
