"""What the cache backends of other frameworks share: one EdgeCache for a process, keys of any length, serializers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, Protocol

from edge_redis._core import validation
from edge_redis._core.type_codec import TypeCodec
from edge_redis._io.connect import connect
from edge_redis._services.blocking.cache import EdgeCache
from edge_redis._services.options import CacheOptions
from edge_redis.errors import InvalidArgumentError

_MAX_KEY_BYTES: Final = 1024
_KEPT_CHARACTERS: Final = 200

_SAFE_TEXT_CODE: Final = 127
"""The code of text that templates need not escape."""

_caches: Final[dict[str, EdgeCache]] = {}
"""One for each set of arguments: frameworks make a backend for each thread."""

_opening: Final = threading.Lock()


class Serializer(Protocol):
    """Turns values into bytes and back, as the serializers of Django and of cachelib do."""

    def dumps(self, value: Any, /) -> Any:
        """Return a value as bytes."""

    def loads(self, data: Any, /) -> Any:
        """Return the value of bytes."""


def load_object(path: str) -> Any:
    """Return the object that a dotted path names.

    Raises:
        InvalidArgumentError: there is none.

    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidArgumentError(f"there is no object {path!r}: {error}") from error


def open_cache(url: str | None, client: Any, namespace: str, options: Mapping[str, Any]) -> EdgeCache:
    """Return this process's cache for these arguments, made at their first use.

    Args:
        url: of the server; None: the variable ``EDGE_REDIS_URL``, else localhost.
        client: a client, a function that returns one, or the dotted path of one, in place of ``url``.
        namespace: of the cache.
        options: further arguments of EdgeCache.

    Raises:
        InvalidArgumentError, InvalidTypeError: one cannot be used.

    """
    unknown = sorted(set(options) - set(CacheOptions.__annotations__))
    if unknown:
        raise InvalidArgumentError(f"EdgeCache has no option {unknown[0]!r}")
    found = load_object(client) if isinstance(client, str) else client
    name = repr((url, client if isinstance(client, str) else id(found), namespace, sorted(options.items(), key=repr)))
    with _opening:
        cache = _caches.get(name)
        if cache is None:
            made = connect(url) if found is None else found() if callable(found) else found
            cache = _caches[name] = EdgeCache(made, namespace=namespace, **options)
        return cache


def shorten_key(key: str) -> str:
    """Return a key that a cache takes: a long one is cut, and ends with its digest."""
    validation.check_instance("key", key, str)
    if len(key) <= _KEPT_CHARACTERS or len(key.encode(errors="surrogatepass")) <= _MAX_KEY_BYTES:
        return key or "\0"
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    return f"{key[:_KEPT_CHARACTERS]}:{digest}"


def add_safe_text_codec(options: Mapping[str, Any], kind: type[str]) -> dict[str, Any]:
    """Return the options of a cache that also carries a framework's type of text that is not escaped again."""
    codec = TypeCodec(_SAFE_TEXT_CODE, _to_plain_text, kind)
    return {**options, "codec": {kind: codec, **(options.get("codec") or {})}}


def _to_plain_text(text: str) -> str:
    return str.__str__(text)


class Values:
    """Values as they are stored: as they are, or what a serializer of the user's makes of them."""

    def __init__(self, serializer: Serializer | Callable[[], Serializer] | str | None) -> None:
        found: Any = load_object(serializer) if isinstance(serializer, str) else serializer
        self._serializer: Any = found() if isinstance(found, type) else found

    def encode(self, value: Any) -> Any:
        """Return what is stored. An int stays one, so that it can be counted up."""
        return value if self._serializer is None or type(value) is int else self._serializer.dumps(value)

    def decode(self, stored: Any) -> Any:
        """Return the value of what is stored."""
        return stored if self._serializer is None or type(stored) is int else self._serializer.loads(stored)
