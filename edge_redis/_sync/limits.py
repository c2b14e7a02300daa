"""How large a scope may be written. Limits bind whoever writes: what comes from the other end is taken as it is.

A replica that refused what is right at the other end would never be equal to it, nor would one
that refused what two states within the limits make when they are merged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge_redis._core import codec, validation
from edge_redis.errors import TooManyFieldsError, ValueTooLargeError

MAX_BYTES: Final = codec.MAX_VALUE_BYTES
"""Default limit of an encoded state, and the highest one: nothing larger is ever encoded."""

MAX_FIELDS: Final = 100_000
"""Default limit of a scope's fields of the top level. Every update carries them all: split what is larger."""

_LARGEST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one writer, checked: bytes of an encoded state, and fields of its top level."""

    max_bytes: int = MAX_BYTES
    max_fields: int = MAX_FIELDS

    def __post_init__(self) -> None:
        validation.integer("max_bytes", self.max_bytes, least=1, most=MAX_BYTES)
        validation.integer("max_fields", self.max_fields, least=1, most=_LARGEST)

    def encoded(self, data: Mapping[str, Any]) -> bytes:
        """Return the canonical encoding of data, which are within the limits.

        Raises what ``codec.encode`` raises and what ``counted`` and ``sized`` do.
        """
        self.counted(data)
        return self.sized(codec.canonical(data))

    def counted(self, fields: Collection[str]) -> None:
        """Raise TooManyFieldsError where there are more fields than may be."""
        if len(fields) > self.max_fields:
            raise TooManyFieldsError(f"the state has {len(fields)} fields; the limit is {self.max_fields}")

    def sized(self, body: bytes) -> bytes:
        """Return a state's encoding; raise ValueTooLargeError where it has more bytes than may be."""
        if len(body) > self.max_bytes:
            raise ValueTooLargeError(f"the encoded state has {len(body)} bytes; the limit is {self.max_bytes}")
        return body


NONE: Final = Limits(max_fields=_LARGEST)
"""Those of the codec alone."""
