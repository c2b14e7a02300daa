"""Checks a server before use: its version, persistence, eviction, replication, this user's rights, its clock."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from redis.exceptions import ResponseError

from edge_redis._core.keys import KeySpace
from edge_redis._core.script_commands import find_all_commands
from edge_redis._io.connect import connect
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis._io.roles import COMPONENTS, Role
from edge_redis.errors import StoreRefusedError

Level: TypeAlias = Literal["ok", "warn", "fail"]

OLDEST_VERSION: Final = (7, 0)
SKEW_SECONDS: Final = 1.0
_TAG: Final = "er:{doctor}"
_SCRIPT: Final = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', 1000) and redis.call('GET', KEYS[1])"


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


class Finding(NamedTuple):
    """The result of one check. ``fail``: change it before use; ``warn``: a risk."""

    level: Level
    topic: str
    text: str


def examine(url: str | None = None) -> list[Finding]:
    """Check a server; nothing is left on it.

    Raises:
        InvalidArgumentError: a URL that cannot be used.
        StoreError: the server cannot be reached, or refuses.

    """
    with connect(url) as client:
        return examine_client(client)


def examine_client(client: Any, tag: str = _TAG) -> list[Finding]:
    """Check the server of a client, as ``examine`` does, with keys under ``tag``.

    Raises:
        StoreError: the server cannot be reached, or refuses.

    """
    try:
        return list(_run_checks(client, tag, _check_permissions(client, tag)))
    except LIBRARY_ERRORS as error:
        raise translate(error, "doctor") from error


def examine_role(client: Any, role: Role, namespace: str) -> list[Finding]:
    """Check a server, and whether the client's user has the rights of a role in a namespace, and no dangerous others.

    Raises:
        InvalidKeyError, InvalidTypeError: the namespace cannot be used.
        StoreError: the server cannot be reached, or refuses.

    """
    try:
        return list(_run_checks(client, role.tag(namespace), _check_role_permissions(client, role, namespace)))
    except LIBRARY_ERRORS as error:
        raise translate(error, "doctor") from error


def _run_checks(client: Any, tag: str, rights: Iterator[Finding]) -> Iterator[Finding]:
    begun = time.perf_counter()
    client.ping()
    yield Finding("ok", "ping", f"{(time.perf_counter() - begun) * 1000:.2f} ms")
    try:
        info = client.info()
    except ResponseError as error:
        yield Finding("warn", "info", f"this user may not run INFO, so less can be checked: {error}")
    else:
        yield _check_version(info)
        yield _check_persistence(info)
        yield _check_eviction(info)
        yield _check_replication(client, info)
    yield _check_script(client, tag)
    yield from rights
    yield _check_clock(client)


def _check_replication(client: Any, info: dict[str, Any]) -> Finding:
    """Check whether a failover can lose acknowledged writes, since replication is asynchronous."""
    replicas = int(info.get("connected_slaves", 0))
    if info.get("role") != "master" or not replicas:
        return Finding("ok", "replication", f"{info.get('role', 'unknown role')} with {replicas} replicas")
    try:
        least = int(client.config_get("min-replicas-to-write")["min-replicas-to-write"])
    except (ResponseError, KeyError):
        return Finding("warn", "replication", "this user may not read min-replicas-to-write, which should be 1 or more")
    if least:
        return Finding("ok", "replication", f"min-replicas-to-write {least}, {replicas} replicas")
    return Finding(
        "warn",
        "replication",
        "min-replicas-to-write is 0: a master that was cut off acknowledges writes that the failover throws away;"
        " CONFIG SET min-replicas-to-write 1",
    )


def _check_permissions(client: Any, tag: str) -> Iterator[Finding]:
    commands = find_all_commands()
    try:
        refused = client.eval(_RIGHTS, 0, f"{tag}:rights", *commands)
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
            key = f"{KeySpace(namespace, component).tag}:rights"
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


def _check_version(info: dict[str, Any]) -> Finding:
    number = str(info.get("valkey_version") or info["redis_version"])
    name = info.get("server_name", "redis")
    is_new = tuple(int(part) for part in number.split(".")[:2]) >= OLDEST_VERSION
    return Finding("ok" if is_new else "fail", "version", f"{name} {number}" + ("" if is_new else "; 7.0 is needed"))


def _check_persistence(info: dict[str, Any]) -> Finding:
    if info.get("aof_enabled"):
        return Finding("ok", "persistence", "append-only file is on")
    return Finding(
        "warn",
        "persistence",
        "append-only file is off: a crash loses the writes since the last snapshot; CONFIG SET appendonly yes",
    )


def _check_eviction(info: dict[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction" or not info.get("maxmemory"):
        return Finding("ok", "eviction", f"{policy}, maxmemory {info.get('maxmemory_human', '0B')}")
    return Finding("fail", "eviction", f"{policy} removes pending changes too: CONFIG SET maxmemory-policy noeviction")


def _check_script(client: Any, tag: str) -> Finding:
    key, value = f"{tag}:{secrets.token_hex(8)}", secrets.token_bytes(8)
    try:
        found = client.eval(_SCRIPT, 1, key, value)
        client.delete(key)
    except ResponseError as error:
        if not isinstance(translate(error, "doctor"), StoreRefusedError):
            raise
        return Finding("fail", "scripts", f"this user may not write {tag}: {error}")
    if found != value:
        return Finding("fail", "scripts", "a script did not read what it had written")
    return Finding("ok", "scripts", "written and read")


def _check_clock(client: Any) -> Finding:
    before = time.time()
    seconds, microseconds = client.time()
    skew = seconds + microseconds / 1e6 - (before + time.time()) / 2
    text = f"the server's clock is {skew:+.3f} s from this machine's"
    return Finding("ok" if abs(skew) < SKEW_SECONDS else "warn", "clock", text)
