"""A cache backend for Django: ``pip install 'edge-redis[django]'``.

CACHES = {
    "default": {
        "BACKEND": "edge_redis.integrations.django.EdgeCacheBackend",
        "LOCATION": "redis://store:6379/0",
        "OPTIONS": {"namespace": "shop", "max_size": 10_000, "on_error": "miss"},
    }
}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from edge_redis._cache.arguments import NO_EXPIRY, Ttl
from edge_redis._services.blocking.cache import EdgeCache
from edge_redis.errors import ComputeFailedError, InvalidArgumentError, MissingExtraError
from edge_redis.integrations._backend import Values, add_safe_text_codec, open_cache, shorten_key

try:
    from asgiref.sync import sync_to_async
    from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
    from django.utils.safestring import SafeString
except ImportError as error:
    raise MissingExtraError("this backend needs Django: pip install 'edge-redis[django]'") from error

__all__ = ["EdgeCacheBackend"]

_MISSING: Final = object()
_AN_INSTANT: Final = 0.001
_MAX_SIZE: Final = 10_000
_OWN_OPTIONS: Final = ("namespace", "client", "serializer", "MAX_ENTRIES", "CULL_FREQUENCY")


class EdgeCacheBackend(BaseCache):  # type: ignore[misc]  # Django has no types
    """Django's cache on an EdgeCache that all processes share.

    Beyond Django's own backends: ``incr`` and ``decr`` are atomic and keep the timeout; ``get_or_set`` with a function
    calls it in one process at a time; the bound of the cache holds however many processes write.

    ``LOCATION`` is a URL as in ``connect``; empty: the variable ``EDGE_REDIS_URL``. ``OPTIONS`` are the arguments of
    EdgeCache, and:

    - ``namespace``: "django" unless given. All that ``clear`` removes.
    - ``client``: a client, or the dotted path of a function that returns one, in place of the location.
    - ``serializer``: a dotted path, class or object with ``dumps`` and ``loads``, for values that EdgeCache does not
      carry. Nothing is pickled unless this serializer does.

    """

    def __init__(self, location: str | list[str], params: dict[str, Any]) -> None:
        super().__init__(params)
        if not isinstance(location, str):
            raise InvalidArgumentError("LOCATION names several servers: give one URL, or that of a cluster")
        options = dict(params.get("OPTIONS", {}))
        self._values = Values(options.get("serializer"))
        size = options.get("MAX_ENTRIES", params.get("max_entries", _MAX_SIZE))
        self._arguments: tuple[str | None, Any, str, dict[str, Any]] = (
            location or None,
            options.get("client"),
            options.get("namespace", "django"),
            add_safe_text_codec(
                {"max_size": size} | {name: value for name, value in options.items() if name not in _OWN_OPTIONS},
                SafeString,
            ),
        )
        self._opened: EdgeCache | None = None

    @property
    def edge_cache(self) -> EdgeCache:
        """The EdgeCache, for tags and other calls that Django has no words for. ``make_key`` returns its keys."""
        if self._opened is None:  # opened late: Django makes backends that are never used
            self._opened = open_cache(*self._arguments)
        return self._opened

    def _key(self, key: Any, version: int | None) -> str:
        return shorten_key(self.make_and_validate_key(key, version=version))

    def _ttl(self, timeout: Any) -> Ttl:
        """Return a timeout as a TTL; 0.0 or less means that nothing is stored."""
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return NO_EXPIRY if seconds is None else cast("Ttl", max(0, seconds))

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Store a value where there is none; return whether it was stored."""
        name, ttl = self._key(key, version), self._ttl(timeout)
        was_added = self.edge_cache.add(name, self._values.encode(value), ttl or _AN_INSTANT)
        if was_added and not ttl:
            self.edge_cache.delete(name)
        return was_added

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return a value, or ``default`` if there is none."""
        found = self.edge_cache.get(self._key(key, version), _MISSING)
        return default if found is _MISSING else self._values.decode(found)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Store a value."""
        self.set_many({key: value}, timeout, version)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Set a new timeout; return whether the key exists."""
        ttl = self._ttl(timeout)
        return self.edge_cache.touch(self._key(key, version), ttl) if ttl else self.delete(key, version)

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Remove a key; return whether it existed."""
        return self.edge_cache.delete(self._key(key, version))

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """Return the values of the keys that exist, in one round trip."""
        names = {self._key(key, version): key for key in keys}
        found = self.edge_cache.get_many(names)
        return {names[name]: self._values.decode(value) for name, value in found.items()}

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """Store several values in one round trip; return the keys that failed, which are none."""
        ttl = self._ttl(timeout)
        if ttl:
            encoded = {self._key(key, version): self._values.encode(value) for key, value in data.items()}
            self.edge_cache.put_many(encoded, ttl)
        else:
            self.delete_many(data, version)
        return []

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Remove several keys in one round trip."""
        self.edge_cache.delete_many([self._key(key, version) for key in keys])

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Return whether a key exists."""
        return self._key(key, version) in self.edge_cache

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to an int atomically; its timeout stays.

        Raises:
            ValueError: there is no such key.

        """
        name = self._key(key, version)
        if name not in self.edge_cache:
            raise ValueError(f"Key {key!r} not found")
        return self.edge_cache.incr(name, delta, _AN_INSTANT)  # a key that expires just now is not made anew for long

    def get_or_set(self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> Any:
        """Return a value, or store ``default``; a function is called by one of all processes that ask at once."""
        ttl = self._ttl(timeout)
        if not callable(default) or not ttl:
            return super().get_or_set(key, default, timeout, version)
        compute: Callable[[], Any] = default

        def compute_encoded() -> Any:
            return self._values.encode(compute())

        try:
            found = self.edge_cache.get_or_compute(self._key(key, version), compute_encoded, ttl)
        except ComputeFailedError:  # in another process or thread, which has its error
            return compute()
        return self._values.decode(found)

    def clear(self) -> None:
        """Remove everything in the namespace."""
        self.edge_cache.clear()

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> Any:
        """Return the values of the keys that exist, in one round trip."""
        return await sync_to_async(self.get_many)(keys, version)

    async def aset_many(
        self,
        data: Mapping[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,  # noqa: ASYNC109 -- Django's signature
        version: int | None = None,
    ) -> Any:
        """Store several values in one round trip."""
        return await sync_to_async(self.set_many)(data, timeout, version)

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Remove several keys in one round trip."""
        await sync_to_async(self.delete_many)(keys, version)

    async def ahas_key(self, key: Any, version: int | None = None) -> Any:
        """Return whether a key exists."""
        return await sync_to_async(self.has_key)(key, version)

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> Any:
        """Add to an int atomically; its timeout stays."""
        return await sync_to_async(self.incr)(key, delta, version)
