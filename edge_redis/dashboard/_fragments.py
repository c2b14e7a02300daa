"""Fragments of a page, and the replacements that lead from one rendering of them to the next.

Ages grow all the time, so a growing age is no replacement: a template writes the moment, ``fill_ages`` the text, and
the browser counts on from there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from edge_redis.dashboard._text import duration

_ROW: Final = re.compile(r'<tr id="([^"]+)".*?</tr>', re.DOTALL)
_AGE: Final = re.compile(r'(data-at="(\d+)">)§<')


@dataclass(frozen=True)
class Fragment:
    """A part of a page with an id; its table rows that have ids are replaced one by one."""

    id: str
    html: str

    @cached_property
    def rows(self) -> dict[str, str]:
        """The rows by their ids. Values of users are escaped, so that none can look like a row."""
        return {match[1]: match[0] for match in _ROW.finditer(self.html)}

    @cached_property
    def frame(self) -> str:
        """The fragment with the ids of its rows alone."""
        return _ROW.sub(lambda match: match[1], self.html)


@dataclass(frozen=True, slots=True)
class Replacement:
    """HTML that replaces the element with this id."""

    id: str
    html: str


def list_replacements(before: Sequence[Fragment], after: Sequence[Fragment]) -> list[Replacement]:
    """Return the fragments, or rows of them, that have changed."""
    known = {fragment.id: fragment for fragment in before}
    changes: list[Replacement] = []
    for fragment in after:
        old = known.get(fragment.id)
        if old is None or (old.html != fragment.html and old.frame != fragment.frame):
            changes.append(Replacement(fragment.id, fragment.html))
        elif old.html != fragment.html:
            changes += [Replacement(name, html) for name, html in fragment.rows.items() if old.rows.get(name) != html]
    return changes


def fill_ages(html: str, now_ms: float) -> str:
    """Return HTML with the text of its ages."""
    return _AGE.sub(lambda match: f"{match[1]}{duration(max(0.0, now_ms - int(match[2])) / 1000)}<", html)
