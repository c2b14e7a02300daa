"""A region backend for dogpile.cache: ``pip install 'edge-redis[dogpile]'``.

region = make_region().configure(
    "edge_redis",
    expiration_time=3600,
    arguments={"url": "redis://store:6379/0", "namespace": "shop", "distributed_lock": True},
)
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from edge_redis._cache.arguments import NO_EXPIRY
from edge_redis._core import validation
from edge_redis._services.blocking.cache import EdgeCache
from edge_redis.errors import MissingExtraError
from edge_redis.integrations._backend import open_cache, shorten_key

try:
    from dogpile.cache.api import NO_VALUE, CacheBackend, CachedValue
except ImportError as error:
    raise MissingExtraError("this backend needs dogpile.cache: pip install 'edge-redis[dogpile]'") from error

__all__ = ["EdgeCacheBackend"]

_MISSING: Final = object()
_OWN_ARGUMENTS: Final = (
    "url",
    "client",
    "namespace",
    "redis_expiration_time",
    "distributed_lock",
    "lock_timeout",
    "lock_sleep",
)


class EdgeCacheBackend(CacheBackend):  # type: ignore[misc]  # dogpile.cache is not seen by the type checker
    """A region of dogpile.cache on an EdgeCache that all processes share.

    Values are those that EdgeCache carries; others need the region's ``serializer`` and ``deserializer``. Nothing is
    pickled unless these do. Arguments are those of EdgeCache, and:

    - ``url``: as in ``connect``; without it the variable ``EDGE_REDIS_URL``.
    - ``client``: a client, or the dotted path of a function that returns one, in place of the URL.
    - ``namespace``: "dogpile" unless given.
    - ``redis_expiration_time``: TTL in seconds; it should be longer than the region's ``expiration_time``, so that a
      stale value is there while a new one is made. Without it values stay until the cache is full.
    - ``distributed_lock``: True lets one of all processes make a value, instead of one of each.
    - ``lock_timeout``: seconds after which the lock of a process that died is free, 30 unless given.
    - ``lock_sleep``: seconds between two attempts to take a lock, 0.05 unless given.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        options = {name: value for name, value in arguments.items() if name not in _OWN_ARGUMENTS}
        namespace = arguments.get("namespace", "dogpile")
        place = arguments.get("url"), arguments.get("client")
        self.edge_cache = open_cache(*place, namespace, options)
        """The EdgeCache, for tags and other calls."""
        seconds = arguments.get("redis_expiration_time")
        self._ttl: Any = NO_EXPIRY if seconds is None else seconds
        self._locks: EdgeCache | None = None
        if arguments.get("distributed_lock"):
            self._locks = open_cache(*place, f"{namespace}-locks", {})
        self._lock_timeout = validation.check_positive("lock_timeout", arguments.get("lock_timeout") or 30.0)
        self._lock_sleep = validation.check_positive("lock_sleep", arguments.get("lock_sleep") or 0.05)

    def get_mutex(self, key: str) -> Any:
        """Return the lock of a key, None without ``distributed_lock``."""
        return self._locks and _Mutex(self._locks, shorten_key(key), self._lock_timeout, self._lock_sleep)

    def get(self, key: str) -> Any:
        """Return a value, or NO_VALUE."""
        return _decode_value(self.edge_cache.get(shorten_key(key), _MISSING))

    def get_multi(self, keys: Iterable[str]) -> Sequence[Any]:
        """Return the values of these keys in one round trip, NO_VALUE for those that do not exist."""
        names = [shorten_key(key) for key in keys]
        found = self.edge_cache.get_many(names)
        return [_decode_value(found.get(name, _MISSING)) for name in names]

    def set(self, key: str, value: Any) -> None:
        """Store a value."""
        self.edge_cache.put(shorten_key(key), _encode_value(value), self._ttl)

    def set_multi(self, mapping: Mapping[str, Any]) -> None:
        """Store several values in one round trip."""
        self.edge_cache.put_many({shorten_key(key): _encode_value(value) for key, value in mapping.items()}, self._ttl)

    def delete(self, key: str) -> None:
        """Remove a key."""
        self.edge_cache.delete(shorten_key(key))

    def delete_multi(self, keys: Iterable[str]) -> None:
        """Remove several keys in one round trip."""
        self.edge_cache.delete_many([shorten_key(key) for key in keys])


def _encode_value(value: Any) -> Any:
    """Return a value as it is stored: a pair with its metadata, or the bytes of a region's serializer."""
    return (value.payload, dict(value.metadata)) if isinstance(value, CachedValue) else value


def _decode_value(found: Any) -> Any:
    if found is _MISSING:
        return NO_VALUE
    return CachedValue(*found) if isinstance(found, tuple) else found


class _Mutex:
    """A lock that one holder of all processes has, and that is free after its timeout."""

    def __init__(self, locks: EdgeCache, key: str, timeout: float, pause: float) -> None:
        self._locks, self._key = locks, key
        self._timeout, self._pause = timeout, pause
        self._token = secrets.token_hex(8)

    def acquire(self, wait: bool = True) -> bool:  # noqa: FBT001, FBT002 -- the signature of dogpile
        """Take the lock; without ``wait`` return False where another has it."""
        while not self._locks.add(self._key, self._token, self._timeout):
            if not wait:
                return False
            time.sleep(self._pause)
        return True

    def release(self) -> None:
        """Give the lock up, unless it timed out and another has it."""
        self._locks.compare_and_delete(self._key, self._token)

    def locked(self) -> bool:
        """Return whether anyone has the lock."""
        return self._key in self._locks
