"""Strings that a script has packed into one are unpacked unchanged."""

from __future__ import annotations

import fakeredis
import pytest

from edge_redis._core.packing import unpack_rows, unpack_strings
from edge_redis._core.script import read_include

PACK = read_include("edge_redis._health", "packing") + "return pack_strings(ARGV)"


@pytest.mark.parametrize(
    "strings",
    [[], [b""], [b"a", b"", b"bcd"], [b"3 4\n", b"\n\n", b" 1"], [bytes(range(256)), "ü€".encode()]],
    ids=["none", "an empty one", "some", "like lengths", "any bytes"],
)
def test_packed_strings_are_unpacked_unchanged(strings: list[bytes]) -> None:
    with fakeredis.FakeRedis() as client:
        assert unpack_strings(client.eval(PACK, 0, *strings)) == strings


def test_rows_have_so_many_columns() -> None:
    assert unpack_rows(b"1 2 0 1\nabcd", 2) == [[b"a", b"bc"], [b"", b"d"]]
