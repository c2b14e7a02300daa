"""What the tests of the cache share: a look at the keys themselves, and a check that they agree."""

from __future__ import annotations

from typing import Any

TAG = "er:{default:cache0}"
EXPIRY, COUNTS, STATS = f"{TAG}:expiry", f"{TAG}:counts", f"{TAG}:stats"
GENERATIONS = 1 << 33


def value_key(key: str) -> str:
    return f"{TAG}:v:{key}"


def stored(client: Any) -> set[str]:
    """The entries that have a value."""
    prefix = value_key("")
    return {key.decode().removeprefix(prefix) for key in client.scan_iter(match=f"{prefix}*", count=1000)}


def rows(client: Any, index: str) -> set[str]:
    return {member.decode() for member in client.zrange(index, 0, -1)}


def assert_index_is_exact(client: Any, expected: set[str] | None = None) -> None:
    """Both indexes have a row for each value and for nothing else."""
    values = stored(client)
    assert rows(client, EXPIRY) == values
    assert rows(client, COUNTS) == values
    if expected is not None:
        assert values == expected


def nothing_short_is_left(client: Any, cache: Any) -> bool:
    """Purge the cache; return whether no entry ends within ten seconds, so that none ends while a test looks."""
    cache.purge_expired()
    return not client.zcount(EXPIRY, "-inf", client.time()[0] * 1000 + 10_000)


def expire(client: Any, keys: set[str]) -> None:
    """Let the time of entries pass: Redis has removed the values, their rows are due."""
    past = client.time()[0] * 1000 - 1000
    client.zadd(EXPIRY, dict.fromkeys(keys, past), xx=True)
    client.delete(*map(value_key, keys))


def snapshot(client: Any) -> dict[bytes, Any]:
    """Every key of the server with all it holds, without what time alone changes."""
    readers = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    return {key: readers[client.type(key)](key) for key in client.scan_iter()}
