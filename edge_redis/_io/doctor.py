"""Checks servers before use: a single one, each node of a cluster, or what Sentinels know of a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from redis.exceptions import ResponseError

from edge_redis._core.keys import KeySpace
from edge_redis._core.script_commands import find_all_commands
from edge_redis._io.connect import connect
from edge_redis._io.doctor_finding import Finding
from edge_redis._io.doctor_nodes import MakeTag, Node, find_servers
from edge_redis._io.doctor_server import check_server
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis._io.roles import COMPONENTS, Role
from edge_redis.errors import StoreRefusedError

__all__ = ["Finding", "doctor_tags", "examine", "examine_client", "examine_role"]

_CheckRights: TypeAlias = Callable[[Node], Iterator[Finding]]

_RIGHTS: Final = """
local key, refused = ARGV[1], {}
for at = 2, #ARGV do
  local command, sub = string.match(ARGV[at], '^(%S+) ?(%S*)$')
  local allowed
  if sub ~= '' then allowed = redis.acl_check_cmd(command, sub, key, key, key)
  else allowed = redis.acl_check_cmd(command, key, key, key) end
  if not allowed then refused[#refused + 1] = ARGV[at] end
end
return refused
"""
"""Has no KEYS: a server refuses a script to a user who may not write its keys."""

_DANGEROUS: Final = ("FLUSHALL", "CONFIG SET", "ACL SETUSER", "KEYS")
"""Commands that no role needs."""


def doctor_tags(namespace: str | None) -> MakeTag:
    """Return a function of a number that makes the hash tag of keys by which a user's rights are tried."""
    if namespace is None:
        return lambda number: f"er:{{doctor{number or ''}}}"
    return lambda number: KeySpace(namespace, "doctor", number).tag


def examine(url: str | None = None) -> list[Finding]:
    """Check the servers of a URL; nothing is left on them.

    Raises:
        InvalidArgumentError: a URL that cannot be used.
        StoreError: the server cannot be reached, or refuses.

    """
    with connect(url) as client:
        return examine_client(client)


def examine_client(client: Any, namespace: str | None = None) -> list[Finding]:
    """Check the servers of a client, as ``examine`` does, with keys in ``namespace``.

    Raises:
        StoreError: the server cannot be reached, or refuses; of a cluster or of Sentinels, none can be reached.

    """
    return _examine(client, doctor_tags(namespace), _check_permissions)


def examine_role(client: Any, role: Role, namespace: str) -> list[Finding]:
    """Check servers, and whether the client's user has the rights of a role in a namespace, and no dangerous others.

    Raises:
        InvalidKeyError, InvalidTypeError: the namespace cannot be used.
        StoreError: as in ``examine_client``.

    """

    def make_tag(number: int) -> str:
        return KeySpace(namespace, role.writes[0], number).tag + role.only_keys

    found = _examine(client, make_tag, lambda node: _check_role_permissions(node.client, role, namespace))
    return [each for each in found if not (role.only_commands and each.topic == "scripts")]  # it may store no key


def _examine(client: Any, make_tag: MakeTag, check_rights: _CheckRights) -> list[Finding]:
    try:
        with find_servers(client, make_tag) as servers:
            findings = list(servers.findings)
            for node in servers.nodes:
                findings += _examine_node(node, check_rights)
            return findings
    except LIBRARY_ERRORS as error:
        raise translate(error, "doctor") from error


def _examine_node(node: Node, check_rights: _CheckRights) -> Iterator[Finding]:
    """Yield the findings of one server; where it is one of several, an error is a finding."""
    try:
        for finding in check_server(node, check_rights):
            yield finding._replace(node=node.address)
    except LIBRARY_ERRORS as error:
        if node.address is None:
            raise
        refused = isinstance(translate(error, "doctor"), StoreRefusedError)
        text = f"this user cannot log in: {error}" if refused else f"cannot be reached: {error}"
        yield Finding("fail", "ping", text, node.address)


def _check_permissions(node: Node) -> Iterator[Finding]:
    commands = find_all_commands()
    try:
        refused = node.client.eval(_RIGHTS, 0, f"{node.tag}:rights", *commands)
    except ResponseError as error:
        yield Finding("warn", "permissions", f"cannot be checked on this server: {error}")
        return
    if refused:
        names = ", ".join(name.decode() for name in refused)
        yield Finding("fail", "permissions", f"this user may not run {names}: ACL SETUSER ... +@all, or these")
    else:
        yield Finding("ok", "permissions", f"this user may run all {len(commands)} commands that scripts use")


def _check_role_permissions(client: Any, role: Role, namespace: str) -> Iterator[Finding]:
    refused, excess = [], []
    try:
        for component in COMPONENTS:
            key = f"{KeySpace(namespace, component).tag}{role.only_keys}:rights"
            if component in (*role.writes, *role.reads):
                found = client.eval(_RIGHTS, 0, key, *role.commands(component))
                refused += [f"{name.decode()} on {component}" for name in found]
            if component not in role.writes and not client.eval(_RIGHTS, 0, key, "SET"):
                excess.append(f"write {component}")
        of_others = client.eval(_RIGHTS, 0, f"{role.tag(namespace)}:rights", *_DANGEROUS)
    except ResponseError as error:
        yield Finding("warn", "permissions", f"cannot be checked on this server: {error}")
        return
    excess += [f"run {name}" for name in _DANGEROUS if name.encode() not in of_others]
    if refused:
        yield Finding("fail", "permissions", f"this user may not run {', '.join(refused)}: see 'edge-redis acl'")
    else:
        yield Finding("ok", "permissions", f"this user may do what the role {role.name} needs")
    if excess:
        text = f"this user may also {', '.join(excess)}, which {role.name} does not need"
        yield Finding("warn", "least privilege", text)
