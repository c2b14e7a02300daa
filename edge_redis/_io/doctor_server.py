"""The checks of one server: its version, persistence, memory, replication, this user's rights, its clock."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from redis.exceptions import ResponseError

from edge_redis._io.doctor_finding import Finding
from edge_redis._io.doctor_nodes import Node
from edge_redis._io.error_mapping import translate
from edge_redis.errors import StoreRefusedError

OLDEST_VERSION: Final = (7, 0)
SKEW_SECONDS: Final = 1.0
NEARLY_FULL: Final = 0.9
_SCRIPT: Final = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', 1000) and redis.call('GET', KEYS[1])"


def check_server(node: Node, check_rights: Callable[[Node], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of one server, of which nothing is left on it."""
    begun = time.perf_counter()
    node.client.ping()
    yield Finding("ok", "ping", f"{(time.perf_counter() - begun) * 1000:.2f} ms")
    try:
        info = node.client.info()
    except ResponseError as error:
        yield Finding("warn", "info", f"this user may not run INFO, so less can be checked: {error}")
    else:
        mistaken = _check_mode(node, info)
        if mistaken is not None:
            yield mistaken
            return
        yield _check_version(info)
        yield _check_persistence(node.client, info)
        yield _check_eviction(info)
        yield from _check_limits(info)
        yield from _check_replication(node, info)
        if node.kind == "single" and info.get("role") == "slave":
            return
    if node.tag is not None and node.kind != "replica":
        yield _check_script(node.client, node.tag)
    yield from check_rights(node)
    yield _check_clock(node.client)


def _check_mode(node: Node, info: dict[str, Any]) -> Finding | None:
    mode = info.get("redis_mode") or info.get("server_mode")
    if mode == "sentinel":
        text = "this is a Sentinel: name its service, as in redis+sentinel://host:26379/service"
        return Finding("fail", "mode", text)
    if mode == "cluster" and node.kind == "single":
        return Finding("fail", "mode", "this server is one of a cluster: begin the URL with redis+cluster://")
    return None


def _check_version(info: dict[str, Any]) -> Finding:
    number = str(info.get("valkey_version") or info["redis_version"])
    name = info.get("server_name", "redis")
    is_new = tuple(int(part) for part in number.split(".")[:2]) >= OLDEST_VERSION
    return Finding("ok" if is_new else "fail", "version", f"{name} {number}" + ("" if is_new else "; 7.0 is needed"))


def _check_persistence(client: Any, info: dict[str, Any]) -> Finding:
    for field, name in (
        ("rdb_last_bgsave_status", "snapshot"),
        ("aof_last_write_status", "write to the append-only file"),
        ("aof_last_bgrewrite_status", "rewrite of the append-only file"),
    ):
        if info.get(field, "ok") != "ok":
            text = f"the last {name} failed, and the server may refuse writes: see its log, and the space on its disk"
            return Finding("fail", "persistence", text)
    if not info.get("aof_enabled"):
        return Finding(
            "warn",
            "persistence",
            "append-only file is off: a crash loses the writes since the last snapshot; CONFIG SET appendonly yes",
        )
    if _read_setting(client, "appendfsync") == "no":
        return Finding(
            "warn",
            "persistence",
            "appendfsync is no: when the machine fails, writes of up to 30 s are lost; CONFIG SET appendfsync everysec",
        )
    return Finding("ok", "persistence", "append-only file is on")


def _check_eviction(info: dict[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction" or not info.get("maxmemory"):
        return Finding("ok", "eviction", f"{policy}, maxmemory {info.get('maxmemory_human', '0B')}")
    return Finding("fail", "eviction", f"{policy} removes pending changes too: CONFIG SET maxmemory-policy noeviction")


def _check_limits(info: dict[str, Any]) -> Iterator[Finding]:
    used, limit = info.get("used_memory", 0), info.get("maxmemory", 0)
    text = f"{info.get('used_memory_human', '?')} in use" + (f" of {info.get('maxmemory_human')}" if limit else "")
    if limit and used >= NEARLY_FULL * limit:
        yield Finding("warn", "memory", f"{text}: writes will be refused; raise maxmemory, or store less")
    else:
        yield Finding("ok", "memory", text)
    connected = info.get("connected_clients", 0) + info.get("cluster_connections", 0)  # both count
    most = info.get("maxclients", 0)
    if most and connected >= NEARLY_FULL * most:
        text = f"{connected:,} of {most:,}: others will be refused; CONFIG SET maxclients, or bound max_connections"
        yield Finding("warn", "connections", text)
    else:
        yield Finding("ok", "connections", f"{connected:,}" + (f" of {most:,}" if most else ""))


def _check_replication(node: Node, info: dict[str, Any]) -> Iterator[Finding]:
    if info.get("role") == "slave":
        yield _check_replica(node, info)
    else:
        yield from _check_master(node.client, info)


def _check_replica(node: Node, info: dict[str, Any]) -> Finding:
    master = f"{info.get('master_host')}:{info.get('master_port')}"
    if node.kind == "single":
        text = f"this is a replica of {master}, and refuses writes: name its master, or the Sentinels, in the URL"
        return Finding("fail", "replication", text)
    if info.get("master_link_status") != "up":
        text = f"no connection to its master {master} for {info.get('master_link_down_since_seconds', 0)} s"
        return Finding("fail", "replication", f"{text}: a failover to it loses what was written since")
    return Finding("ok", "replication", f"replica of {master}")


def _check_master(client: Any, info: dict[str, Any]) -> Iterator[Finding]:
    """Check whether a failover can lose acknowledged writes, since replication is asynchronous."""
    count = int(info.get("connected_slaves", 0))
    replicas = [each for number in range(count) if isinstance(each := info.get(f"slave{number}"), dict)]
    for each in replicas:
        if each.get("state") != "online":
            text = f"its replica {each.get('ip')}:{each.get('port')} is not up to date: {each.get('state')}"
            yield Finding("warn", "replication", text)
    if not count:
        yield Finding("ok", "replication", f"{info.get('role', 'unknown role')} with 0 replicas")
        return
    least = _read_setting(client, "min-replicas-to-write")
    if least is None:
        text = "this user may not read min-replicas-to-write, which should be 1 or more"
        yield Finding("warn", "replication", text)
    elif int(least):
        yield Finding("ok", "replication", f"min-replicas-to-write {least}, {count} replicas")
    else:
        yield Finding(
            "warn",
            "replication",
            "min-replicas-to-write is 0: a master that was cut off acknowledges writes that the failover throws away;"
            " CONFIG SET min-replicas-to-write 1",
        )


def _read_setting(client: Any, name: str) -> str | None:
    """Return a setting of the server; None where the user may not read it."""
    try:
        return str(client.config_get(name)[name])
    except (ResponseError, KeyError):
        return None


def _check_script(client: Any, tag: str) -> Finding:
    key, value = f"{tag}:{secrets.token_hex(8)}", secrets.token_bytes(8)
    try:
        found = client.eval(_SCRIPT, 1, key, value)
        client.delete(key)
    except ResponseError as error:
        refused = isinstance(translate(error, "doctor"), StoreRefusedError)
        return Finding("fail", "scripts", f"{f'this user may not write {tag}' if refused else 'writes fail'}: {error}")
    if found != value:
        return Finding("fail", "scripts", "a script did not read what it had written")
    return Finding("ok", "scripts", "written and read")


def _check_clock(client: Any) -> Finding:
    before = time.time()
    seconds, microseconds = client.time()
    skew = seconds + microseconds / 1e6 - (before + time.time()) / 2
    text = f"the server's clock is {skew:+.3f} s from this machine's"
    return Finding("ok" if abs(skew) < SKEW_SECONDS else "warn", "clock", text)
