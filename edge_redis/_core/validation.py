"""Checks of arguments, made before anything is sent.

Each function returns the value, or raises an error that says what is wrong with it.
"""

from __future__ import annotations

import math
from typing import Any, Final

from edge_redis.errors import InvalidArgumentError, InvalidKeyError, InvalidTypeError

MAX_KEY_BYTES: Final = 1024
_SHOWN: Final = 60
_MOST_SECONDS: Final = 1e10


def _shorten(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python is willing to print
        text = f"{type(value).__name__} too large to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def type_error(name: str, value: object, expected: str) -> InvalidTypeError:
    """Return the error for an argument of the wrong type."""
    return InvalidTypeError(f"{name} must be {expected}, not {type(value).__name__} ({_shorten(value)})")


def value_error(name: str, value: object, rule: str) -> InvalidArgumentError:
    """Return the error for an argument of the right type and a wrong value."""
    return InvalidArgumentError(f"{name} {rule}, not {_shorten(value)}")


def key_error(name: str, value: object, rule: str) -> InvalidKeyError:
    """Return the error for a key or identifier that cannot be used."""
    return InvalidKeyError(f"{name} {rule} ({_shorten(value)})")


def check_identifier(name: str, value: object, *, limit: int = MAX_KEY_BYTES) -> str:
    """Return ``value`` where it is a non-empty str of at most ``limit`` bytes in UTF-8."""
    if type(value) is str and 0 < len(value) <= limit and value.isascii():  # the usual case, without encoding
        return value
    if not isinstance(value, str):
        raise type_error(name, value, "a str")
    if not value:
        raise key_error(name, value, "must not be empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise key_error(name, value, "must be encodable as UTF-8") from error
    if size > limit:
        raise key_error(name, value, f"must have at most {limit} bytes in UTF-8, has {size}")
    return str.__str__(value)  # an enum that is a str would format itself as its name


def check_text(name: str, value: object) -> str:
    """Return ``value`` where it is a str that UTF-8 can carry; it may be empty."""
    return value if value == "" and isinstance(value, str) else check_identifier(name, value, limit=1 << 20)


def check_number(name: str, value: object) -> float:
    """Return ``value`` where it is a finite int or float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise type_error(name, value, "a number")
    try:
        finite = math.isfinite(value)
    except OverflowError as error:
        raise value_error(name, value, "must be within the range of a float") from error
    if not finite:
        raise value_error(name, value, "must be finite")
    return value


def check_positive(name: str, value: object) -> float:
    """Return ``value`` where it is a finite number above zero."""
    checked = check_number(name, value)
    if checked <= 0:
        raise value_error(name, value, "must be above zero")
    return checked


def to_milliseconds(seconds: float) -> int:
    """Return seconds as whole milliseconds; more than a few centuries are a few centuries."""
    return round(min(seconds, _MOST_SECONDS) * 1000)


def check_non_negative(name: str, value: object) -> float:
    """Return ``value`` where it is a finite number, zero or above."""
    checked = check_number(name, value)
    if checked < 0:
        raise value_error(name, value, "must be zero or above")
    return checked


def check_integer(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """Return ``value`` where it is an int from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise type_error(name, value, "an int")
    if value < least or (most is not None and value > most):
        bounds = f"must be at least {least}" if most is None else f"must be from {least} to {most}"
        raise value_error(name, value, bounds)
    return value


def check_instance(name: str, value: object, kind: type[Any]) -> Any:
    """Return ``value`` where it is a ``kind``."""
    if not isinstance(value, kind):
        raise type_error(name, value, f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}")
    return value


def check_callable(name: str, value: Any) -> Any:
    """Return ``value`` where it can be called."""
    if not callable(value):
        raise type_error(name, value, "callable")
    return value
