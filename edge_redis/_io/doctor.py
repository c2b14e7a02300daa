"""Whether a server is fit for use: what it is, whether it keeps what it is given, whether clocks agree."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from edge_redis._io.connect import connect
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate

Level: TypeAlias = Literal["ok", "warn", "fail"]

OLDEST_VERSION: Final = (6, 2)
SKEW_SECONDS: Final = 1.0
_SCRIPT: Final = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', 1000) and redis.call('GET', KEYS[1])"


class Finding(NamedTuple):
    """One thing looked at. ``fail`` must be changed before use, ``warn`` should be known."""

    level: Level
    topic: str
    text: str


def examine(url: str | None = None) -> list[Finding]:
    """Look at a server; nothing is left on it.

    Raises:
        InvalidArgumentError: a URL that cannot be used.
        StoreError: the server cannot be reached, or refuses.

    """
    with connect(url) as client:
        return examine_client(client)


def examine_client(client: Any) -> list[Finding]:
    """Check the server of a client, as ``examine`` does.

    Raises:
        StoreError: the server cannot be reached, or refuses.

    """
    try:
        return list(_findings(client))
    except LIBRARY_ERRORS as error:
        raise translate(error, "doctor") from error


def _findings(client: Any) -> Iterator[Finding]:
    begun = time.perf_counter()
    client.ping()
    yield Finding("ok", "ping", f"{(time.perf_counter() - begun) * 1000:.2f} ms")
    info = client.info()
    yield _version(info)
    yield _persistence(info)
    yield _eviction(info)
    yield _script(client)
    yield _clock(client)


def _version(info: dict[str, Any]) -> Finding:
    number = str(info.get("valkey_version") or info["redis_version"])
    name = info.get("server_name", "redis")
    is_new = tuple(int(part) for part in number.split(".")[:2]) >= OLDEST_VERSION
    return Finding("ok" if is_new else "fail", "version", f"{name} {number}" + ("" if is_new else "; 6.2 is needed"))


def _persistence(info: dict[str, Any]) -> Finding:
    if info.get("aof_enabled"):
        return Finding("ok", "persistence", "append-only file is on")
    return Finding(
        "warn", "persistence", "append-only file is off: what a crash takes is gone; CONFIG SET appendonly yes"
    )


def _eviction(info: dict[str, Any]) -> Finding:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction" or not info.get("maxmemory"):
        return Finding("ok", "eviction", f"{policy}, maxmemory {info.get('maxmemory_human', '0B')}")
    return Finding("fail", "eviction", f"{policy} removes pending changes too: CONFIG SET maxmemory-policy noeviction")


def _script(client: Any) -> Finding:
    key, value = f"er:{{doctor}}:{secrets.token_hex(8)}", secrets.token_bytes(8)
    found = client.eval(_SCRIPT, 1, key, value)
    client.delete(key)
    if found != value:
        return Finding("fail", "scripts", "a script did not read what it had written")
    return Finding("ok", "scripts", "written and read")


def _clock(client: Any) -> Finding:
    before = time.time()
    seconds, microseconds = client.time()
    skew = seconds + microseconds / 1e6 - (before + time.time()) / 2
    text = f"the server's is {skew:+.3f} s from this machine's"
    return Finding("ok" if abs(skew) < SKEW_SECONDS else "warn", "clock", text)
