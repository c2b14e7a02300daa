"""The bytes of an entry."""

import pytest

from edge_redis._cache.entry import HEADER_BYTES, add_computed, created_ms, decode_body, decode_entry
from edge_redis._core import codec
from edge_redis.errors import CorruptDataError

HEAD = b"00000000421700000000123"


def test_what_a_script_writes_is_read() -> None:
    assert len(HEAD) == HEADER_BYTES
    assert decode_entry(HEAD + codec.encode([1])) == (42, [1], None, 0)
    computed = add_computed(codec.encode([1]), 1500.4, 1 << 40)
    assert decode_entry(HEAD + computed) == (42, [1], 1500, 1 << 40)
    assert decode_body(computed) == [1]
    assert created_ms(HEAD + codec.encode([1])) == 1_700_000_000_123


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"text",
        HEAD,
        HEAD[:-1] + b"x" + codec.encode(1),
        HEAD + b"\xc1",
        HEAD + codec.encode(1) + b"\x01",
        HEAD + codec.encode([1, 2])[:-1],
        codec.encode({"a": 1}),
        "\u0660".encode() * 12,
    ],
)
def test_anything_else_is_corrupt(raw: bytes) -> None:
    with pytest.raises(CorruptDataError):
        decode_entry(raw)
