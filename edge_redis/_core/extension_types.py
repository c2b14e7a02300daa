"""The Python types that msgpack lacks, as extension types: a code, how to encode a value, and how to decode it.

An encoder gets the value and a function that packs values inside it; a decoder gets the bytes and a
function that unpacks values inside them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any, Final, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from edge_redis.errors import UnsupportedTypeError

TYPE_NAMES: Final = (
    "tuple, set, frozenset, datetime, date, timedelta, Decimal, UUID, int of any size and EdgeNodeStatus"
)
NODE_STATUS: Final = 10
"""The code of ``EdgeNodeStatus``."""

_TUPLE, _SET, _FROZENSET, _DATETIME, _DATE, _TIMEDELTA, _DECIMAL, _UUID, _BIG_INT = range(1, 10)

Encoder: TypeAlias = "Callable[[Any, Callable[[object], bytes]], bytes]"
Decoder: TypeAlias = "Callable[[bytes, Callable[[bytes], Any]], Any]"


def _pack_datetime(value: datetime, pack: Callable[[object], bytes]) -> bytes:
    zone = value.tzinfo
    if zone is None or isinstance(zone, timezone):
        return pack([value.isoformat(), value.fold, None])
    if isinstance(zone, ZoneInfo) and zone.key:
        return pack([value.replace(tzinfo=None).isoformat(), value.fold, zone.key])
    msg = f"datetime with tzinfo of type {type(zone).__name__} is not carried; use datetime.timezone or ZoneInfo"
    raise UnsupportedTypeError(msg)


def _unpack_datetime(body: bytes, unpack: Callable[[bytes], Any]) -> datetime:
    text, fold, zone = unpack(body)
    value = datetime.fromisoformat(text).replace(fold=fold)
    if zone is not None:
        return value.replace(tzinfo=ZoneInfo(zone))
    return value.replace(tzinfo=UTC) if value.utcoffset() == timedelta(0) else value


def _unpack_timedelta(body: bytes, unpack: Callable[[bytes], Any]) -> timedelta:
    days, seconds, microseconds = unpack(body)
    return timedelta(days=days, seconds=seconds, microseconds=microseconds)


def _pack_set(value: set[Any] | frozenset[Any], pack: Callable[[object], bytes]) -> bytes:
    return pack(sorted(value, key=pack))


ENCODERS: Final[dict[type, tuple[int, Encoder]]] = {
    tuple: (_TUPLE, lambda value, pack: pack(list(value))),
    set: (_SET, _pack_set),
    frozenset: (_FROZENSET, _pack_set),
    datetime: (_DATETIME, _pack_datetime),
    date: (_DATE, lambda value, _: value.isoformat().encode()),
    timedelta: (_TIMEDELTA, lambda value, pack: pack([value.days, value.seconds, value.microseconds])),
    Decimal: (_DECIMAL, lambda value, _: str(value).encode()),
    UUID: (_UUID, lambda value, _: value.bytes),
    int: (_BIG_INT, lambda value, _: value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)),
}

DECODERS: Final[dict[int, Decoder]] = {
    _TUPLE: lambda body, unpack: tuple(unpack(body)),
    _SET: lambda body, unpack: set(unpack(body)),
    _FROZENSET: lambda body, unpack: frozenset(unpack(body)),
    _DATETIME: _unpack_datetime,
    _DATE: lambda body, _: date.fromisoformat(body.decode()),
    _TIMEDELTA: _unpack_timedelta,
    _DECIMAL: lambda body, _: Decimal(body.decode()),
    _UUID: lambda body, _: UUID(bytes=body),
    _BIG_INT: lambda body, _: int.from_bytes(body, "big", signed=True),
}


def _encode_text_enum(value: Enum, _: Callable[[object], bytes]) -> bytes:
    return str(value.value).encode()


def _decode_text_enum(kind: type[Enum], body: bytes, _: Callable[[bytes], Any]) -> Enum:
    return kind(body.decode())


def add_text_enum(code: int, kind: type[Enum]) -> None:
    """Add the code of an enum whose values are text. For public enums, since this layer cannot import them."""
    ENCODERS[kind] = code, _encode_text_enum
    DECODERS[code] = partial(_decode_text_enum, kind)
