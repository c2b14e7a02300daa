"""The bytes of an entry in Redis: a header of fixed width, then the encoded value.

``GGGGGGGGGGMMMMMMMMMMMMM<value>``: 10 digits of generation, 13 digits of creation time in Unix ms.
A value of ``get_or_compute`` with ``early`` or ``stale_ttl`` is preceded by a byte 0xC1, which no
msgpack value begins with, and two big-endian numbers of milliseconds: the cost of computing the value
(4 bytes) and the part of its TTL during which it is stale (6 bytes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from edge_redis._core import codec
from edge_redis.errors import CorruptDataError

GENERATIONS: Final = 1 << 33
_GENERATION_DIGITS: Final = 10
NEVER: Final = (1 << 53) - 1
"""The expiry of an entry without a TTL, in its index row."""

HEADER_BYTES: Final = _GENERATION_DIGITS + 13

_COMPUTED_MARK: Final = 0xC1
_COST_BYTES: Final = 5
_COMPUTED_BYTES: Final = _COST_BYTES + 6
_MAX_COST_MS: Final = (1 << 32) - 1

DecodedEntry: TypeAlias = tuple[int, Any, "int | None", int]
"""Generation, value, cost of computing it in ms (None if unknown), and the stale part of its TTL in ms.

A plain tuple, because every read makes one.
"""


def decode_entry(raw: bytes, decode: Callable[[bytes], Any] = codec.decode) -> DecodedEntry:
    """Return the entry that ``raw`` holds; ``decode`` is that of the cache's codec.

    Raises:
        CorruptDataError: the cache did not write these bytes.

    """
    header, body = raw[:HEADER_BYTES], raw[HEADER_BYTES:]
    if not body or not header.isdigit():
        raise CorruptDataError(f"not an entry of a cache: {header!r}")
    generation = int(header[:_GENERATION_DIGITS])
    if body[0] != _COMPUTED_MARK:
        return generation, decode(body), None, 0
    cost_ms, stale_ms = body[1:_COST_BYTES], body[_COST_BYTES:_COMPUTED_BYTES]
    return (
        generation,
        decode(body[_COMPUTED_BYTES:]),
        int.from_bytes(cost_ms, "big"),
        int.from_bytes(stale_ms, "big"),
    )


def decode_body(body: bytes, decode: Callable[[bytes], Any] = codec.decode) -> Any:
    """Return the value in the bytes after the header of a valid entry."""
    return decode(body[_COMPUTED_BYTES:] if body[0] == _COMPUTED_MARK else body)


def add_computed(body: bytes, cost_ms: float, stale_ms: int) -> bytes:
    """Return an encoded value preceded by the cost of computing it and the stale part of its TTL."""
    cost = min(round(cost_ms), _MAX_COST_MS).to_bytes(4, "big")
    return bytes([_COMPUTED_MARK]) + cost + stale_ms.to_bytes(6, "big") + body


def created_ms(raw: bytes) -> int:
    """Return the creation time of a valid entry in Unix ms."""
    return int(raw[_GENERATION_DIGITS:HEADER_BYTES])


def is_older(one: int, other: int) -> bool:
    """Return whether generation ``one`` precedes ``other`` in the arithmetic of serial numbers (RFC 1982)."""
    return 0 < (other - one) % GENERATIONS < GENERATIONS // 2
