"""An entry's bytes in Redis: a header of fixed width, then the encoded value.

GGGGGGGGGGMMMMMMMMMMMMM<value>      10 digits of generation, 13 of creation in Unix ms
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from edge_redis.core import codec
from edge_redis.errors import CorruptDataError

_GENERATION: Final = 10
HEADER: Final = _GENERATION + 13


class Envelope(NamedTuple):
    """An entry as it is read."""

    generation: int
    created_ms: int
    value: Any


def opened(raw: bytes) -> Envelope:
    """Return the entry in ``raw``.

    Raises:
        CorruptDataError: the bytes are not what the cache writes.

    """
    header = raw[:HEADER]
    if len(raw) <= HEADER or not header.isdigit():
        raise CorruptDataError(f"no entry of a cache: {raw[:HEADER]!r}")
    return Envelope(int(header[:_GENERATION]), int(header[_GENERATION:]), codec.decode(raw[HEADER:]))
