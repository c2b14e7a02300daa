"""Makes a service's method of a room's operation or flow: one definition, two APIs.

    class EdgeCache(Service[Cache]):
        delete = blocking(Cache.delete)

has the signature, the documentation and the result of ``Cache.delete`` for type checkers,
``help()`` and editors alike; ``awaited`` gives the same as a coroutine function.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, overload

from edge_redis.errors import ServiceClosedError

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_STEPS: Final = re.compile(r"(?:Operation|Flow|Steps)\[(.*)\]")


def _describe(method: Any, build: Callable[..., Any], prefix: str = "") -> None:
    """Give ``method`` the signature of ``build`` with the result its steps lead to."""
    result = build.__annotations__.get("return", "")
    found = _STEPS.fullmatch(str(result))
    result = found[1] if found else result
    method.__annotations__ = {**build.__annotations__, "return": result}
    method.__signature__ = inspect.signature(build).replace(return_annotation=result)
    method.__doc__ = f"{prefix}{inspect.getdoc(build) or ''}"


def blocking(build: Callable[Concatenate[Any, P], Awaitable[T]]) -> Callable[Concatenate[Any, P], T]:
    """Return the method that builds steps from the room and performs them."""

    @wraps(build)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = self._runner.run(build(self._open_component, *args, **kwargs))
        return result

    _describe(method, build)
    return method


def awaited(build: Callable[Concatenate[Any, P], Awaitable[T]]) -> Callable[Concatenate[Any, P], Awaitable[T]]:
    """Return the coroutine function that builds steps from the room and performs them."""

    @wraps(build)
    async def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await self._runner.run(build(self._open_component, *args, **kwargs))
        return result

    _describe(method, build)
    return method


def described_by(build: Callable[..., Any]) -> Callable[[F], F]:
    """Return the decorator of a method written by hand that has the signature and documentation of ``build``."""

    def decorate(method: F) -> F:
        _describe(method, build)
        return method

    return decorate


class _Property(Generic[T]):
    """A read-only attribute whose value takes steps to find."""

    def __init__(self, fetch: Callable[[Any], T], build: Callable[[Any], Any]) -> None:
        self._fetch = fetch
        self.__doc__ = inspect.getdoc(build)

    @overload
    def __get__(self, service: None, owner: type) -> _Property[T]: ...
    @overload
    def __get__(self, service: object, owner: type) -> T: ...
    def __get__(self, service: object | None, owner: type) -> T | _Property[T]:
        return self if service is None else self._fetch(service)


def blocking_property(build: Callable[[Any], Awaitable[T]]) -> _Property[T]:
    """Return the attribute that performs steps when it is read."""
    return _Property(blocking(build), build)


def awaited_property(build: Callable[[Any], Awaitable[T]]) -> _Property[Awaitable[T]]:
    """Return the attribute whose value is awaited: ``await service.name``."""
    return _Property(awaited(build), build)


def closed(service: object) -> ServiceClosedError:
    """Return the error for the use of a closed service."""
    return ServiceClosedError(f"this {type(service).__name__} is closed")
