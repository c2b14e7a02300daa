"""Commands and replies on the wire: the parser in Python, hiredis where it is installed, and redis-py agree."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from redis._parsers import _AsyncRESP2Parser
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

from edge_redis._io import resp
from edge_redis._io.resp import INCOMPLETE, PythonReader, is_push, make_reader, pack

READERS = {"python": PythonReader, "installed": make_reader}

TEXTS = st.binary(max_size=30)
ITEMS = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | TEXTS, lambda items: st.lists(items, max_size=5), max_leaves=20
)


def encode(value: Any) -> bytes:
    """Return a reply of RESP2."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return b"*%d\r\n" % len(value) + b"".join(map(encode, value))


def parse_error(text: str) -> Exception:
    error: Exception = _AsyncRESP2Parser.parse_error(text)  # type: ignore[no-untyped-call]
    return error


def read_all(reader: Any, data: bytes, cuts: list[int]) -> list[Any]:
    """Return the replies in ``data``, fed in pieces."""
    found: list[Any] = []
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        reader.feed(data[start:end])
        while (reply := reader.gets()) is not INCOMPLETE:
            found.append(reply)
    return found


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=30)
@given(values=st.lists(ITEMS, max_size=6), cuts=st.lists(st.integers(0, 10_000), max_size=6))
def test_replies_are_read_wherever_they_are_cut(reader: str, values: list[Any], cuts: list[int]) -> None:
    assert read_all(READERS[reader](parse_error), b"".join(map(encode, values)), cuts) == values


RESP3 = {
    "null": (b"_\r\n", None),
    "true": (b"#t\r\n", True),
    "double": (b",1.5\r\n", 1.5),
    "verbatim": (b"=8\r\ntxt:some\r\n", b"some"),
    "map": (b"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n*1\r\n:2\r\n", {b"a": 1, b"b": [2]}),
    "null array": (b"*-1\r\n", None),
    "empty array": (b"*0\r\n", []),
    "empty array inside": (b"*2\r\n*0\r\n:1\r\n", [[], 1]),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("data", "value"), RESP3.values(), ids=RESP3)
def test_types_of_resp3(reader: str, data: bytes, value: object) -> None:
    for cut in range(len(data)):
        assert read_all(READERS[reader](parse_error), data, [cut]) == [value]


@pytest.mark.parametrize("reader", READERS)
def test_errors_are_values_and_pushes_are_recognized(reader: str) -> None:
    data = b"-NOSCRIPT No matching script.\r\n*2\r\n-ERR inside\r\n:1\r\n>2\r\n+message\r\n+x\r\n:2\r\n"
    unknown, nested, push, number = read_all(READERS[reader](parse_error), data, [])
    assert type(unknown) is NoScriptError
    assert isinstance(nested[0], ResponseError)
    assert is_push(push)
    assert not is_push(nested)
    assert number == 2


NO_REPLIES = {
    "HTTP": b"HTTP/1.1 200 OK\r\n",
    "another first byte": b"x",
    "no number": b":5x\r\n",
    "a number that Python would take": b":1_0\r\n",
    "a number of 65 bits": b":9223372036854775808\r\n",
    "no length": b"$x\r\n",
    "a length below none": b"$-2\r\n",
    "a streamed array": b"*?\r\n",
    "more items than there can be": b"*9223372036854775807\r\n",
    "deeper than any reply": b"*1\r\n" * 1025,
    "no bool": b"#x\r\n",
    "no double": b",x\r\n",
    "no format of a text": b"=3\r\nabc\r\n",
    "a line in a line": b"+a\nb\r\n",
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("data", NO_REPLIES.values(), ids=NO_REPLIES)
def test_bytes_that_are_no_reply_are_an_error(reader: str, data: bytes) -> None:
    with pytest.raises(InvalidResponse):
        read_all(READERS[reader](parse_error), data, [])


def test_a_line_without_end_is_an_error_before_it_fills_the_memory() -> None:
    with pytest.raises(InvalidResponse):
        read_all(PythonReader(parse_error), b"+" + b"x" * (1 << 21), [1, 1000])


def test_the_bytes_of_a_reply_are_counted_however_deep_it_is() -> None:
    [reply] = read_all(PythonReader(parse_error), b"*1\r\n" * 1024 + b"$5\r\nhello\r\n", [])
    assert resp.count_bytes(reply) > len(b"hello")


@pytest.mark.parametrize("packed", [pack, resp._pack], ids=["installed", "python"])
@settings(max_examples=30)
@given(args=st.lists(st.text(max_size=20) | TEXTS | st.integers() | st.floats(allow_nan=False), max_size=5))
def test_commands_are_packed_as_redis_py_packs_them(packed: Any, args: list[Any]) -> None:
    command = ("SET", *args)
    assert packed(command) == b"".join(redis.asyncio.Connection().pack_command(*command))
