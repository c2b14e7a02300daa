"""An entry's bytes in Redis: a header of fixed width, then the encoded value.

``GGGGGGGGGGMMMMMMMMMMMMM<value>``: 10 digits of generation, 13 of creation in Unix ms.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from edge_redis.core import codec
from edge_redis.errors import CorruptDataError

_GENERATION: Final = 10
HEADER: Final = _GENERATION + 13

Opened: TypeAlias = tuple[int, Any]
"""An entry's generation and its value. A plain tuple: every read makes one."""


def opened(raw: bytes) -> Opened:
    """Return the entry in ``raw``.

    Raises:
        CorruptDataError: the bytes are not what the cache writes.

    """
    header = raw[:HEADER]
    if len(raw) <= HEADER or not header.isdigit():
        raise CorruptDataError(f"no entry of a cache: {header!r}")
    return int(header[:_GENERATION]), codec.decode(raw[HEADER:])


def created_ms(raw: bytes) -> int:
    """Return when the entry in ``raw``, which opens, was put: Unix milliseconds."""
    return int(raw[_GENERATION:HEADER])
