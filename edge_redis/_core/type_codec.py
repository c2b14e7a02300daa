"""Codecs of users' types: how each is declared, and the checks of the option ``codec``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, get_type_hints

import msgpack

from edge_redis._core import validation
from edge_redis._core.extension_types import ENCODERS

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


def check_type_codecs(types: object) -> dict[type, TypeCodec]:
    """Return the codecs of the option ``codec``, a mapping of each type to its TypeCodec.

    Raises:
        InvalidTypeError: not such a mapping.
        InvalidArgumentError: a code is out of range or used twice, or a type needs no codec.

    """
    if not isinstance(types, Mapping):
        raise validation.type_error("codec", types, "a mapping of types to TypeCodecs")
    checked = {kind: _check_type_codec(kind, declared) for kind, declared in types.items()}
    if len({each.code for each in checked.values()}) < len(checked):
        raise validation.value_error("codec", types, "must have a code of its own for each type")
    return checked


def _check_type_codec(kind: object, declared: object) -> TypeCodec:
    if not isinstance(kind, type):
        raise validation.type_error("a key of codec", kind, "a type")
    if kind in _NATIVE_TYPES or kind in ENCODERS:
        raise validation.value_error("a key of codec", kind, "must be a type that is not carried without a codec")
    if not isinstance(declared, tuple) or len(declared) != len(TypeCodec._fields):
        raise validation.type_error(f"the codec of {kind.__name__}", declared, "a TypeCodec")
    checked = TypeCodec(*declared)
    validation.check_integer(f"the code of {kind.__name__}", checked.code, least=MIN_TYPE_CODE, most=MAX_TYPE_CODE)
    validation.check_callable(f"encode of {kind.__name__}", checked.encode)
    validation.check_callable(f"decode of {kind.__name__}", checked.decode)
    return checked
