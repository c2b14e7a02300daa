"""A cache backend for Flask-Caching: ``pip install 'edge-redis[flask-caching]'``.

app.config.update(
    CACHE_TYPE="edge_redis.integrations.flask_caching.EdgeCacheBackend",
    CACHE_REDIS_URL="redis://store:6379/0",
    CACHE_OPTIONS={"namespace": "shop", "max_size": 10_000, "on_error": "miss"},
)
"""

from __future__ import annotations

from typing import Any, Final, Self

from edge_redis._cache.arguments import NO_EXPIRY, Ttl
from edge_redis.errors import MissingExtraError, StoreError
from edge_redis.integrations._backend import Serializer, Values, add_safe_text_codec, open_cache, shorten_key

try:
    from flask_caching.backends.base import BaseCache
    from markupsafe import Markup
except ImportError as error:
    raise MissingExtraError("this backend needs Flask-Caching: pip install 'edge-redis[flask-caching]'") from error

__all__ = ["EdgeCacheBackend"]

_MISSING: Final = object()
_OF_BASE: Final = ("default_timeout", "ignore_delete_many_errors")


class EdgeCacheBackend(BaseCache):
    """The cache of Flask-Caching, and of cachelib, on an EdgeCache that all processes share.

    ``add``, ``inc`` and ``dec`` are atomic. A timeout of 0 means never, as everywhere in cachelib.

    Args:
        url: of the server, as in ``connect``; None: the variable ``EDGE_REDIS_URL``. Flask's ``CACHE_REDIS_URL``.
        default_timeout: in seconds. Flask's ``CACHE_DEFAULT_TIMEOUT``.
        key_prefix: of all keys; ``clear`` removes these alone. Flask's ``CACHE_KEY_PREFIX``.
        namespace: of the EdgeCache.
        client: a client, or the dotted path of a function that returns one, in place of the URL.
        serializer: an object with ``dumps`` and ``loads``, for values that EdgeCache does not carry. Nothing is pickled
            unless it does.
        ignore_delete_many_errors: as in cachelib.
        options: further arguments of EdgeCache.

    """

    def __init__(
        self,
        url: str | None = None,
        *,
        default_timeout: int = 300,
        key_prefix: str = "",
        namespace: str = "flask",
        client: Any = None,
        serializer: Serializer | str | None = None,
        ignore_delete_many_errors: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        self.key_prefix = key_prefix
        self._values = Values(serializer)
        self.edge_cache = open_cache(url, client, namespace, add_safe_text_codec(options, Markup))
        """The EdgeCache, for tags and other calls."""

    @classmethod
    def factory(cls, app: Any, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]) -> Self:
        """Return the backend that the configuration of a Flask application describes."""
        del app
        given = {"url": config.get("CACHE_REDIS_URL"), "key_prefix": config.get("CACHE_KEY_PREFIX") or "", **kwargs}
        if config.get("CACHE_SERIALIZER") is not None:
            given.setdefault("serializer", config["CACHE_SERIALIZER"])
        given.setdefault("max_size", config.get("CACHE_THRESHOLD", 500))
        return cls(*args, **given)

    def _key(self, key: str) -> str:
        return shorten_key(f"{self.key_prefix}{key}")

    def _ttl(self, timeout: Any) -> Ttl:
        """Return a timeout as a TTL; 0 means never, and less that the entry has expired."""
        seconds = self._normalize_timeout(timeout)
        return NO_EXPIRY if seconds == 0 else float(seconds)

    def get(self, key: str) -> Any:
        """Return a value, or None if there is none."""
        found = self.edge_cache.get(self._key(key), _MISSING)
        return None if found is _MISSING else self._values.decode(found)

    def get_many(self, *keys: str) -> list[Any]:
        """Return the values of these keys in one round trip, None for those that do not exist."""
        names = [self._key(key) for key in keys]
        found = self.edge_cache.get_many(names)
        return [self._values.decode(found[name]) if name in found else None for name in names]

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value; return whether the server took it."""
        return bool(self.set_many({key: value}, timeout))

    def set_many(self, mapping: dict[str, Any], timeout: Any = None) -> list[Any]:
        """Store several values in one round trip; return their keys, or none where the server cannot be reached."""
        encoded = {self._key(key): self._values.encode(value) for key, value in mapping.items()}
        ttl = self._ttl(timeout)
        if isinstance(ttl, float) and ttl < 0:
            self.edge_cache.delete_many(encoded)
            return list(mapping)
        try:
            self.edge_cache.put_many(encoded, ttl)
        except StoreError:
            return []
        return list(mapping)

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value where there is none; return whether it was stored."""
        try:
            return self.edge_cache.add(self._key(key), self._values.encode(value), self._ttl(timeout))
        except StoreError:
            return False

    def delete(self, key: str) -> bool:
        """Remove a key; return whether it existed."""
        return self.edge_cache.delete(self._key(key))

    def delete_many(self, *keys: str) -> list[Any]:
        """Remove several keys in one round trip; return them."""
        self.edge_cache.delete_many([self._key(key) for key in keys])
        return list(keys)

    def unlink(self, *keys: str) -> list[Any]:
        """Remove several keys."""
        return self.delete_many(*keys)

    def has(self, key: str) -> bool:
        """Return whether a key exists."""
        return self._key(key) in self.edge_cache

    def clear(self) -> bool:
        """Remove everything under the prefix, or in the namespace where there is no prefix."""
        if self.key_prefix:
            self.edge_cache.invalidate_prefix(self.key_prefix)
        else:
            self.edge_cache.clear()
        return True

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add to an int atomically, from 0 where there is none; return it, or None where the value is another."""
        try:
            return self.edge_cache.incr(self._key(key), delta, self._ttl(None))
        except (StoreError, TypeError):
            return None

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Subtract from an int atomically, as ``inc`` adds."""
        return self.inc(key, -delta)
