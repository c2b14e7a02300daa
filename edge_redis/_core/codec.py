"""Values as bytes: msgpack, with extension types for Python types that msgpack lacks.

A value is decoded to the type that it had, except that ``bytearray`` and ``memoryview`` become
``bytes``. Other types raise UnsupportedTypeError before anything is written. Pickle is not used,
since bytes from a shared server must not be able to run code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack

from edge_redis.errors import CorruptDataError, InvalidArgumentError, UnsupportedTypeError, ValueTooLargeError

MAX_VALUE_BYTES: Final = 16 * 1024 * 1024
"""Default limit of one encoded value. Redis itself stops at 512 MiB; a shared edge server suffers long before."""

_EXTRA_TYPES: Final = "tuple, set, frozenset, datetime, date, timedelta, Decimal, UUID and int of any size"

_TUPLE, _SET, _FROZENSET, _DATETIME, _DATE, _TIMEDELTA, _DECIMAL, _UUID, _BIG_INT = range(1, 10)


MAX_NESTED: Final = 32
"""Nesting depth of extension types, such as a tuple in a set: each level is a recursive call of the C decoder."""


def _pack_datetime(value: datetime, depth: int) -> bytes:
    zone = value.tzinfo
    if zone is None or isinstance(zone, timezone):
        return _pack([value.isoformat(), value.fold, None], depth)
    if isinstance(zone, ZoneInfo) and zone.key:
        return _pack([value.replace(tzinfo=None).isoformat(), value.fold, zone.key], depth)
    msg = f"datetime with tzinfo of type {type(zone).__name__} is not carried; use datetime.timezone or ZoneInfo"
    raise UnsupportedTypeError(msg)


def _unpack_datetime(body: bytes, depth: int) -> datetime:
    text, fold, zone = _unpack(body, depth)
    value = datetime.fromisoformat(text).replace(fold=fold)
    if zone is not None:
        return value.replace(tzinfo=ZoneInfo(zone))
    return value.replace(tzinfo=UTC) if value.utcoffset() == timedelta(0) else value


def _pack_timedelta(value: timedelta, depth: int) -> bytes:
    return _pack([value.days, value.seconds, value.microseconds], depth)


def _unpack_timedelta(body: bytes, depth: int) -> timedelta:
    days, seconds, microseconds = _unpack(body, depth)
    return timedelta(days=days, seconds=seconds, microseconds=microseconds)


def _pack_set(value: set[Any] | frozenset[Any], depth: int) -> bytes:
    return _pack(sorted(value, key=_pack), depth)


def _pack_int(value: int, _depth: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


_ENCODERS: Final[dict[type, tuple[int, Callable[[Any, int], bytes]]]] = {
    tuple: (_TUPLE, lambda value, depth: _pack(list(value), depth)),
    set: (_SET, _pack_set),
    frozenset: (_FROZENSET, _pack_set),
    datetime: (_DATETIME, _pack_datetime),
    date: (_DATE, lambda value, _: value.isoformat().encode()),
    timedelta: (_TIMEDELTA, _pack_timedelta),
    Decimal: (_DECIMAL, lambda value, _: str(value).encode()),
    UUID: (_UUID, lambda value, _: value.bytes),
    int: (_BIG_INT, _pack_int),
}

_DECODERS: Final[dict[int, Callable[[bytes, int], Any]]] = {
    _TUPLE: lambda body, depth: tuple(_unpack(body, depth)),
    _SET: lambda body, depth: set(_unpack(body, depth)),
    _FROZENSET: lambda body, depth: frozenset(_unpack(body, depth)),
    _DATETIME: _unpack_datetime,
    _DATE: lambda body, _: date.fromisoformat(body.decode()),
    _TIMEDELTA: _unpack_timedelta,
    _DECIMAL: lambda body, _: Decimal(body.decode()),
    _UUID: lambda body, _: UUID(bytes=body),
    _BIG_INT: lambda body, _: int.from_bytes(body, "big", signed=True),
}


def _deeper(depth: int) -> int:
    if depth >= MAX_NESTED:
        raise ValueError(f"tuples, sets and the like nest deeper than {MAX_NESTED} levels")
    return depth + 1


def _default(value: object, depth: int) -> msgpack.ExtType:
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        msg = f"a value of type {type(value).__name__} is not carried; use what msgpack carries, or {_EXTRA_TYPES}"
        raise UnsupportedTypeError(msg)
    code, pack = encoder
    return msgpack.ExtType(code, pack(value, _deeper(depth)))


def _ext_hook(code: int, body: bytes, depth: int) -> object:
    decoder = _DECODERS.get(code)
    if decoder is None:
        msg = f"unknown extension type {code}"
        raise ValueError(msg)
    return decoder(body, _deeper(depth))


def _pack(value: object, depth: int = 0) -> bytes:
    # strict_types: a subclass (IntEnum, namedtuple, OrderedDict) would come back as its base, so it is refused.
    packed: bytes = msgpack.packb(value, default=partial(_default, depth=depth), strict_types=True, use_bin_type=True)
    return packed


_unpackb: Final = partial(msgpack.unpackb, raw=False, strict_map_key=False)
_unpack_outermost: Final = partial(_unpackb, ext_hook=partial(_ext_hook, depth=0))  # once: every read uses it


def _unpack(body: bytes, depth: int) -> Any:
    return _unpackb(body, ext_hook=partial(_ext_hook, depth=depth))


def encode(value: object, *, limit: int = MAX_VALUE_BYTES) -> bytes:
    """Return ``value`` as bytes.

    Raises:
        UnsupportedTypeError: the value, or one inside it, is of a type that is not carried.
        InvalidArgumentError: the value nests too deeply, refers to itself or holds broken text.
        ValueTooLargeError: the result is over ``limit`` bytes.

    """
    try:
        body = _pack(value)
    except UnsupportedTypeError:
        raise
    except (ValueError, OverflowError, RecursionError) as error:
        msg = f"the value cannot be encoded: {error}"
        raise InvalidArgumentError(msg) from error
    except TypeError as error:
        raise UnsupportedTypeError(str(error)) from error
    if len(body) > limit:
        msg = f"the encoded value has {len(body)} bytes; the limit is {limit}"
        raise ValueTooLargeError(msg)
    return body


def decode(body: bytes) -> Any:
    """Return the value that ``body`` encodes.

    Raises:
        CorruptDataError: the bytes are not what ``encode`` writes.

    """
    try:
        return _unpack_outermost(body)
    except (
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        InvalidOperation,
        LookupError,  # among them an unknown time zone
        OSError,  # a time zone's name that is a folder
        msgpack.UnpackException,
    ) as error:
        msg = f"bytes do not decode: {error!r}"
        raise CorruptDataError(msg) from error


_SHORT: Final = 32
_SHORT_STR: Final = [bytes([0xA0 | length]) for length in range(_SHORT)]


def _packed_key(item: tuple[object, object]) -> bytes:
    """Return the packed key of a map's item, by which items are sorted; a short str is packed here, which is faster."""
    key = item[0]
    if type(key) is str:
        text = key.encode()
        if len(text) < _SHORT:
            return _SHORT_STR[len(text)] + text
    return _pack(key)


_LEAVES: Final = frozenset({str, int, float, bool, bytes, type(None)})


def _sorted_maps(value: object) -> object:
    if type(value) is msgpack.ExtType:
        raise UnsupportedTypeError("a msgpack.ExtType is not carried: its codes are this codec's own")
    if type(value) is dict:
        items = [(key, item if type(item) in _LEAVES else _sorted_maps(item)) for key, item in value.items()]
        return dict(sorted(items, key=_packed_key))
    if type(value) is list or type(value) is tuple:
        parts = [item if type(item) in _LEAVES else _sorted_maps(item) for item in value]
        return parts if type(value) is list else tuple(parts)
    return value


def canonical(value: object, *, limit: int = MAX_VALUE_BYTES) -> bytes:
    """Return ``encode(value)`` with every map in key order: equal values give equal bytes.

    Raises what ``encode`` raises.
    """
    try:
        ordered = _sorted_maps(value)
    except UnsupportedTypeError:
        raise
    except (ValueError, OverflowError, RecursionError) as error:
        msg = f"the value cannot be encoded: {error}"
        raise InvalidArgumentError(msg) from error
    return encode(ordered, limit=limit)


def checksum(value: object) -> str:
    """Return the SHA-256 of the canonical bytes of ``value``, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()
