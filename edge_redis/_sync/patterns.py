"""Patterns of scopes that a worker carries: ``*`` stands for any text, ``?`` for one character, all else for itself.

The same rules are in ``lua/include/patterns.lua``, for the cloud's and the edge's servers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

from edge_redis._core import validation

ALL: Final = "*"

MAX_PATTERNS: Final = 100
"""Every read of a filtered feed carries them."""


def check_patterns(name: str, patterns: object) -> tuple[str, ...]:
    """Return patterns without duplicates, in order; ALL alone where it is among them.

    Raises:
        InvalidTypeError: they are not a sequence of str; one str would be its characters.
        InvalidArgumentError, InvalidKeyError: there are too many, or one is empty, too long, or no text.

    """
    if isinstance(patterns, (str, bytes)) or not isinstance(patterns, (Sequence, set, frozenset)):
        raise validation.type_error(name, patterns, "a sequence of patterns, such as ('till/*',)")
    found = {validation.check_identifier(f"a pattern of {name}", each) for each in patterns}
    if len(found) > MAX_PATTERNS:
        raise validation.value_error(name, len(found), f"must be at most {MAX_PATTERNS} patterns")
    return simplify(found)


def simplify(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return patterns in order, each once; ALL alone where it is among them."""
    found = {re.sub(r"\*+", "*", each) for each in patterns}
    return (ALL,) if ALL in found else tuple(sorted(found))


class Patterns:
    """Patterns that scopes are compared with."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.texts = simplify(patterns)
        self.has_all = self.texts == (ALL,)
        self._expression = re.compile("|".join(map(_to_expression, self.texts)) if self.texts else r"(?!)", re.DOTALL)

    @property
    def digest(self) -> str:
        """A short name of these patterns, "" of ALL."""
        if self.has_all:
            return ""
        return hashlib.sha256("\0".join(self.texts).encode()).hexdigest()[:16]

    def matches(self, scope: str) -> bool:
        """Return whether one of the patterns stands for the whole name of the scope."""
        return self.has_all or self._expression.fullmatch(scope) is not None


def _to_expression(pattern: str) -> str:
    """Return a regular expression; each part is taken where it is first found, so that matching never takes long."""
    first, *others = pattern.split("*")
    if not others:
        return _escape(first)
    *middle, last = others
    return _escape(first) + "".join(f"(?>.*?{_escape(part)})" for part in middle) + ".*" + _escape(last)


def _escape(part: str) -> str:
    return ".".join(map(re.escape, part.split("?")))
