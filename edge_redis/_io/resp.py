"""Packs commands and parses replies: by hiredis where it is installed (``edge-redis[fast]``), else in Python.

redis-py's own parsers read from a stream and wait inside a reply. Here bytes are fed as they arrive, so that
one call of ``gets`` after another takes out the replies that are complete.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, Protocol

from redis.exceptions import DataError, InvalidResponse

try:
    import hiredis
except ImportError:
    hiredis = None

INCOMPLETE: Final = object()
"""What ``gets`` returns until the next reply has arrived as a whole."""


class Reader(Protocol):
    """Takes replies out of the bytes of a connection."""

    def feed(self, data: bytes) -> object:
        """Add bytes that have arrived."""

    def gets(self) -> Any:
        """Return the next reply, or INCOMPLETE. An error reply is returned as an exception."""

    def has_data(self) -> bool:
        """Return whether bytes have arrived that no reply returned so far has used."""


def make_reader(parse_error: Callable[[str], Exception]) -> Reader:
    """Return a reader of RESP2 and RESP3 that makes exceptions of error replies by ``parse_error``."""
    if hiredis is None:
        return PythonReader(parse_error)
    reader: Reader = hiredis.Reader(
        protocolError=InvalidResponse, replyError=parse_error, notEnoughData=INCOMPLETE, errors="replace"
    )
    return reader


_WORD_BYTES: Final = 8
"""Of a word beside its text: its length and line ends."""


def count_bytes(words: Any) -> int:
    """Return about how many bytes a command or a reply has; a reply may nest deeper than Python recurses."""
    total, rest = 0, [words]
    while rest:
        each = rest.pop()
        total += _WORD_BYTES
        if isinstance(each, (bytes, str)):
            total += len(each)
        elif isinstance(each, (list, tuple)):
            rest += each
        elif isinstance(each, dict):
            rest += (*each, *each.values())
        else:
            total += _WORD_BYTES
    return total


def is_push(reply: object) -> bool:
    """Return whether ``reply`` is a message of RESP3 that answers no command."""
    return type(reply) is _HIREDIS_PUSH or type(reply) is Push


class Push(list[Any]):
    """A message that the server sent by itself."""


_HIREDIS_PUSH: Final = getattr(hiredis, "PushNotification", Push)


def _pack(args: Sequence[Any]) -> bytes:
    """Return the bytes of one command."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        if isinstance(arg, str):
            arg = arg.encode()  # noqa: PLW2901 -- a loop as short as can be: it runs for each argument of each call
        elif type(arg) is int:
            arg = b"%d" % arg  # noqa: PLW2901
        elif not isinstance(arg, bytes):
            arg = _encode_number(arg)  # noqa: PLW2901
        parts.append(b"$%d\r\n%b\r\n" % (len(arg), arg))
    return b"".join(parts)


def _encode_number(arg: object) -> bytes:
    if isinstance(arg, bool) or not isinstance(arg, (int, float)):
        raise DataError(f"an argument of a command is of type {type(arg).__name__}")
    return repr(arg).encode()


pack: Final[Callable[[Sequence[Any]], bytes]] = _pack if hiredis is None else hiredis.pack_command
"""Return the bytes of one command."""


class _Aggregate:
    """An array, map, set or push of which items are still to come."""

    __slots__ = ("finish", "items", "missing")

    def __init__(self, missing: int, finish: Callable[[list[Any]], Any]) -> None:
        self.items: list[Any] = []
        self.missing = missing
        self.finish = finish


def _make_map(items: list[Any]) -> dict[Any, Any]:
    try:
        return dict(zip(items[::2], items[1::2], strict=True))
    except TypeError as error:
        raise InvalidResponse(f"Protocol Error: a map whose key is {error}") from error


def _same(items: list[Any]) -> list[Any]:
    return items


_ATTRIBUTE: Final = object()

_AGGREGATES: Final[dict[int, tuple[int, Callable[[list[Any]], Any]]]] = {
    ord("*"): (1, _same),
    ord("~"): (1, _same),  # items of a set may be unhashable
    ord("%"): (2, _make_map),
    ord(">"): (1, Push),
    ord("|"): (2, lambda _: _ATTRIBUTE),
}
"""How many items each element of an aggregate has, and what is made of them."""

_MAX_DEPTH: Final = 1024
"""Levels to which aggregates may nest, as in hiredis."""

_MAX_INTEGER: Final = (1 << 63) - 1
_MAX_ITEMS: Final = (1 << 32) - 1
"""Items of an aggregate at most, as in hiredis."""

_NOT_FINITE: Final = (b"inf", b"-inf", b"nan", b"-nan")


def _refuse(line: bytes) -> NoReturn:
    raise InvalidResponse(f"Protocol Error: {line[:100]!r}")


def _parse_integer(line: bytes) -> int:
    try:
        value = int(line)
    except ValueError:
        _refuse(line)
    if b"%d" % value != line or not -_MAX_INTEGER <= value + (value < 0) <= _MAX_INTEGER:  # int() takes " +1_0" too
        _refuse(line)
    return value


def _parse_double(line: bytes) -> float:
    try:
        value = float(line)
    except ValueError:
        _refuse(line)
    is_number = math.isfinite(value) or line.lower() in _NOT_FINITE
    if not is_number or b"_" in line or line != line.strip() or line[:1] == b"+":
        _refuse(line)
    return value


def _parse_text(line: bytes) -> bytes:
    return _refuse(line) if b"\r" in line or b"\n" in line else line


def _parse_big_number(line: bytes) -> bytes:
    """Return the digits, as hiredis does: an int of many of them would take long."""
    digits = line.removeprefix(b"-")
    return line if digits.isdigit() or not digits else _refuse(line)


def _parse_null(line: bytes) -> None:
    if line:
        _refuse(line)


def _parse_bool(line: bytes) -> bool:
    return line in b"tT" if line in (b"t", b"T", b"f", b"F") else _refuse(line)


_SCALARS: Final[dict[int, Callable[[bytes], Any]]] = {
    ord("+"): _parse_text,
    ord(":"): _parse_integer,
    ord("("): _parse_big_number,
    ord("_"): _parse_null,
    ord(","): _parse_double,
    ord("#"): _parse_bool,
}

_BULK, _VERBATIM, _ERROR, _LONG_ERROR = b"$=-!"

_KINDS: Final = b"".join(map(bytes, zip([*_AGGREGATES, *_SCALARS, _BULK, _VERBATIM, _ERROR, _LONG_ERROR])))
"""The bytes that replies begin with."""

_MAX_LINE_BYTES: Final = 1 << 20
"""Without an end of line, these are no reply."""

_FORMAT_BYTES: Final = len("txt:")
"""What precedes the text of a verbatim string."""


class PythonReader:
    """``Reader`` in Python. A reply that arrives in pieces is not parsed anew with each of them."""

    def __init__(self, parse_error: Callable[[str], Exception]) -> None:
        self._parse_error = parse_error
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._open: list[_Aggregate] = []

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        if self._at == len(self._buffer):
            self._buffer = data
        else:  # a bytearray grows and loses its beginning without a copy of the rest
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            del self._buffer[: self._at]
            self._buffer += data
        self._at = 0

    def gets(self) -> Any:
        """Return the next reply, or INCOMPLETE."""
        while True:
            value = self._next_item()
            while self._open and value is not INCOMPLETE and not isinstance(value, _Aggregate):
                innermost = self._open[-1]
                if value is not _ATTRIBUTE:
                    innermost.items.append(value)
                    innermost.missing -= 1
                if innermost.missing:
                    break
                value = self._open.pop().finish(innermost.items)
            else:
                if isinstance(value, _Aggregate):
                    self._open.append(value)
                elif value is not _ATTRIBUTE:
                    return value

    def has_data(self) -> bool:
        """Return whether bytes have arrived that no reply returned so far has used."""
        return self._at < len(self._buffer) or bool(self._open)

    def _next_item(self) -> Any:
        """Return the next item: a value, the beginning of an aggregate, or INCOMPLETE."""
        buffer, at = self._buffer, self._at
        end = buffer.find(b"\r\n", at)
        if end < 0:
            if buffer[at : at + 1] not in _KINDS or len(buffer) - at > _MAX_LINE_BYTES:
                _refuse(bytes(buffer[at : at + 100]))
            return INCOMPLETE
        kind = buffer[at]
        line = bytes(buffer[at + 1 : end])
        if kind in (_BULK, _VERBATIM, _LONG_ERROR):
            return self._bulk(kind, _parse_integer(line), end + 2)
        self._at = end + 2
        if (scalar := _SCALARS.get(kind)) is not None:
            return scalar(line)
        if kind == _ERROR:
            return self._parse_error(_parse_text(line).decode("utf-8", "replace"))
        if kind not in _AGGREGATES:
            _refuse(bytes(buffer[at:end]))
        return self._aggregate(kind, _parse_integer(line))

    def _bulk(self, kind: int, length: int, start: int) -> Any:
        if length < 0:
            self._at = start
            return None if length == -1 else _refuse(b"%d" % length)
        end = start + length
        if len(self._buffer) < end + 2:
            return INCOMPLETE
        self._at = end + 2
        body = bytes(self._buffer[start:end])
        if kind == _LONG_ERROR:
            return self._parse_error(body.decode("utf-8", "replace"))
        if kind == _BULK:
            return body
        return body[_FORMAT_BYTES:] if body[_FORMAT_BYTES - 1 : _FORMAT_BYTES] == b":" else _refuse(body)

    def _aggregate(self, kind: int, length: int) -> Any:
        per_element, finish = _AGGREGATES[kind]
        if length == -1:
            return None
        if not 0 <= per_element * length <= _MAX_ITEMS or len(self._open) >= _MAX_DEPTH:
            _refuse(b"%d" % length)
        return _Aggregate(per_element * length, finish) if length else finish([])
