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
from typing import Any, Final, NamedTuple, get_type_hints

import msgpack

from edge_redis._core import extension_types, validation
from edge_redis._core.extension_types import DECODERS, ENCODERS
from edge_redis.errors import CorruptDataError, InvalidArgumentError, UnsupportedTypeError, ValueTooLargeError

MAX_VALUE_BYTES: Final = 16 * 1024 * 1024
"""Default limit of one encoded value. Redis itself stops at 512 MiB; a shared edge server suffers long before."""

MAX_NESTED: Final = 32
"""Nesting depth of extension types, such as a tuple in a set: each level is a recursive call of the C decoder."""

MAX_COLLISIONS: Final = 64
"""Different values of extension types with one hash. Hashes of int, tuple and the like are no secret: a map or a set of
many that collide would take quadratic time to decode."""

_FEW_BYTES: Final = 4096
"""Bodies up to this size cannot hold enough values for that."""

MIN_TYPE_CODE: Final = 32
MAX_TYPE_CODE: Final = 127
"""The codes of users' types: msgpack leaves 0 to 127 to applications, and this package has the lower ones."""

_NATIVE_TYPES: Final = frozenset(
    {type(None), bool, int, float, str, bytes, bytearray, memoryview, list, dict, msgpack.ExtType, msgpack.Timestamp}
)


class TypeCodec(NamedTuple):
    """How the values of a type of your own are cached: an entry of the option ``codec`` of a cache.

    Attributes:
        code: of the type in the bytes, 32 to 127. It must never mean another type in the same namespace.
        encode: returns a value of types that the cache carries, such as a dict, for one of the type.
        decode: returns the value of the type again. If it raises an Exception the entry counts as corrupt.

    """

    code: int
    encode: Callable[[Any], object]
    decode: Callable[[Any], Any]


# Resolved here: the module that the class reports as its own, edge_redis, does not have these names.
TypeCodec.__annotations__.update(get_type_hints(TypeCodec))


def _deeper(depth: int) -> int:
    if depth >= MAX_NESTED:
        raise ValueError(f"tuples, sets and the like nest deeper than {MAX_NESTED} levels")
    return depth + 1


def _check_collisions(value: object, seen: dict[int, set[object]]) -> None:
    """Raise ValueError where too many different values have the hash of this one."""
    try:
        known = seen.setdefault(hash(value), set())
    except TypeError:  # a value that cannot be hashed is no key
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
        self._unpack_outermost = partial(
            _unpackb, ext_hook=partial(self._ext_hook, depth=0)
        )  # once: every read uses it

    def _default(self, value: object, depth: int) -> msgpack.ExtType:
        encoder = self._encoders.get(type(value))
        if encoder is None:
            raise UnsupportedTypeError(
                f"a value of type {type(value).__name__} is not carried; use what msgpack carries, or"
                f" {extension_types.TYPE_NAMES}, or give the cache a codec for the type"
            )
        code, encode = encoder
        return msgpack.ExtType(code, encode(value, partial(self._pack, depth=_deeper(depth))))

    def _encode_user_type(
        self, kind: type, encode: Callable[[Any], object], value: object, pack: Callable[[object], bytes]
    ) -> bytes:
        try:
            inner = encode(value)
        except Exception as error:
            raise InvalidArgumentError(f"the codec of {kind.__name__} raised {error!r}") from error
        return pack(self._sorted_maps(inner))  # canonical, so that equal values have equal bytes

    def _ext_hook(self, code: int, body: bytes, depth: int, seen: dict[int, set[object]] | None = None) -> object:
        decode = self._decoders.get(code)
        if decode is None:
            raise ValueError(f"unknown extension type {code}")
        value = decode(body, partial(self._unpack, depth=_deeper(depth), seen=seen))
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

    def encode(self, value: object, *, limit: int = MAX_VALUE_BYTES) -> bytes:
        """Return ``value`` as bytes.

        Raises:
            UnsupportedTypeError: the value, or one inside it, is of a type that is not carried.
            InvalidArgumentError: the value nests too deeply, refers to itself or holds broken text.
            ValueTooLargeError: the result is over ``limit`` bytes.

        """
        try:
            body = self._pack(value)
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

    def canonical(self, value: object, *, limit: int = MAX_VALUE_BYTES) -> bytes:
        """Return ``encode(value)`` with every map in key order: equal values give equal bytes.

        Raises what ``encode`` raises.
        """
        try:
            ordered = self._sorted_maps(value)
        except UnsupportedTypeError:
            raise
        except (ValueError, OverflowError, RecursionError) as error:
            msg = f"the value cannot be encoded: {error}"
            raise InvalidArgumentError(msg) from error
        return self.encode(ordered, limit=limit)

    def checksum(self, value: object) -> str:
        """Return the SHA-256 of the canonical bytes of ``value``, in hexadecimal."""
        return hashlib.sha256(self.canonical(value)).hexdigest()

    def _packed_key(self, item: tuple[object, object]) -> bytes:
        """Return the packed key of a map's item, by which items are sorted; a short str without msgpack, faster."""
        key = item[0]
        if type(key) is str:
            text = key.encode()
            if len(text) < _SHORT:
                return _SHORT_STR[len(text)] + text
        return self._pack(key)

    def _sorted_maps(self, value: object) -> object:
        if type(value) is msgpack.ExtType:
            raise UnsupportedTypeError("a msgpack.ExtType is not carried: its codes are this codec's own")
        if type(value) is dict:
            items = [(key, item if type(item) in _LEAVES else self._sorted_maps(item)) for key, item in value.items()]
            return dict(sorted(items, key=self._packed_key))
        if type(value) is list or type(value) is tuple:
            parts = [item if type(item) in _LEAVES else self._sorted_maps(item) for item in value]
            return parts if type(value) is list else tuple(parts)
        return value


DEFAULT: Final = Codec()
"""The codec without types of users."""

encode: Final = DEFAULT.encode
decode: Final = DEFAULT.decode
canonical: Final = DEFAULT.canonical
checksum: Final = DEFAULT.checksum


def make_codec(types: object) -> Codec:
    """Return the codec of the option ``codec``: a mapping of a type to its TypeCodec, or None.

    Raises:
        InvalidTypeError: not such a mapping.
        InvalidArgumentError: a code is out of range or used twice, or a type is carried already.

    """
    if types is None:
        return DEFAULT
    if not isinstance(types, Mapping):
        raise validation.type_error("codec", types, "a mapping of types to TypeCodecs")
    checked = {kind: _check_type_codec(kind, given) for kind, given in types.items()}
    if len({each.code for each in checked.values()}) < len(checked):
        raise validation.value_error("codec", types, "must have a code of its own for each type")
    return Codec(checked)


def _check_type_codec(kind: object, given: object) -> TypeCodec:
    if not isinstance(kind, type):
        raise validation.type_error("a key of codec", kind, "a type")
    if kind in _NATIVE_TYPES or kind in ENCODERS:
        raise validation.value_error("a key of codec", kind, "must be a type that is not carried without a codec")
    if not isinstance(given, tuple) or len(given) != len(TypeCodec._fields):
        raise validation.type_error(f"the codec of {kind.__name__}", given, "a TypeCodec")
    made = TypeCodec(*given)
    validation.check_integer(f"the code of {kind.__name__}", made.code, least=MIN_TYPE_CODE, most=MAX_TYPE_CODE)
    validation.check_callable(f"encode of {kind.__name__}", made.encode)
    validation.check_callable(f"decode of {kind.__name__}", made.decode)
    return made
