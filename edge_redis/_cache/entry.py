"""The bytes of an entry in Redis: a header of fixed width, then the encoded value.

``GGGGGGGGGGMMMMMMMMMMMMM<value>``: 10 digits of generation, 13 digits of creation time in Unix ms.
If the cost of computing the value is stored (``get_or_compute(early=...)``), a byte 0xC1, which
begins no msgpack value, and four bytes of milliseconds (big-endian) stand before the value.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from edge_redis._core import codec
from edge_redis.errors import CorruptDataError

GENERATIONS: Final = 1 << 33
_GENERATION_DIGITS: Final = 10
HEADER_BYTES: Final = _GENERATION_DIGITS + 13

_COST_MARK: Final = 0xC1
_COST_BYTES: Final = 5
_MAX_COST_MS: Final = (1 << 32) - 1

DecodedEntry: TypeAlias = tuple[int, Any, "int | None"]
"""Generation, value, and cost of computing it in ms (None if unknown). A plain tuple: every read makes one."""


def decode_entry(raw: bytes) -> DecodedEntry:
    """Return the entry that ``raw`` holds.

    Raises:
        CorruptDataError: the cache did not write these bytes.

    """
    header, body = raw[:HEADER_BYTES], raw[HEADER_BYTES:]
    if not body or not header.isdigit():
        raise CorruptDataError(f"not an entry of a cache: {header!r}")
    generation = int(header[:_GENERATION_DIGITS])
    if body[0] != _COST_MARK:
        return generation, codec.decode(body), None
    return generation, codec.decode(body[_COST_BYTES:]), int.from_bytes(body[1:_COST_BYTES], "big")


def decode_body(body: bytes) -> Any:
    """Return the value in the bytes after the header of a valid entry."""
    return codec.decode(body[_COST_BYTES:] if body[0] == _COST_MARK else body)


def add_cost(body: bytes, cost_ms: float) -> bytes:
    """Return an encoded value preceded by the cost of computing it."""
    return bytes([_COST_MARK]) + min(round(cost_ms), _MAX_COST_MS).to_bytes(4, "big") + body


def created_ms(raw: bytes) -> int:
    """Return the creation time of a valid entry in Unix ms."""
    return int(raw[_GENERATION_DIGITS:HEADER_BYTES])


def is_older(one: int, other: int) -> bool:
    """Whether generation ``one`` precedes ``other``, in the arithmetic of serial numbers (RFC 1982)."""
    return 0 < (other - one) % GENERATIONS < GENERATIONS // 2
