"""Patterns of scopes that a worker carries: ``*`` stands for any text, ``?`` for one character, all else for itself.

The same rules are in ``lua/include/patterns.lua``, for the cloud's and the edge's servers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

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


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


class Patterns:
    """Patterns that scopes are compared with."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.texts = simplify(patterns)
        self.has_all = self.texts == (ALL,)
        self._expression = re.compile("|".join(map(_to_expression, self.texts)) if self.texts else r"(?!)", re.DOTALL)

    @property
    def segments(self) -> list[str] | None:
        """What matching scopes begin with, up to a slash or their end; None where that may be anything."""
        found = {each.partition("/")[0] for each in self.texts}
        return None if any("*" in each or "?" in each for each in found) else sorted(found)

    def select(self, scopes: Sequence[str]) -> Sequence[str]:
        """Return the scopes that match, in their order."""
        return scopes if self.has_all else [*filter(self.matches, scopes)]

    def matches(self, scope: str) -> bool:
        """Return whether one of the patterns stands for the whole name of the scope."""
        return self.has_all or self._expression.fullmatch(scope) is not None


@dataclass(frozen=True, slots=True)
class Carried:
    """The scopes that a worker carries."""

    pushed: Patterns
    pulled: Patterns
    """The scopes that are read from the cloud: those to be pulled, and the pushed ones, for the cloud's answers."""
    urgent: Patterns
    """Scopes that go before others, of those that are carried."""

    @classmethod
    def of(cls, push: object, pull: object, urgent: object = ()) -> Self:
        """Return the scopes of a worker's arguments.

        Raises:
            InvalidTypeError, InvalidArgumentError, InvalidKeyError: one is no pattern, or there is none at all.

        """
        up, down = check_patterns("push", push), check_patterns("pull", pull)
        if not up and not down:
            raise validation.value_error("push and pull", (), "must not both be empty: nothing would be carried")
        return cls(Patterns(up), Patterns((*up, *down)), Patterns(check_patterns("urgent", urgent)))

    @property
    def digest(self) -> str:
        """A short name of all patterns, "" where every scope is pulled."""
        return "" if self.pulled.has_all else _digest((*self.pulled.texts, "", *self.pushed.texts))


def _to_expression(pattern: str) -> str:
    """Return a regular expression; each part is taken where it is first found, so that matching never takes long."""
    first, *others = pattern.split("*")
    if not others:
        return _escape(first)
    *middle, last = others
    return _escape(first) + "".join(f"(?>.*?{_escape(part)})" for part in middle) + ".*" + _escape(last)


def _escape(part: str) -> str:
    return ".".join(map(re.escape, part.split("?")))
