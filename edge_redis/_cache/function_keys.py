"""Keys for the results of functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_redis._core import codec, validation

KeyOf = str | Callable[..., str] | None


def result_key(function: Callable[..., Any], key: KeyOf, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return the key under which ``function(*args, **kwargs)`` is cached.

    A ``key`` that is a function makes it of the same arguments. Else it begins with ``key``, or
    with the function's full name, and a digest of the arguments follows where there are any:
    however they are passed, equal arguments give equal keys.
    """
    if key is not None and not isinstance(key, str):
        return key(*args, **kwargs)
    name = f"{function.__module__}.{function.__qualname__}" if key is None else key
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    if not bound.arguments:
        return name
    return f"{name}:{codec.checksum([list(bound.args), bound.kwargs])}"


def check_key(key: object) -> None:
    """Check the ``key`` of a decorator.

    Raises:
        InvalidTypeError: it is neither None, a str nor a function.
        InvalidKeyError: it is a str that cannot be a key.

    """
    if isinstance(key, str):
        validation.identifier("key", key)
    elif key is not None and not callable(key):
        raise validation.type_error("key", key, "a str, a function or None")
