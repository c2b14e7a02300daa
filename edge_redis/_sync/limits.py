"""How large a scope may be written, and how high versions count.

The limits apply to writers only. States from the other end are accepted at any size, and so is the result of merging
two states within the limits: a replica that refused them would never become equal to the other end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge_redis._core import codec, validation
from edge_redis.errors import TooManyFieldsError, ValueTooLargeError

MAX_VERSION: Final = 9_007_199_254_740_000
"""The last version: above 2**53 Lua's numbers cannot hold every integer (``lua/include/document.lua``)."""

MAX_GIVEN_VERSION: Final = 2**52
"""The highest version of a state that a user passes, so that as many versions can still follow."""

MAX_BYTES: Final = codec.MAX_VALUE_BYTES
"""Default limit of an encoded state, and the highest one: nothing larger is ever encoded."""

MAX_FIELDS: Final = 100_000
"""Default limit of a scope's top-level fields. Every update carries them all: split larger scopes."""

_MOST_FIELDS: Final = 1_000_000

MAX_LEVELS: Final = 128
"""How deeply lists and maps of a state may nest. Merging reads them by recursion, on any stack that a worker has:
without a bound, what one process wrote would be damaged data to another."""


@dataclass(frozen=True, slots=True)
class WriteLimits:
    """The limits of one writer, validated: bytes of an encoded state, and fields of its top level."""

    max_bytes: int = MAX_BYTES
    max_fields: int = MAX_FIELDS

    def __post_init__(self) -> None:
        validation.check_integer("max_bytes", self.max_bytes, least=1, most=MAX_BYTES)
        validation.check_integer("max_fields", self.max_fields, least=1, most=_MOST_FIELDS)

    def encode(self, data: Mapping[str, Any]) -> bytes:
        """Return the canonical encoding of data that are within the limits.

        Raises what ``codec.encode`` raises, TooManyFieldsError and ValueTooLargeError.
        """
        if len(data) > self.max_fields:
            self.check_count(data)
        body = codec.canonical(data, max_levels=MAX_LEVELS)
        return body if len(body) <= self.max_bytes else self.check_size(body)

    def check_count(self, fields: Collection[str]) -> None:
        """Raise TooManyFieldsError where there are more than ``max_fields`` fields."""
        if len(fields) > self.max_fields:
            raise TooManyFieldsError(f"the state has {len(fields)} fields; the limit is {self.max_fields}")

    def check_size(self, body: bytes) -> bytes:
        """Return an encoded state; raise ValueTooLargeError where it has more than ``max_bytes`` bytes."""
        if len(body) > self.max_bytes:
            raise ValueTooLargeError(f"the encoded state has {len(body)} bytes; the limit is {self.max_bytes}")
        return body


UNLIMITED: Final = WriteLimits(max_fields=_MOST_FIELDS)
"""The limits of the codec alone."""
