"""Packs commands and parses replies: by hiredis where it is installed (``edge-redis[fast]``), else in Python.

redis-py's own parsers read from a stream and wait inside a reply. Here bytes are fed as they arrive, so that
one call of ``gets`` after another takes out the replies that are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

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
    """Return about how many bytes a command or a reply has."""
    if isinstance(words, (bytes, str)):
        return len(words) + _WORD_BYTES
    if isinstance(words, (list, tuple)):
        return _WORD_BYTES + sum(map(count_bytes, words))
    if isinstance(words, dict):
        return count_bytes([*words, *words.values()])
    return 2 * _WORD_BYTES


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
    return dict(zip(items[::2], items[1::2], strict=True))


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

_SCALARS: Final[dict[int, Callable[[bytes], Any]]] = {
    ord("+"): lambda line: line,
    ord(":"): int,
    ord("("): int,
    ord("_"): lambda _: None,
    ord(","): float,
    ord("#"): lambda line: line == b"t",
}

_BULK, _VERBATIM, _ERROR, _LONG_ERROR = b"$=-!"


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
            return INCOMPLETE
        kind = buffer[at]
        line = bytes(buffer[at + 1 : end])
        if kind in (_BULK, _VERBATIM, _LONG_ERROR):
            return self._bulk(kind, int(line), end + 2)
        self._at = end + 2
        if (scalar := _SCALARS.get(kind)) is not None:
            return scalar(line)
        if kind == _ERROR:
            return self._parse_error(line.decode("utf-8", "replace"))
        if kind not in _AGGREGATES:
            raise InvalidResponse(f"Protocol Error: {bytes(buffer[at:end])!r}")
        return self._aggregate(kind, int(line))

    def _bulk(self, kind: int, length: int, start: int) -> Any:
        if length < 0:
            self._at = start
            return None
        end = start + length
        if len(self._buffer) < end + 2:
            return INCOMPLETE
        self._at = end + 2
        body = bytes(self._buffer[start:end])
        if kind == _LONG_ERROR:
            return self._parse_error(body.decode("utf-8", "replace"))
        return body if kind == _BULK else body[4:]

    def _aggregate(self, kind: int, length: int) -> Any:
        per_element, finish = _AGGREGATES[kind]
        if length < 0:
            return None
        return _Aggregate(per_element * length, finish) if length else finish([])
