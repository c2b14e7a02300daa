"""An entry's bytes in Redis: a header of fixed width, then the encoded value.

``GGGGGGGGGGMMMMMMMMMMMMM<value>``: 10 digits of generation, 13 of creation in Unix ms. Where the
value was computed and its cost is to be known, the byte 0xC1 (which begins no msgpack value) and
four bytes of milliseconds, most significant first, stand before the value.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from edge_redis._core import codec
from edge_redis.errors import CorruptDataError

GENERATIONS: Final = 1 << 33
_GENERATION: Final = 10
HEADER: Final = _GENERATION + 13

_COST: Final = 0xC1
_COST_BYTES: Final = 5
_LONGEST_COST: Final = (1 << 32) - 1

Opened: TypeAlias = tuple[int, Any, "int | None"]
"""An entry's generation, its value, and what it cost to compute (ms). A plain tuple: every read makes one."""


def opened(raw: bytes) -> Opened:
    """Return the entry in ``raw``.

    Raises:
        CorruptDataError: the bytes are not what the cache writes.

    """
    header, body = raw[:HEADER], raw[HEADER:]
    if not body or not header.isdigit():
        raise CorruptDataError(f"no entry of a cache: {header!r}")
    generation = int(header[:_GENERATION])
    if body[0] != _COST:
        return generation, codec.decode(body), None
    return generation, codec.decode(body[_COST_BYTES:]), int.from_bytes(body[1:_COST_BYTES], "big")


def value_of(body: bytes) -> Any:
    """Return the value in what follows the header of an entry that opens."""
    return codec.decode(body[_COST_BYTES:] if body[0] == _COST else body)


def with_cost(body: bytes, cost_ms: float) -> bytes:
    """Return an encoded value with what it cost to compute."""
    return bytes([_COST]) + min(round(cost_ms), _LONGEST_COST).to_bytes(4, "big") + body


def created_ms(raw: bytes) -> int:
    """Return when the entry in ``raw``, which opens, was put: Unix milliseconds."""
    return int(raw[_GENERATION:HEADER])
