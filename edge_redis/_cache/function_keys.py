"""Keys of the results of decorated functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, Final, TypeAlias, TypeVar, cast

from edge_redis._core import validation
from edge_redis._core.codec import DEFAULT, Codec
from edge_redis.errors import InvalidArgumentError, InvalidTypeError, UnsupportedTypeError

KeyOf: TypeAlias = str | Callable[..., str] | None
"""The ``key`` of a decorator: the beginning of every key, a function of the arguments, or None."""

F = TypeVar("F", bound=Callable[..., Any])

_HINT: Final = "pass key= to cached(): a name, or a function of the arguments"


def check_key(key: object) -> None:
    """Check the ``key`` of a decorator.

    Raises:
        InvalidTypeError: it is neither None, a str nor a function.
        InvalidKeyError: it is a str that cannot be a key.

    """
    if isinstance(key, str):
        validation.check_identifier("key", key)
    elif key is not None and not callable(key):
        raise validation.type_error("key", key, "a str, a function or None")


def require_parentheses(cached: F) -> F:
    """Have ``cached`` refuse to decorate without parentheses, where it would take the function for a TTL.

    A lambda cannot be decorated, so one that is given alone is a function for the TTL.
    """

    @wraps(cached)
    def call(*args: Any, **options: Any) -> Any:
        _cache, *given = args
        if len(given) == 1 and not options and callable(given[0]) and getattr(given[0], "__name__", "") != "<lambda>":
            raise InvalidTypeError(
                "the decorator needs parentheses: @cache.cached(); a function for the TTL is given as ttl="
            )
        return cached(*args, **options)

    return cast("F", call)


class FunctionKeys:
    """The keys under which the results of one function are cached.

    A ``key`` that is a function is called with the same arguments. Otherwise a key begins with ``key``,
    or with the function's full name, followed by a digest of the arguments if there are any. Equal
    arguments give equal keys, however they are passed.

    Raises:
        InvalidTypeError: ``function`` is none, or of a kind whose results cannot be cached.
        InvalidArgumentError: without ``key``, other functions may have the same name.

    """

    def __init__(self, function: Callable[..., Any], key: KeyOf, codec: Codec = DEFAULT) -> None:
        self._codec = codec
        _check_kind(function)
        self._make = key if callable(key) else None
        self._signature = _find_signature(function)
        if self._make is None:
            _check_method(function, self._signature)
            self._name = key if isinstance(key, str) else _full_name(function)

    def key(self, *args: Any, **kwargs: Any) -> str:
        """Return the key of ``function(*args, **kwargs)``."""
        if self._make is not None:
            return self._make(*args, **kwargs)
        if self._signature is None:
            return self._digest({str(place): value for place, value in enumerate(args)} | kwargs, args, kwargs)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return self._digest(bound.arguments, bound.args, bound.kwargs)

    def _digest(self, named: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        if not named:
            return self._name
        try:
            return f"{self._name}:{self._codec.checksum([list(args), dict(kwargs)])}"
        except (UnsupportedTypeError, InvalidArgumentError) as error:
            raise self._argument_error(named, error) from error

    def _argument_error(self, named: Mapping[str, Any], error: Exception) -> Exception:
        for name, value in named.items():
            try:
                self._codec.checksum(value)
            except (UnsupportedTypeError, InvalidArgumentError) as cause:
                return type(cause)(f"no key can be made of argument {name!r} of {self._name}: {cause}; {_HINT}")
        return error


def _check_kind(function: Any) -> None:
    if isinstance(function, (classmethod, staticmethod)):
        kind = type(function).__name__
        raise InvalidTypeError(f"cached() cannot decorate a {kind}: put @{kind} above it")
    validation.check_callable("function", function)
    inner = function
    while isinstance(inner, partial):
        inner = inner.func
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise InvalidTypeError(f"cached() cannot decorate the generator function {inner.__qualname__}: return a list")


def _find_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):  # some functions written in C have none
        return None


def _check_method(function: Callable[..., Any], signature: inspect.Signature | None) -> None:
    """Refuse a method, whose object is no part of a digest."""
    first = next(iter(signature.parameters), None) if signature is not None else None
    if first in ("self", "cls"):
        name = getattr(function, "__qualname__", repr(function))
        raise InvalidArgumentError(
            f"{name} seems to be a method, and no key can be made of {first!r}: pass key= to cached(), a function of"
            f" the arguments such as lambda {first}, ...: f'...'"
        )


def _full_name(function: Callable[..., Any]) -> str:
    """Return the module and qualified name of a function, where no other function has them by accident."""
    named: Any = function if hasattr(function, "__qualname__") else inspect.unwrap(function)
    name, module = getattr(named, "__qualname__", None), getattr(named, "__module__", None)
    if name is None:
        raise InvalidArgumentError(f"{function!r} has no name to make keys of: {_HINT}")
    if "<lambda>" in name or "<locals>" in name:
        raise InvalidArgumentError(f"other functions may also be named {name}, and would share its entries: {_HINT}")
    if module == "__main__":
        raise InvalidArgumentError(
            f"every script's module is named __main__, so {name} of another script would share its entries: {_HINT}"
        )
    return f"{module}.{name}"
