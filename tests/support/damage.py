"""Damage to the keys of services: flipped bits, truncated, empty and random bytes, and values of another type."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

NUMBERS: Final = (b"-1", b"0", b"nan", b"inf", b"1e400", b"9" * 400, b"1.5", b"0x10", b" 7 ", b"18446744073709551616")
SCORES: Final = (float("inf"), float("-inf"), -1.0, 1e300, 0.5)


def damage_bytes(value: bytes, choose: random.Random) -> bytes:
    """Return other bytes than ``value``."""
    kind = 4 if value.isdigit() and choose.random() < 0.5 else choose.randrange(6)
    if kind == 0 and value:
        at = choose.randrange(len(value))
        return value[:at] + bytes([value[at] ^ 1 << choose.randrange(8)]) + value[at + 1 :]
    if kind == 1 and len(value) > 1:
        return value[: choose.randrange(1, len(value))]
    if kind == 2:
        return b""
    if kind == 3:
        return choose.randbytes(choose.randrange(1, 30))
    if kind == 4:
        return choose.choice(NUMBERS)
    return value + choose.randbytes(3)


def _damage_string(client: Any, key: bytes, choose: random.Random) -> None:
    client.set(key, damage_bytes(client.get(key), choose), keepttl=True)


def _damage_hash(client: Any, key: bytes, choose: random.Random) -> None:
    field, value = choose.choice(sorted(client.hgetall(key).items()))
    kind = choose.randrange(4)
    if kind == 0:
        client.hset(key, choose.randbytes(5), value)
        client.hdel(key, field)
    elif kind == 1:
        client.hset(key, "_", "_")  # so that the hash remains
        client.hdel(key, field)
    else:
        client.hset(key, field, damage_bytes(value, choose))


def _damage_list(client: Any, key: bytes, choose: random.Random) -> None:
    at = choose.randrange(client.llen(key))
    client.lset(key, at, damage_bytes(client.lindex(key, at), choose))


def _damage_set(client: Any, key: bytes, choose: random.Random) -> None:
    member = choose.choice(sorted(client.smembers(key)))
    client.srem(key, member)
    client.sadd(key, damage_bytes(member, choose))


def _damage_sorted_set(client: Any, key: bytes, choose: random.Random) -> None:
    member, score = choose.choice(client.zrange(key, 0, -1, withscores=True))
    if choose.random() < 0.5:
        client.zadd(key, {member: choose.choice(SCORES)})
    else:
        client.zrem(key, member)
        client.zadd(key, {damage_bytes(member, choose): score})


def _damage_stream(client: Any, key: bytes, choose: random.Random) -> None:
    """Damage one field of one entry. Consumer groups begin again."""
    entries = client.xrange(key)
    groups = [group["name"] for group in client.xinfo_groups(key)]
    at = choose.randrange(len(entries))
    place, fields = entries[at]
    name = choose.choice(sorted(fields))
    damaged = dict(fields)
    if choose.random() < 0.2 and len(fields) > 1:
        del damaged[name]
    else:
        damaged[name] = damage_bytes(fields[name], choose)
    entries[at] = (place, damaged)
    client.delete(key)
    for each, values in entries:
        client.xadd(key, values, id=each)
    for group in groups:
        client.xgroup_create(key, group, id="0")


def _change_type(client: Any, key: bytes, choose: random.Random) -> None:
    kind = client.type(key)
    client.delete(key)
    others: Sequence[tuple[bytes, Callable[[], object]]] = [
        (b"string", lambda: client.set(key, b"x")),
        (b"list", lambda: client.rpush(key, b"x", b"y")),
        (b"hash", lambda: client.hset(key, "x", "y")),
        (b"zset", lambda: client.zadd(key, {"x": 1.0})),
        (b"set", lambda: client.sadd(key, "x")),
        (b"stream", lambda: client.xadd(key, {"x": "y"})),
    ]
    choose.choice([make for other, make in others if other != kind])()


_DAMAGES: Final[dict[bytes, Callable[[Any, bytes, random.Random], None]]] = {
    b"string": _damage_string,
    b"hash": _damage_hash,
    b"list": _damage_list,
    b"set": _damage_set,
    b"zset": _damage_sorted_set,
    b"stream": _damage_stream,
}


def damage_key(client: Any, key: bytes, choose: random.Random) -> None:
    """Damage a key in one of the ways that its type has, or give it another type."""
    if choose.random() < 0.2:
        _change_type(client, key, choose)
    else:
        _DAMAGES[client.type(key)](client, key, choose)


def describe_key(client: Any, key: bytes) -> str:
    """Return the type and the contents of a key, for a failure's message."""
    readers: dict[bytes, Callable[[], object]] = {
        b"string": lambda: client.get(key),
        b"hash": lambda: client.hgetall(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1, withscores=True),
        b"stream": lambda: client.xrange(key),
    }
    kind = client.type(key)
    return f"{key!r} ({kind.decode()}) = {readers[kind]() if kind in readers else None!r}"[:1500]
