"""The shapes of replies: what the line ``-- Reply:`` of a script's header says, and whether a reply has it.

    -- Reply: integer: entries removed
    -- Reply: [integer, string...] | 'STALE': the cursor, and the keys from there

    shapes   = shape { "|" shape }          any of these
    shape    = "integer" | "string" | "number" | "nil" | literal | array | "any"
    literal  = "'" text "'"                 this very string; a "*" at its end stands for any text
    array    = "[" [ item { "," item } ] "]"
    item     = shapes [ "..." ]             with dots, as the last item: none or more of these

A ``string`` is bytes, a ``number`` is bytes that spell a decimal number, ``nil`` is None (Lua's
``false`` and ``nil``). What follows the shapes and a colon is an explanation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

from edge_redis._core.operation import Argument, Operation
from edge_redis._core.script import Script

Matcher: TypeAlias = Callable[[Any], bool]

EXEMPT: Final[frozenset[str]] = frozenset()
"""Scripts whose headers state no shape yet."""

_TOKEN: Final = re.compile(r"\s*('[^']*'|[a-z]+|\.\.\.|[\[\],|])")
_NUMBER: Final = re.compile(rb"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?|-?inf|-?nan")
_LINE: Final = re.compile(r"^-- Reply: (.*(?:\n--   .*)*)", re.MULTILINE)

_KINDS: Final[dict[str, Matcher]] = {
    "integer": lambda reply: isinstance(reply, int) and not isinstance(reply, bool),
    "string": lambda reply: isinstance(reply, bytes),
    "number": lambda reply: isinstance(reply, bytes) and _NUMBER.fullmatch(reply) is not None,
    "nil": lambda reply: reply is None,
    "any": lambda _: True,
}


def find_reply_line(source: str) -> str:
    """Return what a script's header says of its reply; continuation lines begin with ``--`` and three spaces."""
    found = _LINE.search(source)
    return "" if found is None else " ".join(line.removeprefix("--").strip() for line in found[1].split("\n"))


def parse_reply_shape(text: str) -> Matcher:
    """Return the function that says whether a reply has the shape that ``text`` begins with.

    Raises:
        ValueError: ``text`` does not begin with shapes and a colon, or is no more than shapes.

    """
    parser = _Parser(text)
    matcher = parser.shapes()
    rest = text[parser.position :].lstrip()
    if rest and not rest.startswith(":"):
        raise ValueError(f"a reply's shape is followed by a colon, not by {rest[:20]!r}: {text}")
    return matcher


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self.position = 0

    def _next(self) -> str:
        found = _TOKEN.match(self._text, self.position)
        return "" if found is None else found[1]

    def _take(self, token: str = "") -> str:
        found = _TOKEN.match(self._text, self.position)
        if found is None or (token and found[1] != token):
            raise ValueError(f"a reply's shape has {self._text[self.position :][:20]!r} where it cannot")
        self.position = found.end()
        return found[1]

    def shapes(self) -> Matcher:
        choices = [self._shape()]
        while self._next() == "|":
            self._take("|")
            choices.append(self._shape())
        return choices[0] if len(choices) == 1 else lambda reply: any(matches(reply) for matches in choices)

    def _shape(self) -> Matcher:
        token = self._take()
        if token == "[":
            return self._array()
        if token.startswith("'"):
            return _literal(token[1:-1])
        if token not in _KINDS:
            raise ValueError(f"{token!r} is no shape of a reply: {self._text}")
        return _KINDS[token]

    def _array(self) -> Matcher:
        fixed: list[Matcher] = []
        repeated: Matcher | None = None
        while self._next() != "]":
            item = self.shapes()
            if self._next() == "...":
                self._take("...")
                repeated = item
                break
            fixed.append(item)
            if self._next() != "]":
                self._take(",")
        self._take("]")
        return lambda reply: _has_items(reply, fixed, repeated)


def _literal(text: str) -> Matcher:
    expected = text.removesuffix("*").encode()
    if text.endswith("*"):
        return lambda reply: isinstance(reply, bytes) and reply.startswith(expected)
    return lambda reply: reply == expected


def _has_items(reply: Any, fixed: list[Matcher], repeated: Matcher | None) -> bool:
    if not isinstance(reply, (list, tuple)) or len(reply) < len(fixed):
        return False
    if repeated is None and len(reply) != len(fixed):
        return False
    rest = reply[len(fixed) :]
    return all(map(lambda matches, item: matches(item), fixed, reply)) and all(
        repeated is not None and repeated(item) for item in rest
    )


@cache
def _matcher(source: str) -> Matcher:
    return parse_reply_shape(find_reply_line(source))


_build: Final[Any] = Script.__call__


def build_checked(
    script: Script, keys: Sequence[str], args: Sequence[Argument], decode: Callable[[Any], Any]
) -> Operation[Any]:
    """Build a script's operation as Script does, and check that the reply has the shape of the header."""
    operation: Operation[Any] = _build(script, keys, args, decode)
    if "\n-- Reply: " not in script.source or script.name in EXEMPT:
        return operation

    def decode_checked(reply: Any) -> Any:
        line = find_reply_line(script.source)
        assert _matcher(script.source)(reply), f"{script.name} replied {reply!r}, which is not {line}"
        return decode(reply)

    operation.decode = decode_checked
    return operation
