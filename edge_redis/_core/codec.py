"""Values as bytes: msgpack, with extension types for Python types that msgpack lacks, and for types of users.

A value is decoded to the type that it had, except that ``bytearray`` and ``memoryview`` become
``bytes``. Other types raise UnsupportedTypeError before anything is written. Pickle is not used,
since bytes from a shared server must not be able to run code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from decimal import InvalidOperation
from functools import partial
from typing import Any, Final

import msgpack

from edge_redis._core import extension_types
from edge_redis._core.extension_types import DECODERS, ENCODERS
from edge_redis._core.type_codec import MIN_TYPE_CODE, TypeCodec, check_type_codecs
from edge_redis.errors import CorruptDataError, InvalidArgumentError, UnsupportedTypeError, ValueTooLargeError

MAX_VALUE_BYTES: Final = 16 * 1024 * 1024
"""Default limit of one encoded value. Redis itself stops at 512 MiB; a shared edge server suffers long before."""

MAX_NESTED: Final = 32
"""Nesting depth of extension types, such as a tuple in a set: each level is a recursive call of the C decoder."""

ANY_LEVELS: Final = 1_000_000_000
"""``max_levels`` of a value that may nest as deeply as the interpreter can follow."""

MAX_COLLISIONS: Final = 64
"""Values of extension types with the same hash, at most. Anybody can compute the hash of an int or a tuple, and a map
or a set of many keys with one hash would take quadratic time to decode."""

_FEW_BYTES: Final = 4096
"""Bodies up to this size are too short for many collisions, and are decoded without the check."""


def _add_level(depth: int) -> int:
    """Return ``depth`` plus one, or raise ValueError past the limit."""
    if depth >= MAX_NESTED:
        raise ValueError(f"tuples, sets and the like nest deeper than {MAX_NESTED} levels")
    return depth + 1


def _check_collisions(value: object, seen: dict[int, set[object]]) -> None:
    """Raise ValueError where too many different values have the hash of ``value``; ``seen`` holds them by hash."""
    try:
        known = seen.setdefault(hash(value), set())
    except TypeError:  # not hashable, so it can be no key of a map and no member of a set
        return
    known.add(value)
    if len(known) > MAX_COLLISIONS:
        raise ValueError(f"more than {MAX_COLLISIONS} values have one hash")


def _decode_user_type(decode: Callable[[Any], Any], body: bytes, unpack: Callable[[bytes], Any]) -> Any:
    inner = unpack(body)
    try:
        return decode(inner)
    except Exception as error:
        raise ValueError(f"the codec raised {error!r}") from error


_SHORT: Final = 32
_SHORT_STR: Final = [bytes([0xA0 | length]) for length in range(_SHORT)]
_LEAVES: Final = frozenset({str, int, float, bool, bytes, type(None)})
_NESTING: Final = frozenset({dict, list, tuple})

_unpackb: Final = partial(msgpack.unpackb, raw=False, strict_map_key=False)


class Codec:
    """Encodes and decodes values, among them those of users' ``types``."""

    def __init__(self, types: Mapping[type, TypeCodec] | None = None) -> None:
        self._encoders, self._decoders = ENCODERS, DECODERS
        if types:
            self._encoders, self._decoders = dict(ENCODERS), dict(DECODERS)
            for kind, (code, encode, decode) in types.items():
                self._encoders[kind] = code, partial(self._encode_user_type, kind, encode)
                self._decoders[code] = partial(_decode_user_type, decode)
        # Made once, since every read uses it.
        self._unpack_outermost = partial(_unpackb, ext_hook=partial(self._ext_hook, depth=0))

    def _default(self, value: object, depth: int) -> msgpack.ExtType:
        encoder = self._encoders.get(type(value))
        if encoder is None:
            raise UnsupportedTypeError(
                f"a value of type {type(value).__name__} is not carried; use what msgpack carries, or"
                f" {extension_types.TYPE_NAMES}, or give the cache a codec for the type"
            )
        code, encode = encoder
        return msgpack.ExtType(code, encode(value, partial(self._pack, depth=_add_level(depth))))

    def _encode_user_type(
        self, kind: type, encode: Callable[[Any], object], value: object, pack: Callable[[object], bytes]
    ) -> bytes:
        try:
            inner = encode(value)
        except Exception as error:
            raise InvalidArgumentError(f"the codec of {kind.__name__} raised {error!r}") from error
        return pack(self._sort_maps(inner))  # canonical, so that equal values have equal bytes

    def _ext_hook(self, code: int, body: bytes, depth: int, seen: dict[int, set[object]] | None = None) -> object:
        decode = self._decoders.get(code)
        if decode is None:
            raise ValueError(f"unknown extension type {code}")
        value = decode(body, partial(self._unpack, depth=_add_level(depth), seen=seen))
        if seen is not None and code < MIN_TYPE_CODE:
            _check_collisions(value, seen)
        return value

    def _pack(self, value: object, depth: int = 0) -> bytes:
        # strict_types: a subclass (IntEnum, namedtuple, OrderedDict) would come back as its base, so it is refused.
        packed: bytes = msgpack.packb(
            value, default=partial(self._default, depth=depth), strict_types=True, use_bin_type=True
        )
        return packed

    def _unpack(self, body: bytes, depth: int, seen: dict[int, set[object]] | None = None) -> Any:
        return _unpackb(body, ext_hook=partial(self._ext_hook, depth=depth, seen=seen))

    def encode(
        self, value: object, *, limit: int = MAX_VALUE_BYTES, sort_maps: bool = False, max_levels: int = ANY_LEVELS
    ) -> bytes:
        """Return ``value`` as bytes; with ``sort_maps``, with every map in key order and ``max_levels`` checked.

        Raises:
            UnsupportedTypeError: the value, or one inside it, is of a type that is not carried.
            InvalidArgumentError: the value nests too deeply, refers to itself or holds broken text.
            ValueTooLargeError: the result is over ``limit`` bytes.

        """
        try:
            body = self._pack(self._sort_maps(value, max_levels) if sort_maps else value)
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

    def decode(self, body: bytes) -> Any:
        """Return the value that ``body`` encodes.

        Raises:
            CorruptDataError: the bytes are not what ``encode`` writes.

        """
        try:
            return self._unpack_outermost(body) if len(body) <= _FEW_BYTES else self._unpack(body, 0, {})
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

    def canonical(self, value: object, *, limit: int = MAX_VALUE_BYTES, max_levels: int = ANY_LEVELS) -> bytes:
        """Return ``value`` as bytes with every map in key order, so that equal values give equal bytes.

        Raises what ``encode`` raises. How deeply a value may nest depends on the caller's stack, below ``max_levels``.
        """
        return self.encode(value, limit=limit, sort_maps=True, max_levels=max_levels)

    def checksum(self, value: object) -> str:
        """Return the SHA-256 of the canonical bytes of ``value``, in hexadecimal."""
        return hashlib.sha256(self.canonical(value)).hexdigest()

    def _pack_key(self, item: tuple[object, object]) -> bytes:
        """Return the packed key of a map's item, by which the items are sorted."""
        key = item[0]
        if type(key) is str:  # a short str without msgpack, which is faster
            text = key.encode()
            if len(text) < _SHORT:
                return _SHORT_STR[len(text)] + text
        return self._pack(key)

    def _sort_maps(self, value: object, levels: int = ANY_LEVELS) -> object:
        """Return ``value`` with every map in key order; it may nest this many levels."""
        levels -= 1
        if levels < 0 and type(value) in _NESTING:
            raise ValueError("its lists and maps nest too deeply")
        if type(value) is msgpack.ExtType:
            raise UnsupportedTypeError("a msgpack.ExtType is not carried: its codes are this codec's own")
        if type(value) is dict:
            items = [
                (key, item if type(item) in _LEAVES else self._sort_maps(item, levels)) for key, item in value.items()
            ]
            return dict(sorted(items, key=self._pack_key))
        if type(value) is list or type(value) is tuple:
            parts = [item if type(item) in _LEAVES else self._sort_maps(item, levels) for item in value]
            return parts if type(value) is list else tuple(parts)
        return value


DEFAULT: Final = Codec()
"""The codec without types of users."""

encode: Final = DEFAULT.encode
decode: Final = DEFAULT.decode
canonical: Final = DEFAULT.canonical
checksum: Final = DEFAULT.checksum


def is_same_value(one: object, other: object) -> bool:
    """Return whether two values are equal and of the same types: 1 is not True, and NaN is itself."""
    return canonical(one) == canonical(other)


def make_codec(types: object) -> Codec:
    """Return the codec of the option ``codec``: a mapping of each type to its TypeCodec, or None.

    Raises:
        InvalidTypeError: not such a mapping.
        InvalidArgumentError: a code is out of range or used twice, or a type needs no codec.

    """
    return DEFAULT if types is None else Codec(check_type_codecs(types))
